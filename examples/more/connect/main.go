// Command connect serves notes by connect-go: to clients of Connect, gRPC and gRPC-Web. A client logs in once and sends
// the token that it gets with every call, as "Authorization: Bearer TOKEN". What is to be copied is the interceptor in
// session.go.
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./connect
//	curl -H 'Content-Type: application/json' -d '"correct horse"' http://127.0.0.1:8080/example.Notes/Login
//
// A service for browsers, with a cookie, needs no interceptor: there sessions.Handler goes around it
// (docs/middleware.md).
package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/hipflask/session"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	sessions, err := session.New(session.Config{
		SecretKey:   os.Getenv("SECRET_KEY"),
		BearerToken: true,
		// A session that is loaded by its token does not count as used, so an idle timeout would end busy ones.
		IdleTimeout: -1,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	server := &http.Server{Handler: newServer(sessions), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // for gRPC without TLS
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on http://%s/", listener.Addr())
	go func() {
		log.Print(server.Serve(listener))
		stop()
	}()
	<-ctx.Done()
	stop()                                // a second signal ends the program at once
	server.Shutdown(context.Background()) // requests in flight finish, then the sessions are closed
}

// newServer returns the service. With generated code it is mux.Handle(notesconnect.NewNotesHandler(notes{}, options)).
func newServer(sessions *session.Manager) http.Handler {
	options := connect.WithInterceptors(withSession{sessions})
	mux := http.NewServeMux()
	mux.Handle("/example.Notes/Login", connect.NewUnaryHandlerSimple("/example.Notes/Login", login, options))
	mux.Handle("/example.Notes/Logout", connect.NewUnaryHandlerSimple("/example.Notes/Logout", logout, options))
	mux.Handle("/example.Notes/Add", connect.NewUnaryHandlerSimple("/example.Notes/Add", add, options))
	mux.Handle("/example.Notes/Import", connect.NewClientStreamHandlerSimple("/example.Notes/Import",
		imported, options))
	return mux
}

const kept = session.Key[[]string]("notes")

// login takes a password for user ann and gives a token.
func login(ctx context.Context, password *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	if subtle.ConstantTimeCompare([]byte(password.Value), []byte("correct horse")) != 1 {
		return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("wrong password"))
	}
	s, _ := session.FromContext(ctx)
	s.Login("ann")
	return wrapperspb.String(s.Token()), nil
}

func logout(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	s, _ := session.FromContext(ctx)
	s.Logout()
	return &emptypb.Empty{}, nil
}

// add keeps a note and says how many there are.
func add(ctx context.Context, text *wrapperspb.StringValue) (*wrapperspb.Int64Value, error) {
	s, err := loggedIn(ctx)
	if err != nil {
		return nil, err
	}
	all := kept.Update(s, func(list []string) []string { return append(list, text.Value) })
	return wrapperspb.Int64(int64(len(all))), nil
}

// imported keeps the notes of a stream, all or none, and says how many there are.
func imported(ctx context.Context, stream *connect.ClientStream[wrapperspb.StringValue]) (*wrapperspb.Int64Value,
	error) {
	s, err := loggedIn(ctx)
	if err != nil {
		return nil, err
	}
	n := len(kept.Or(s, nil))
	for stream.Receive() {
		text := stream.Msg().Value
		n = len(kept.Update(s, func(list []string) []string { return append(list, text) }))
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return wrapperspb.Int64(int64(n)), nil
}

func loggedIn(ctx context.Context) (*session.Session, error) {
	s, _ := session.FromContext(ctx)
	if s.Principal() == "" {
		return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("log in first"))
	}
	return s, nil
}
