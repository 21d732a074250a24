package main

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hipflask/session"
)

// withSession gives each call the session of its token, a new one if that is missing or no good any more. What a call
// changed is stored before its answer leaves; a call that fails changes nothing.
func withSession(sessions *session.Manager) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		s, err := sessions.Load(ctx, token(ctx))
		if errors.Is(err, session.ErrEnded) {
			s, err = sessions.Load(ctx, "")
		}
		if err != nil {
			return nil, failure(err)
		}
		out, err := handler(session.NewContext(ctx, s), in)
		if err != nil {
			return nil, err
		}
		if err := s.Save(ctx); err != nil {
			return nil, failure(err)
		}
		return out, nil
	}
}

// token is what "authorization: Bearer TOKEN" says. Two of them are ambiguous, so neither counts.
func token(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token
}

// failure is what a client may know. Unavailable is for clients to try again; of ErrUncertain nobody knows whether that
// would be twice.
func failure(err error) error {
	switch {
	case errors.Is(err, session.ErrEnded):
		return status.Error(codes.Unauthenticated, "logged out meanwhile")
	case errors.Is(err, session.ErrUnavailable):
		return status.Error(codes.Unavailable, "sessions are unavailable")
	case errors.Is(err, session.ErrUncertain):
		return status.Error(codes.Unknown, "sessions are unavailable, and the change may have been applied")
	}
	return status.Error(codes.Internal, "the session could not be saved")
}
