// Command password lets users change their password, which logs them out everywhere else (ASVS 5.0, 7.4.3).
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./examples/password
//
// It knows one user, ann, whose password is "correct horse". Who logged in more than ten minutes ago has to enter the
// password again before the page of the change is shown (ASVS 5.0, 7.5.1).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
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
	sessions, err := session.New(session.Config{
		SecretKey:    os.Getenv("SECRET_KEY"),
		InsecureHTTP: true, // it listens on 127.0.0.1; behind a proxy with https, remove this
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	a := newApp(sessions, 600_000)
	if err := a.users.set("ann", "correct horse"); err != nil {
		log.Fatal(err)
	}
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

// freshFor is how long an authentication is good for a change of the password.
const freshFor = 10 * time.Minute

type app struct {
	http.Handler
	sessions *session.Manager
	users    *users
}

func newApp(sessions *session.Manager, iterations int) *app {
	a := &app{sessions: sessions, users: &users{iterations: iterations}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /login", a.login)
	fresh := guard.Fresh(freshFor, "/confirm")
	mux.HandleFunc("GET /confirm", a.confirmPage)
	mux.HandleFunc("POST /confirm", a.confirm)
	mux.Handle("GET /password", fresh(http.HandlerFunc(a.passwordPage)))
	mux.Handle("POST /password", fresh(http.HandlerFunc(a.password)))
	a.Handler = http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
	return a
}

var pages = template.Must(template.New("").Parse(`{{define "head"}}<!doctype html><title>Password</title>
{{range .Flashes}}<p>{{.Message}}</p>{{end}}{{end}}

{{define "home"}}{{template "head" .}}{{if .Name}}<p>Logged in as {{.Name}}</p>
<p><a href="/password">Change the password</a></p>
{{else}}<form method="post" action="/login"><input name="name">
<input name="password" type="password"><button>Log in</button></form>{{end}}
{{end}}

{{define "confirm"}}{{template "head" .}}<p>Please enter your password again.</p>
<form method="post"><input name="password" type="password"><button>Go on</button></form>{{end}}

{{define "password"}}{{template "head" .}}<form method="post">
<input name="old" type="password" placeholder="old password">
<input name="new" type="password" placeholder="new password"><button>Change</button></form>{{end}}
`))

func show(w http.ResponseWriter, r *http.Request, page string) {
	s := session.From(r)
	data := map[string]any{"Name": s.Principal(), "Flashes": s.Flashes()} // before the first byte of the page
	w.Header().Set("Cache-Control", "no-store")
	pages.ExecuteTemplate(w, page, data)
}

func (a *app) home(w http.ResponseWriter, r *http.Request)         { show(w, r, "home") }
func (a *app) confirmPage(w http.ResponseWriter, r *http.Request)  { show(w, r, "confirm") }
func (a *app) passwordPage(w http.ResponseWriter, r *http.Request) { show(w, r, "password") }

// confirm authenticates the user again. The form goes to its own address, which says where to go on.
func (a *app) confirm(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	switch name := s.Principal(); {
	case name == "":
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case a.users.check(name, r.FormValue("password")) != nil:
		s.Flash("The password is wrong.")
		show(w, r, "confirm")
	default:
		s.Elevate(session.Auth{Methods: []string{"pwd"}, Level: 1, Until: time.Now().Add(freshFor)})
		http.Redirect(w, r, guard.Next(r, "/"), http.StatusSeeOther)
	}
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if name := r.FormValue("name"); a.users.check(name, r.FormValue("password")) == nil {
		s.LoginWith(name, session.Auth{Methods: []string{"pwd"}, Level: 1})
	} else {
		s.Flash("Name or password is wrong.")
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// password stores the new password before it ends the other sessions: a login with the old one, which somebody may be
// trying just now, must find nothing to succeed with.
func (a *app) password(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	name := s.Principal() // the guard lets nobody else through
	err := a.users.check(name, r.FormValue("old"))
	if err == nil {
		err = a.users.set(name, r.FormValue("new"))
	}
	if errors.Is(err, errPassword) {
		s.Flash("The old password is wrong, or the new one has less than 8 characters.")
		http.Redirect(w, r, "/password", http.StatusSeeOther)
		return
	}
	if err != nil {
		http.Error(w, "The password could not be changed.", http.StatusInternalServerError)
		return
	}
	n, err := s.RevokeOthers(r.Context()) // this one gets a new ID, and no copy of an earlier cookie works
	if err != nil {
		// The new password holds, but other devices may still be logged in: say so, and let it be tried again.
		log.Printf("the other sessions of a changed password: %v", err)
		s.Flash("Your password is changed, but other devices may still be logged in. Please change it " +
			"again in a minute.")
	} else {
		s.Flash(fmt.Sprintf("Your password is changed, and %d other devices are logged out.", n))
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
