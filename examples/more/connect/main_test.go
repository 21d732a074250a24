package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

type client struct {
	t       *testing.T
	srv     *httptest.Server
	store   *sessiontest.FailStore
	options []connect.ClientOption
	token   string
}

// each runs a test with each of connect's protocols.
func each(t *testing.T, test func(t *testing.T, c *client)) {
	t.Parallel()
	for name, options := range map[string][]connect.ClientOption{
		"Connect": nil, "gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &sessiontest.FailStore{Store: memstore.New(nil)}
			srv := httptest.NewUnstartedServer(newServer(sessiontest.New(t, func(c *session.Config) {
				c.BearerToken, c.InsecureHTTP, c.Store = true, false, store
			})))
			srv.EnableHTTP2 = true
			srv.StartTLS()
			t.Cleanup(srv.Close)
			test(t, &client{t: t, srv: srv, store: store, options: options})
		})
	}
}

func call[In, Out any](c *client, name string, in *In) (*Out, error) {
	request := connect.NewRequest(in)
	c.authorize(request.Header())
	url := c.srv.URL + "/example.Notes/" + name
	res, err := connect.NewClient[In, Out](c.srv.Client(), url, c.options...).CallUnary(c.t.Context(), request)
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

func (c *client) authorize(h http.Header) {
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
}

func (c *client) login(password string) error {
	token, err := call[wrapperspb.StringValue, wrapperspb.StringValue](c, "Login", wrapperspb.String(password))
	c.token = token.GetValue()
	return err
}

func (c *client) add() (int64, error) {
	n, err := call[wrapperspb.StringValue, wrapperspb.Int64Value](c, "Add", wrapperspb.String("milk"))
	return n.GetValue(), err
}

// begin begins to import notes, and returns what sends the rest and ends the stream.
func (c *client) begin(notes ...string) (finish func() (int64, error)) {
	url := c.srv.URL + "/example.Notes/Import"
	stream := connect.NewClient[wrapperspb.StringValue, wrapperspb.Int64Value](c.srv.Client(), url, c.options...).
		CallClientStream(c.t.Context())
	c.authorize(stream.RequestHeader())
	for _, note := range notes {
		stream.Send(wrapperspb.String(note)) // CloseAndReceive has the server's error
	}
	return func() (int64, error) {
		res, err := stream.CloseAndReceive()
		if err != nil {
			return 0, err
		}
		return res.Msg.Value, nil
	}
}

func (c *client) want(what string, err error, want connect.Code) {
	c.t.Helper()
	if err == nil || connect.CodeOf(err) != want {
		c.t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func (c *client) wantNotes(want int64, n int64, err error) {
	c.t.Helper()
	if n != want || err != nil {
		c.t.Errorf("got %d notes, %v, want %d", n, err, want)
	}
}

func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, c *client) {
		_, err := c.add()
		c.want("without a token", err, connect.CodeUnauthenticated)
		_, err = c.begin("milk")()
		c.want("a stream without a token", err, connect.CodeUnauthenticated)
		c.want("wrong password", c.login("wrong"), connect.CodeUnauthenticated)
		if err := c.login("correct horse"); err != nil {
			t.Fatal(err)
		}
		n, err := c.add()
		c.wantNotes(1, n, err)
		n, err = c.begin("tea", "bread")()
		c.wantNotes(3, n, err)
		n, err = c.add()
		c.wantNotes(4, n, err)
		if _, err := call[emptypb.Empty, emptypb.Empty](c, "Logout", &emptypb.Empty{}); err != nil {
			t.Errorf("logout: %v", err)
		}
		for _, token := range []string{c.token, "x", strings.Repeat("x", len(c.token))} {
			c.token = token
			_, err := c.add()
			c.want("a token that is no good", err, connect.CodeUnauthenticated)
			_, err = c.begin("milk")()
			c.want("a stream with a token that is no good", err, connect.CodeUnauthenticated)
		}
		if err := c.login("correct horse"); err != nil {
			t.Errorf("login with such a token: %v", err)
		}
	})
}

func TestParallelCallsKeepAllNotes(t *testing.T) {
	each(t, func(t *testing.T, c *client) {
		c.login("correct horse")
		const calls = 10
		var all sync.WaitGroup
		for range calls {
			all.Go(func() { c.add() })
			all.Go(func() { c.begin("tea")() })
		}
		all.Wait()
		n, err := c.add()
		c.wantNotes(2*calls+1, n, err)
	})
}

func TestOutage(t *testing.T) {
	each(t, func(t *testing.T, c *client) {
		c.login("correct horse")
		c.store.Fail(errors.New("down"))
		_, err := c.add()
		c.want("a call", err, connect.CodeUnavailable)
		_, err = c.begin("tea")()
		c.want("a stream", err, connect.CodeUnavailable)
		c.store.Fail(nil)
		n, err := c.add()
		c.wantNotes(1, n, err)
	})
}

// A message says that its changes are stored: if the session ends or the store fails before, the client gets an error.
func TestStreamSavesBeforeItSends(t *testing.T) {
	t.Parallel()
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.BearerToken, c.InsecureHTTP, c.Store = true, false, store })
	for name, test := range map[string]struct {
		before func(token string)
		want   connect.Code
	}{
		"logout": {func(token string) {
			s, err := m.Load(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			s.Logout()
			if err := s.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, connect.CodeUnauthenticated},
		"outage": {func(string) { store.Fail(errors.New("down")) }, connect.CodeUnknown}, // the write may have happened
	} {
		s, err := m.Load(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		s.Login("ann")
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn := &fakeConn{header: http.Header{"Authorization": {"Bearer " + s.Token()}}}
		err = withSession{m}.WrapStreamingHandler(func(ctx context.Context, conn connect.StreamingHandlerConn) error {
			s, _ := session.FromContext(ctx)
			kept.Set(s, []string{"tea"})
			test.before(s.Token())
			return conn.Send(nil)
		})(t.Context(), conn)
		if connect.CodeOf(err) != test.want || conn.sent != 0 {
			t.Errorf("%s: got %v and %d messages, want %v and none", name, err, conn.sent, test.want)
		}
		store.Fail(nil)
	}
}

// fakeConn is a stream that counts what is sent.
type fakeConn struct {
	connect.StreamingHandlerConn
	header http.Header
	sent   int
}

func (c *fakeConn) RequestHeader() http.Header { return c.header }
func (c *fakeConn) Send(any) error             { c.sent++; return nil }

// A call that fails after it changed something stores nothing.
func TestFailedCallChangesNothing(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t, func(c *session.Config) { c.BearerToken, c.InsecureHTTP = true, false })
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Login("ann")
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	request := connect.NewRequest(&emptypb.Empty{})
	request.Header().Set("Authorization", "Bearer "+s.Token())
	half := connect.NewError(connect.CodeInternal, errors.New("half way"))
	_, err = withSession{m}.WrapUnary(func(ctx context.Context, _ connect.AnyRequest) (connect.AnyResponse, error) {
		s, _ := session.FromContext(ctx)
		kept.Set(s, []string{"half"})
		return nil, half
	})(t.Context(), request)
	if err != half {
		t.Errorf("got %v, want the call's own error", err)
	}
	if s, err = m.Load(t.Context(), s.Token()); err != nil {
		t.Fatal(err)
	}
	if notes, ok := kept.Get(s); ok {
		t.Errorf("got notes %q, want none", notes)
	}
}
