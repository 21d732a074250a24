// Package app is the login example. The command beside it runs it, and so does "hipflask serve".
package app

import (
	"bytes"
	"embed"
	"html/template"
	"maps"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session"
	"github.com/hipflask/session/dbsc"
	"github.com/hipflask/session/devices"
	"github.com/hipflask/session/guard"
)

// maxName is longer than any name, and in bytes still within what a principal may have.
const maxName = 60

const visits = session.Key[int]("visits")

//go:embed pages.html style.css
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages.html"))

type app struct{ sessions *session.Manager }

// newApp returns the whole application: protection against requests of other sites around sessions around the routes.
// With a device the sessions are bound to it.
func newApp(sessions *session.Manager, device *dbsc.Server) http.Handler {
	a := app{sessions}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /login", a.form)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.Handle("/devices", devices.New(sessions, nil))
	mux.Handle("GET /codes", guard.Level(2, "/confirm")(http.HandlerFunc(a.codes)))
	mux.HandleFunc("GET /confirm", a.confirmForm)
	mux.HandleFunc("POST /confirm", a.confirm)
	mux.Handle("GET /style.css", http.FileServerFS(files))
	var routes http.Handler = mux
	if device != nil {
		mux.Handle("/dbsc/", device)
		routes = device.Middleware(mux)
	}
	return headers(http.NewCrossOriginProtection().Handler(sessions.Handler(routes)))
}

// Headers of all answers, and of pages.
var (
	secure = http.Header{
		"Content-Security-Policy": {"default-src 'none'; style-src 'self'; form-action 'self'; base-uri " +
			"'none'; frame-ancestors 'none'"},
		"Referrer-Policy":        {"same-origin"},
		"X-Content-Type-Options": {"nosniff"},
	}
	html = http.Header{
		"Content-Type":  {"text/html; charset=utf-8"},
		"Cache-Control": {"no-store"}, // the back button after a logout shows nothing of it
	}
)

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), secure)
		next.ServeHTTP(w, r)
	})
}

// page is what the templates show.
type page struct {
	Title   string
	Flashes []session.FlashMessage
	Name    string // who is logged in, or what was typed
	Visits  int
	Problem string // with what was typed
}

// welcome is the home page of visitors, which is always the same: it is rendered once.
var welcome = func() []byte {
	body, err := render("home", page{Title: "Home"})
	if err != nil {
		panic(err)
	}
	return body
}()

// home says who is logged in.
func (a app) home(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	p := page{Title: "Home", Flashes: s.Flashes(), Name: s.Principal()}
	switch {
	case p.Name == "" && len(p.Flashes) == 0:
		maps.Copy(w.Header(), html)
		w.Write(welcome)
		return
	case p.Name == "":
		show(w, http.StatusOK, "home", p)
		return
	}
	p.Visits = visits.Update(s, func(n int) int { return n + 1 })
	show(w, http.StatusOK, "home", p)
}

func (a app) form(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusOK, "login", page{Title: "Log in", Flashes: session.From(r).Flashes()})
}

// login takes any name, as the tutorials do: a real application checks a password here.
func (a app) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	name := strings.TrimSpace(r.PostFormValue("username"))
	problem := ""
	switch {
	case name == "":
		problem = "Please enter a name."
	case utf8.RuneCountInString(name) > maxName:
		problem = "That name is too long. Please use at most 60 characters."
		name = ""
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		problem = "That name has characters that can't be shown."
		name = ""
	}
	if problem != "" {
		show(w, http.StatusUnprocessableEntity, "login", page{Title: "Log in", Name: name, Problem: problem})
		return
	}
	s := session.From(r)
	s.LoginWith(name, session.Auth{Methods: []string{"pwd"}, Level: 1})
	s.SetPersistent(r.PostFormValue("remember") != "")
	s.SetLabel(devices.Label(r))
	s.Flash("Welcome, " + name + "!")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// codes is a page for which a password is not enough.
func (a app) codes(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	show(w, http.StatusOK, "codes", page{Title: "Recovery codes", Flashes: s.Flashes(), Name: s.Principal()})
}

func (a app) confirmForm(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if s.Principal() == "" {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	show(w, http.StatusOK, "confirm", page{Title: "Confirm that it's you", Flashes: s.Flashes(), Name: s.Principal()})
}

// confirm takes any six digits: a real application checks a one-time code here. The form's address says where to go on.
func (a app) confirm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	s := session.From(r)
	code := r.PostFormValue("code")
	switch {
	case s.Principal() == "":
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	case len(code) != 6 || strings.Trim(code, "0123456789") != "":
		show(w, http.StatusUnprocessableEntity, "confirm",
			page{Title: "Confirm that it's you", Name: s.Principal(), Problem: "Please enter six digits."})
	default:
		s.Elevate(session.Auth{Methods: []string{"pwd", "otp"}, Level: 2, Until: time.Now().Add(5 * time.Minute)})
		http.Redirect(w, r, guard.Next(r, "/"), http.StatusSeeOther)
	}
}

func (a app) logout(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	s.Logout()
	s.Flash("You are logged out.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// show renders a page whole before its first byte: what it shows of the session is saved by then.
func show(w http.ResponseWriter, status int, name string, p page) {
	body, err := render(name, p)
	if err != nil {
		http.Error(w, "The page can't be shown.", http.StatusInternalServerError)
		return
	}
	maps.Copy(w.Header(), html)
	w.WriteHeader(status)
	w.Write(body)
}

func render(name string, p page) ([]byte, error) {
	var body bytes.Buffer
	err := pages.ExecuteTemplate(&body, name, p)
	return body.Bytes(), err
}
