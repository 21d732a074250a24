// Command grpc serves notes by gRPC. A client logs in once and sends the token that it gets with every call, as
// metadata "authorization: Bearer TOKEN". What is to be copied is the interceptor in session.go.
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./grpc
package main

import (
	"context"
	"crypto/subtle"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	server := newServer(sessions)
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Print(err)
		}
		stop()
	}()
	<-ctx.Done()
	stop()                // a second signal ends the program at once
	server.GracefulStop() // calls in flight finish, then the sessions are closed
}

func newServer(sessions *session.Manager) *grpc.Server {
	s := grpc.NewServer(grpc.UnaryInterceptor(withSession(sessions)))
	s.RegisterService(&service, notes{})
	return s
}

// notes is the service: Login takes a password for user ann and gives a token, Add keeps a note and says how many there
// are.
type notes struct{}

const kept = session.Key[[]string]("notes")

func (notes) Login(ctx context.Context, password *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	if subtle.ConstantTimeCompare([]byte(password.Value), []byte("correct horse")) != 1 {
		return nil, status.Error(codes.Unauthenticated, "wrong password")
	}
	s, _ := session.FromContext(ctx)
	s.Login("ann")
	return wrapperspb.String(s.Token()), nil
}

func (notes) Logout(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	s, _ := session.FromContext(ctx)
	s.Logout()
	return &emptypb.Empty{}, nil
}

func (notes) Add(ctx context.Context, text *wrapperspb.StringValue) (*wrapperspb.Int64Value, error) {
	s, _ := session.FromContext(ctx)
	if s.Principal() == "" {
		return nil, status.Error(codes.Unauthenticated, "log in first")
	}
	all := kept.Update(s, func(list []string) []string { return append(list, text.Value) })
	return wrapperspb.Int64(int64(len(all))), nil
}
