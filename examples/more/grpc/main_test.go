package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

type client struct {
	t     *testing.T
	conn  *grpc.ClientConn
	store *sessiontest.FailStore
	token string
}

func newClient(t *testing.T) *client {
	t.Helper()
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	server := newServer(sessiontest.New(t, func(c *session.Config) {
		c.BearerToken, c.InsecureHTTP, c.Store = true, false, store
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
	})
	return &client{t: t, conn: conn, store: store}
}

func (c *client) call(name string, in, out any) codes.Code {
	ctx := c.t.Context()
	if c.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token)
	}
	return status.Code(c.conn.Invoke(ctx, "/example.Notes/"+name, in, out))
}

func (c *client) login(password string) codes.Code {
	token := &wrapperspb.StringValue{}
	code := c.call("Login", wrapperspb.String(password), token)
	c.token = token.Value
	return code
}

func (c *client) add() (int64, codes.Code) {
	n := &wrapperspb.Int64Value{}
	code := c.call("Add", wrapperspb.String("milk"), n)
	return n.Value, code
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	if _, code := c.add(); code != codes.Unauthenticated {
		t.Errorf("without a token: got %v, want Unauthenticated", code)
	}
	if code := c.login("wrong"); code != codes.Unauthenticated || c.token != "" {
		t.Errorf("wrong password: got %v, want Unauthenticated and no token", code)
	}
	if code := c.login("correct horse"); code != codes.OK {
		t.Fatalf("login: got %v, want OK", code)
	}
	for want := int64(1); want < 3; want++ {
		if n, code := c.add(); n != want || code != codes.OK {
			t.Errorf("got %d notes, %v, want %d", n, code, want)
		}
	}
	if code := c.call("Logout", &emptypb.Empty{}, &emptypb.Empty{}); code != codes.OK {
		t.Errorf("logout: got %v, want OK", code)
	}
	for _, token := range []string{c.token, "x", strings.Repeat("x", len(c.token))} {
		c.token = token
		if _, code := c.add(); code != codes.Unauthenticated {
			t.Errorf("a token that is no good: got %v, want Unauthenticated", code)
		}
	}
	if code := c.login("correct horse"); code != codes.OK {
		t.Errorf("login with such a token: got %v, want OK", code)
	}
}

func TestParallelCallsKeepAllNotes(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.login("correct horse")
	const calls = 20
	var all sync.WaitGroup
	for range calls {
		all.Go(func() { c.add() })
	}
	all.Wait()
	if n, _ := c.add(); n != calls+1 {
		t.Errorf("got %d notes, want %d", n, calls+1)
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.login("correct horse")
	c.store.Fail(errors.New("down"))
	if _, code := c.add(); code != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", code)
	}
	c.store.Fail(nil)
	if n, code := c.add(); n != 1 || code != codes.OK {
		t.Errorf("afterwards: got %d notes, %v, want 1", n, code)
	}
}

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
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+s.Token()))
	_, err = withSession(m)(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
		s, _ := session.FromContext(ctx)
		kept.Set(s, []string{"half"})
		return nil, status.Error(codes.Internal, "half way")
	})
	if status.Code(err) != codes.Internal {
		t.Errorf("got %v, want the handler's error", err)
	}
	if err := s.Reload(t.Context()); err != nil || s.Len() != 0 {
		t.Errorf("got %d values stored, %v, want none", s.Len(), err)
	}
}
