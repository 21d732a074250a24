// Command fromgorilla is an application that used github.com/gorilla/sessions until yesterday. Nobody who is logged in
// notices the change: Adopt takes over each old session when its cookie comes along.
//
//	SECRET_KEY=$(openssl rand -hex 32) OLD_KEY=... go run ./fromgorilla
//
// docs/migrating.md says what each call becomes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/hipflask/session"
)

// oldName is what the application gave to store.Get, and so the name of the old cookie.
const oldName = "app"

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	old := sessions.NewCookieStore([]byte(os.Getenv("OLD_KEY"))) // or the FilesystemStore, ... that it had
	manager, err := session.New(session.Config{
		SecretKey:   os.Getenv("SECRET_KEY"),
		Adopt:       adopt(old),
		AdoptCookie: oldName,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer manager.Close()
	server := &http.Server{Handler: newApp(manager)}
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

const visits = session.Key[int]("visits")

// adopt moves a session of gorilla: what it has is stored here before it is deleted there. So it can't come back after
// a logout, nor outlive the timeouts that hold now. (A CookieStore has nothing to delete: there forget alone does it,
// and a copied cookie is good until it expires, as it was before.)
func adopt(old sessions.Store) func(*http.Request, *session.Session) error {
	return func(r *http.Request, s *session.Session) error {
		o, err := old.New(r, oldName)
		var bad securecookie.Error
		switch {
		case errors.As(err, &bad) && bad.IsDecode(), errors.Is(err, fs.ErrNotExist):
			return nil // forged, expired, or of another key; or logged out
		case err != nil:
			return unavailable(err)
		case o.IsNew:
			return nil
		}
		if name, _ := o.Values["user"].(string); name != "" {
			s.Login(name)
		}
		if n, ok := o.Values["visits"].(int); ok {
			visits.Set(s, n)
		}
		for _, f := range o.Flashes() {
			s.Flash(fmt.Sprint(f))
		}
		if err := s.Save(r.Context()); err != nil {
			return err
		}
		o.Options.MaxAge = -1
		if err := old.Save(r, nowhere{}, o); err != nil {
			return unavailable(err)
		}
		return nil
	}
}

// unavailable makes the answer 503: the old store can't be reached, so nobody knows who this is.
func unavailable(err error) error { return fmt.Errorf("%w: gorilla: %v", session.ErrUnavailable, err) }

// nowhere takes the cookie that old.Save sets: forget deletes it, if the new session could be stored.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

func newApp(manager *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("POST /logout", logout)
	return manager.Handler(forget(mux))
}

// forget deletes the old cookie in the browser. It goes inside Handler: if the session can't be adopted, the cookie has
// to stay.
func forget(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie(oldName); err == nil {
			session.From(r) // adopts
			http.SetCookie(w, &http.Cookie{Name: oldName, Path: "/", MaxAge: -1})
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
	text := fmt.Sprintf("Hello %s. This is visit %d.", s.Principal(), n)
	for _, f := range s.Flashes() {
		text += " " + f.Message
	}
	fmt.Fprint(w, text)
}

func logout(w http.ResponseWriter, r *http.Request) {
	session.From(r).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
