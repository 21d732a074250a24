package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/hipflask/session"
)

// withSession is an interceptor for handlers. It gives each call, unary or streaming, the session of its token, a new
// one if that is missing or no good any more. What a call changed is stored before its response leaves, in a stream
// before each message and before the end. A call that fails stores nothing, a stream that fails nothing after its last
// message.
type withSession struct{ sessions *session.Manager }

func (i withSession) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, in connect.AnyRequest) (connect.AnyResponse, error) {
		var out connect.AnyResponse
		err := i.call(ctx, in.Header(), func(ctx context.Context) (err error) {
			out, err = next(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

func (i withSession) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return i.call(ctx, conn.RequestHeader(), func(ctx context.Context) error {
			return next(ctx, stream{conn, ctx})
		})
	}
}

// stream saves before it sends.
type stream struct {
	connect.StreamingHandlerConn
	ctx context.Context
}

func (c stream) Send(message any) error {
	s, _ := session.FromContext(c.ctx)
	if err := s.Save(c.ctx); err != nil {
		return failure(err)
	}
	return c.StreamingHandlerConn.Send(message)
}

// WrapStreamingClient does nothing: this is not for clients.
func (withSession) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (i withSession) call(ctx context.Context, header http.Header, handle func(context.Context) error) error {
	s, err := i.sessions.Load(ctx, token(header))
	if errors.Is(err, session.ErrEnded) {
		s, err = i.sessions.Load(ctx, "")
	}
	if err != nil {
		return failure(err)
	}
	if err := handle(session.NewContext(ctx, s)); err != nil {
		return err
	}
	if err := s.Save(ctx); err != nil {
		return failure(err)
	}
	return nil
}

// token is what "Authorization: Bearer TOKEN" says. Two of them are ambiguous, so neither counts.
func token(header http.Header) string {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token
}

// failure is what a client may know. CodeUnavailable is for clients to try again; of ErrUncertain nobody knows whether
// that would be twice.
func failure(err error) error {
	switch {
	case errors.Is(err, session.ErrEnded):
		return connect.NewError(connect.CodeUnauthenticated, errors.New("logged out meanwhile"))
	case errors.Is(err, session.ErrUnavailable):
		return connect.NewError(connect.CodeUnavailable, errors.New("sessions are unavailable"))
	case errors.Is(err, session.ErrUncertain):
		return connect.NewError(connect.CodeUnknown,
			errors.New("sessions are unavailable, and the change may have been applied"))
	}
	return connect.NewError(connect.CodeInternal, errors.New("the session could not be saved"))
}
