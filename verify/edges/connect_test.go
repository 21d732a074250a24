package edges

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hipflask/session"
)

const counter = "/edges.Counter/"

// connectHandlers are what protoc-gen-connect-go would make: Login and Count are unary, Watch streams.
func connectHandlers() map[string]http.Handler {
	next := func(ctx context.Context) *wrapperspb.Int64Value {
		s, _ := session.FromContext(ctx)
		return wrapperspb.Int64(int64(visits.Update(s, func(n int) int { return n + 1 })))
	}
	return map[string]http.Handler{
		counter + "Login": connect.NewUnaryHandlerSimple(counter+"Login",
			func(ctx context.Context, name *wrapperspb.StringValue) (*emptypb.Empty, error) {
				s, _ := session.FromContext(ctx)
				s.Login(name.Value)
				return &emptypb.Empty{}, nil
			}),
		counter + "Count": connect.NewUnaryHandlerSimple(counter+"Count",
			func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.Int64Value, error) { return next(ctx), nil }),
		counter + "Fail": connect.NewUnaryHandlerSimple(counter+"Fail",
			func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.Int64Value, error) {
				return nil, connect.NewError(connect.CodeAborted, errors.New(next(ctx).String()))
			}),
		counter + "Watch": connect.NewServerStreamHandlerSimple(counter+"Watch",
			func(ctx context.Context, _ *emptypb.Empty, stream *connect.ServerStream[wrapperspb.Int64Value]) error {
				for range 3 {
					if err := stream.Send(next(ctx)); err != nil {
						return err
					}
				}
				return nil
			}),
	}
}

// Sessions around one service or around everything: each of connect's three protocols has the session of the cookie.
func TestConnect(t *testing.T) {
	t.Parallel()
	for where, build := range map[string]func(*session.Manager) http.Handler{
		"middleware": func(sessions *session.Manager) http.Handler {
			mux := http.NewServeMux()
			for path, handler := range connectHandlers() {
				mux.Handle(path, sessions.Handler(handler))
			}
			return mux
		},
		"outside": func(sessions *session.Manager) http.Handler {
			mux := http.NewServeMux()
			for path, handler := range connectHandlers() {
				mux.Handle(path, handler)
			}
			return sessions.Handler(mux)
		},
	} {
		for _, protocol := range protocols {
			for name, options := range map[string][]connect.ClientOption{
				"Connect": nil, "gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()},
			} {
				if name == "gRPC" && protocol == "HTTP/1.1" {
					continue // gRPC is defined on HTTP/2
				}
				t.Run(where+", "+name+", "+protocol, func(t *testing.T) {
					t.Parallel()
					s := newSetup(t)
					testConnect(t, s, visit(t, protocol, build(s.Manager)), options)
				})
			}
		}
	}
}

func testConnect(t *testing.T, s *setup, v *visitor, options []connect.ClientOption) {
	ctx := t.Context()
	call := func(name string) (int64, error) {
		c := connect.NewClient[emptypb.Empty, wrapperspb.Int64Value](v, v.url+counter+name, options...)
		res, err := c.CallUnary(ctx, connect.NewRequest(&emptypb.Empty{}))
		if err != nil {
			return 0, err
		}
		return res.Msg.Value, nil
	}
	if n, err := call("Count"); n != 1 || err != nil {
		t.Fatalf("got %d, %v, want 1", n, err)
	}
	anonymous := v.cookie()
	login := connect.NewClient[wrapperspb.StringValue, emptypb.Empty](v, v.url+counter+"Login", options...)
	if _, err := login.CallUnary(ctx, connect.NewRequest(wrapperspb.String("ann"))); err != nil {
		t.Fatal(err)
	}
	if v.cookie() == anonymous || v.session(s).Principal() != "ann" {
		t.Error("the login gave no new cookie of ann's")
	}
	if _, err := call("Fail"); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("got %v, want the handler's error", err)
	}
	v.storedVisits(s, 2) // an error is a response like any other
	stream, err := connect.NewClient[emptypb.Empty, wrapperspb.Int64Value](v, v.url+counter+"Watch", options...).
		CallServerStream(ctx, connect.NewRequest(&emptypb.Empty{}))
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for stream.Receive() {
		last = stream.Msg().Value
	}
	if err := stream.Err(); last != 5 || err != nil {
		t.Errorf("the stream ended with %d, %v, want 5", last, err)
	}
	stream.Close()
	if n, err := call("Count"); n != 6 || err != nil {
		t.Errorf("after the stream: got %d, %v, want 6", n, err)
	}
	s.store.Fail(errDown)
	if _, err := call("Count"); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("in an outage: got %v, want Unavailable", err)
	}
	s.store.Fail(nil)
	v.storedVisits(s, 6)
}
