// Command actas lets the staff of a shop act for a customer ("log in as this customer"), without the customer's
// password and without a trace in the customer's own sessions.
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./examples/actas
//
// Any name logs in; ann and bob are staff.
//
// The acting session is of a second Manager, inside the first one, with a cookie and a realm of its own. It names its
// actor, lives for an hour at most, and counts only while the request's own session is the one that began it, and
// fresh. See docs/logins.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/guard"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a, err := newApp(session.Config{
		SecretKey:    os.Getenv("SECRET_KEY"),
		InsecureHTTP: true, // it listens on 127.0.0.1
	}, slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	defer a.own.Close()
	defer a.acting.Close()
	server := &http.Server{Handler: a}
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
	maxActing = time.Hour        // of an acting session
	freshFor  = 15 * time.Minute // how long an authentication is good for acting
)

// Actor says by whose session an acting session was begun. The handle is kept by Elevate and changed by Login, so a
// later login of the same person brings no acting session back.
type Actor struct{ Name, Handle string }

// actor is public, so that a list of the acting sessions shows who acts.
const actor = session.PublicAttribute[Actor]("github.com/hipflask/session/examples/actas")

var note = session.Key[string]("note")

// staff stands for a column of the table of users.
var staff = map[string]bool{"ann": true, "bob": true}

type app struct {
	http.Handler
	own, acting *session.Manager
}

// newApp returns the application. Config is that of the users' own sessions.
func newApp(config session.Config, logger *slog.Logger) (*app, error) {
	config.OnEvent = func(ctx context.Context, e session.Event) {
		logger.InfoContext(ctx, "session", "event", e.Kind, "user", e.Principal, "handle", e.Handle)
	}
	own, err := session.New(config)
	if err != nil {
		return nil, err
	}
	config.Cookie.Name = "acting"
	config.Cookie.Persistent = false
	config.Realm = "acting" // so the customer's lists, limit and RevokeAll don't see it
	config.Lifetime, config.IdleTimeout, config.MaxSessions = maxActing, freshFor, 0
	config.OnEvent = func(ctx context.Context, e session.Event) {
		by := ""
		if s, ok := session.FromContext(ctx); ok { // ctx is around the inner Handler: this is the own session
			by = s.Principal()
		}
		logger.InfoContext(ctx, "acting session", "event", e.Kind, "customer", e.Principal, "actor",
			by, "handle", e.Handle)
	}
	acting, err := session.New(config)
	if err != nil {
		own.Close()
		return nil, err
	}
	a := &app{own: own, acting: acting}
	fresh := guard.Guard{Manager: own}.Fresh(freshFor, "/confirm")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /note", a.note)
	mux.HandleFunc("POST /password", a.password)
	mux.HandleFunc("POST /act", a.act)
	mux.HandleFunc("POST /act/end", a.end)

	outer := http.NewServeMux() // of these an acting session has no part
	outer.HandleFunc("POST /login", a.login)
	outer.HandleFunc("POST /logout", a.logout)
	outer.HandleFunc("GET /confirm", a.confirmPage)
	outer.HandleFunc("POST /confirm", a.confirm)
	outer.Handle("/", a.counts(mux, fresh(mux)))
	a.Handler = http.NewCrossOriginProtection().Handler(own.Handler(acting.Handler(outer)))
	return a, nil
}

// counts lets a request with an acting session on to fresh if the request's own session is the one that began it. Else
// it ends the acting session, and goes on without it.
func (a *app) counts(next, fresh http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own, err := a.own.Open(r)
		if err != nil {
			a.own.Error(w, r, err)
			return
		}
		acting, err := a.acting.Open(r)
		if err != nil {
			a.acting.Error(w, r, err)
			return
		}
		if acting.Principal() != "" {
			if by, _ := actor.Get(acting); by == (Actor{own.Principal(), own.Info().Handle}) {
				fresh.ServeHTTP(w, r)
				return
			}
			acting.Logout()
		}
		next.ServeHTTP(w, r)
	})
}

// user returns for whom the request is served, by which session, and who acts; "" for nobody else.
func (a *app) user(r *http.Request) (s *session.Session, by string) {
	if acting := a.acting.From(r); acting.Principal() != "" {
		return acting, a.own.From(r).Principal()
	}
	return a.own.From(r), ""
}

var pages = template.Must(template.New("").Parse(`{{define "home"}}<!doctype html><title>Shop</title>
{{if .Actor}}<p role="alert">You are {{.Actor}}, and act as {{.User}}.</p>
<form method="post" action="/act/end"><button>End</button></form>{{end}}
{{if .User}}<p>Shopping as {{.User}}; note: {{.Note}}</p>
<form method="post" action="/note"><input name="note"><button>Note</button></form>
{{if .Staff}}<form method="post" action="/act"><input name="customer"><button>Act as</button></form>{{end}}
<form method="post" action="/logout"><button>Log out</button></form>
{{else}}<form method="post" action="/login"><input name="name"><button>Log in</button></form>{{end}}
{{end}}{{define "confirm"}}<!doctype html><title>Confirm</title>
<form method="post"><input name="name" placeholder="your name"><button>Confirm</button></form>{{end}}`))

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	s, by := a.user(r)
	text, _ := note.Get(s)
	data := map[string]any{"User": s.Principal(), "Actor": by, "Note": text, "Staff": by == "" && staff[s.Principal()]}
	w.Header().Set("Cache-Control", "no-store")
	pages.ExecuteTemplate(w, "home", data)
}

func (a *app) note(w http.ResponseWriter, r *http.Request) {
	s, _ := a.user(r)
	note.Set(s, r.FormValue("note"))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// password stands for all that only the customer may do.
func (a *app) password(w http.ResponseWriter, r *http.Request) {
	if _, by := a.user(r); by != "" {
		http.Error(w, "Not while you act for a customer.", http.StatusForbidden)
		return
	}
	fmt.Fprintln(w, "Changed.")
}

// act begins to act for a customer.
func (a *app) act(w http.ResponseWriter, r *http.Request) {
	own := a.own.From(r)
	customer := r.FormValue("customer")
	if !staff[own.Principal()] || staff[customer] || customer == "" {
		http.Error(w, "Only staff may act, and only for customers.", http.StatusForbidden)
		return
	}
	if time.Since(own.Auth().Time) >= freshFor {
		http.Redirect(w, r, "/confirm?why=fresh", http.StatusSeeOther)
		return
	}
	s := a.acting.From(r)
	s.LoginWith(customer, session.Auth{}) // no Methods: nobody has authenticated the customer
	actor.Set(s, Actor{own.Principal(), own.Info().Handle})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) end(w http.ResponseWriter, r *http.Request) {
	a.acting.From(r).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// login takes any name: a real application checks a password here, and in confirm.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	a.acting.From(r).Logout()
	a.own.From(r).LoginWith(r.FormValue("name"), session.Auth{Methods: []string{"pwd"}, Level: 1})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.acting.From(r).Logout()
	a.own.From(r).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) confirmPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	pages.ExecuteTemplate(w, "confirm", nil)
}

func (a *app) confirm(w http.ResponseWriter, r *http.Request) {
	s := a.own.From(r)
	if s.Principal() == "" || r.FormValue("name") != s.Principal() {
		http.Error(w, "That is not you.", http.StatusForbidden)
		return
	}
	s.Elevate(session.Auth{Methods: []string{"pwd"}, Until: time.Now().Add(freshFor)})
	http.Redirect(w, r, guard.Next(r, "/"), http.StatusSeeOther)
}
