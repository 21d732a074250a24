// Command fromscs is an application that used github.com/alexedwards/scs/v2 until yesterday. Nobody who is logged in
// notices the change: Adopt takes over each old session when its cookie comes along.
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./fromscs
//
// docs/migrating.md says what each call becomes.
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

	"github.com/alexedwards/scs/v2"

	"github.com/hipflask/session"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	old := scs.New() // with the Store, the Codec and the Cookie.Name that it had
	sessions, err := session.New(session.Config{
		SecretKey:   os.Getenv("SECRET_KEY"),
		Adopt:       adopt(old),
		AdoptCookie: old.Cookie.Name,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	server := &http.Server{Handler: newApp(sessions, old)}
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

const (
	theme  = session.Key[string]("theme")
	visits = session.Key[int]("visits")
)

// adopt moves a session of scs: what it has is stored here before it is destroyed there. So it can't come back after a
// logout, nor outlive the timeouts that hold now.
func adopt(old *scs.SessionManager) func(*http.Request, *session.Session) error {
	return func(r *http.Request, s *session.Session) error {
		cookie, err := r.Cookie(old.Cookie.Name)
		if err != nil {
			return nil // the request has none
		}
		ctx, err := old.Load(r.Context(), cookie.Value)
		if err != nil {
			return unavailable(err)
		}
		if len(old.Keys(ctx)) == 0 {
			return nil // unknown or expired
		}
		if name := old.GetString(ctx, "user"); name != "" {
			s.Login(name)
		}
		theme.Set(s, old.GetString(ctx, "theme"))
		visits.Set(s, old.GetInt(ctx, "visits"))
		if err := s.Save(r.Context()); err != nil {
			return err
		}
		if err := old.Destroy(ctx); err != nil {
			return unavailable(err)
		}
		return nil
	}
}

// unavailable makes the answer 503: the old store can't be reached, so nobody knows who this is.
func unavailable(err error) error { return fmt.Errorf("%w: scs: %v", session.ErrUnavailable, err) }

func newApp(sessions *session.Manager, old *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("POST /logout", logout)
	return sessions.Handler(forget(old.Cookie.Name, mux))
}

// forget deletes the old cookie in the browser. It goes inside Handler: if the session can't be adopted, the cookie has
// to stay.
func forget(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie(name); err == nil {
			session.From(r) // adopts
			http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1})
		}
		next.ServeHTTP(w, r)
	})
}

func home(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if s.Principal() == "" {
		fmt.Fprint(w, "You are not logged in.")
		return
	}
	n := visits.Update(s, func(n int) int { return n + 1 })
	fmt.Fprintf(w, "Hello %s. This is visit %d, and your theme is %s.", s.Principal(), n, theme.Or(s, "light"))
}

func logout(w http.ResponseWriter, r *http.Request) {
	session.From(r).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
