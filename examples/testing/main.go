// Command testing is a small application whose tests are the point: main_test.go shows what package sessiontest does
// for the tests of one's own handlers.
//
//	go test ./examples/testing
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/hipflask/session"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	sessions, err := session.New(session.Config{
		SecretKey:    os.Getenv("SECRET_KEY"),
		InsecureHTTP: true, // it listens on 127.0.0.1; behind a proxy with https, remove this
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	server := &http.Server{Handler: newApp(sessions, func(things []string) { log.Print("ordered: ", things) })}
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

const cart = session.Key[[]string]("cart")

func newApp(sessions *session.Manager, place func(things []string)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", greet)
	mux.HandleFunc("POST /cart", add)
	mux.HandleFunc("POST /order", order(place))
	return sessions.Handler(mux)
}

func greet(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if s.Principal() == "" {
		fmt.Fprintf(w, "Hello. %d things in your cart.", len(cart.Or(s, nil)))
		return
	}
	fmt.Fprintf(w, "Hello %s. %d things in your cart.", s.Principal(), len(cart.Or(s, nil)))
}

func add(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	cart.Update(s, func(things []string) []string { return append(things, r.FormValue("thing")) })
	s.Flash("It is in your cart.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func order(place func(things []string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if s.Principal() == "" {
			http.Error(w, "Please log in.", http.StatusUnauthorized)
			return
		}
		// Of two orders at once, a double click, one gets the cart.
		things, ok, err := cart.Take(r.Context(), s)
		switch {
		case err != nil:
			http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		case !ok:
			http.Error(w, "Your cart is empty.", http.StatusConflict)
		default:
			place(things)
			fmt.Fprintf(w, "%d things ordered.", len(things))
		}
	}
}
