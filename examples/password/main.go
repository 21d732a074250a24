// Command password lets users change their password, which logs them out everywhere else (ASVS 5.0, 7.4.3).
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./examples/password
//
// It knows one user, ann, whose password is "correct horse".
package main

import (
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"

	"github.com/hipflask/session"
)

func main() {
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
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", a))
}

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
	mux.HandleFunc("POST /password", a.password)
	a.Handler = http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
	return a
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Password</title>
{{range .Flashes}}<p>{{.Message}}</p>{{end}}
{{if .Name}}<p>Logged in as {{.Name}}</p>
<form method="post" action="/password"><input name="old" type="password" placeholder="old password">
<input name="new" type="password" placeholder="new password"><button>Change</button></form>
{{else}}<form method="post" action="/login"><input name="name"><input name="password" type="password"><button>Log in</button></form>{{end}}
`))

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	data := map[string]any{"Name": s.Principal(), "Flashes": s.Flashes()} // before the first byte of the page
	w.Header().Set("Cache-Control", "no-store")
	page.Execute(w, data)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if name := r.FormValue("name"); a.users.check(name, r.FormValue("password")) == nil {
		s.Login(name)
	} else {
		s.Flash("Name or password is wrong.")
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// password stores the new password before it ends the other sessions: a login with the old one, which somebody may be
// trying just now, must find nothing to succeed with.
func (a *app) password(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	name := s.Principal()
	if name == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	err := a.users.check(name, r.FormValue("old"))
	if err == nil {
		err = a.users.set(name, r.FormValue("new"))
	}
	if errors.Is(err, errPassword) {
		s.Flash("The old password is wrong, or the new one has less than 8 characters.")
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if err != nil {
		http.Error(w, "The password could not be changed.", http.StatusInternalServerError)
		return
	}
	s.Renew() // this one gets a new ID; a copy of the old cookie is served until Grace is over
	n, err := s.RevokeOthers(r.Context())
	if err != nil {
		// The new password holds, but other devices may still be logged in: say so, and let it be tried again.
		log.Printf("the other sessions of a changed password: %v", err)
		s.Flash("Your password is changed, but other devices may still be logged in. Please change it again in a minute.")
	} else {
		s.Flash(fmt.Sprintf("Your password is changed, and %d other devices are logged out.", n))
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
