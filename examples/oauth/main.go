// Command oauth logs users in by an OAuth 2.0 provider: the authorization code flow with PKCE (RFC 6749, RFC 7636;
// RFC 9700 for what is best today). What it shows is the callback: of many requests with one code exactly one wins.
//
//	export SECRET_KEY=$(openssl rand -hex 32) CLIENT_ID=... CLIENT_SECRET=...
//	go run ./examples/oauth https://github.com/login/oauth/authorize \
//	    https://github.com/login/oauth/access_token \
//	    https://api.github.com/user
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hipflask/session"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if flag.NArg() != 3 {
		log.Fatal("usage: oauth [-addr ADDRESS] AUTHORIZE-URL TOKEN-URL USER-URL")
	}
	sessions, err := session.New(session.Config{
		SecretKey:    os.Getenv("SECRET_KEY"),
		InsecureHTTP: true, // it listens on 127.0.0.1; behind a proxy with https, remove this
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	server := &http.Server{Handler: newApp(sessions, provider{
		authorizeURL: flag.Arg(0),
		tokenURL:     flag.Arg(1),
		userURL:      flag.Arg(2),
		callbackURL:  "http://" + *addr + "/callback",
		clientID:     os.Getenv("CLIENT_ID"),
		secret:       os.Getenv("CLIENT_SECRET"),
	})}
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

// attempt is a login that has begun.
type attempt struct {
	State    string // comes back with the code
	Verifier string // proves to the provider that it is us who began
	Begun    time.Time
}

// Each attempt has a key of its own, so that a login in one tab doesn't spoil that of another tab.
const (
	prefix      = "oauth:"
	maxAttempts = 5 // pending ones of a browser
)

func pending(state string) session.Key[attempt] { return session.Key[attempt](prefix + state) }

// forget removes the oldest attempts: most of them were never finished.
func forget(s *session.Session) {
	var begun []attempt
	for _, key := range s.Keys() {
		if state, ok := strings.CutPrefix(key, prefix); ok {
			try, _ := pending(state).Get(s)
			try.State = state
			begun = append(begun, try)
		}
	}
	slices.SortFunc(begun, func(a, b attempt) int { return b.Begun.Compare(a.Begun) })
	for i := maxAttempts - 1; i < len(begun); i++ {
		pending(begun[i].State).Delete(s)
	}
}

type app struct{ provider provider }

func newApp(sessions *session.Manager, p provider) http.Handler {
	a := app{p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /login", a.login)
	mux.HandleFunc("GET /callback", a.callback)
	return sessions.Handler(mux)
}

func (a app) home(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Hello %s", session.From(r).Principal())
}

// login sends the browser to the provider. The attempt is stored before the redirect leaves.
func (a app) login(w http.ResponseWriter, r *http.Request) {
	s, try := session.From(r), attempt{State: session.NewSecretKey(), Verifier: session.NewSecretKey(),
		Begun: time.Now()}
	forget(s)
	pending(try.State).Set(s, try)
	http.Redirect(w, r, a.provider.authorize(try), http.StatusSeeOther)
}

// callback is where the provider sends the browser back to. A browser may ask twice (a double click, a reload), and
// somebody may send a victim here with a code of his own: the state has to be one of this browser, and Take gives it to
// one request alone.
func (a app) callback(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	try, won, err := pending(r.FormValue("state")).Take(r.Context(), s)
	switch {
	case err != nil:
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	case !won:
		http.Error(w, "This login was not begun here, or it has been used.", http.StatusBadRequest)
		return
	}
	name, err := a.provider.user(r.Context(), r.FormValue("code"), try)
	if err != nil {
		log.Printf("oauth: %v", err)
		http.Error(w, "The provider did not let you in.", http.StatusForbidden)
		return
	}
	s.Login(name)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
