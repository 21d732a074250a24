// Command audit keeps an audit log: who logged in, when, from where and by which device, and who ended whose sessions.
// Its entries go to the log and to a table in SQLite.
//
//	cd examples/audit && SECRET_KEY=$(openssl rand -hex 32) go run . audit.db
//
// Users are ann, who is staff, and carl; the password is "correct horse". Staff sees the log at /audit. auditLog is the
// part to take along.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/devices"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("usage: audit [-addr ADDRESS] FILE, which is made if it does not exist")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	audit, err := openAudit(ctx, flag.Arg(0), slog.Default(), 10_000, time.Second)
	if err != nil {
		return err
	}
	a, err := newApp(session.Config{
		SecretKey:    os.Getenv("SECRET_KEY"),
		InsecureHTTP: true, // for http on this machine
	}, audit)
	if err != nil {
		return errors.Join(err, audit.Close())
	}
	server := &http.Server{Addr: *addr, Handler: a}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err = <-failed:
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = server.Shutdown(end)
	}
	return errors.Join(err, a.acting.Close(), a.own.Close(), audit.Close())
}

// users stand for a table. A real application keeps hashes of passwords: see examples/password.
var users = map[string]string{"ann": "correct horse", "carl": "correct horse"}

var staff = map[string]bool{"ann": true}

// actor is the handle of the session that began an acting session.
const actor = session.PublicAttribute[string]("github.com/hipflask/session/examples/audit")

type app struct {
	http.Handler
	own, acting *session.Manager
	audit       *auditLog
	notify      func(user, label, address string) // tells a user of a login by a new device
}

func newApp(config session.Config, audit *auditLog) (*app, error) {
	config.OnEvent = audit.onEvent("")
	own, err := session.New(config)
	if err != nil {
		return nil, err
	}
	config.Cookie.Name, config.Cookie.Persistent, config.Realm = "acting", false, "acting"
	config.Lifetime, config.IdleTimeout, config.MaxSessions = time.Hour, 15*time.Minute, 0
	config.OnEvent = audit.onEvent("acting ")
	acting, err := session.New(config)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	a := &app{own: own, acting: acting, audit: audit}
	a.notify = func(user, label, address string) { // a real one sends a mail, in the background
		slog.Info("new device", "user", user, "label", label, "address", address)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST /confirm", a.confirm)
	mux.HandleFunc("POST /sell", a.sell)
	mux.HandleFunc("POST /act", a.staff(a.act))
	mux.HandleFunc("POST /act/end", a.end)
	mux.HandleFunc("POST /revoke", a.staff(a.revoke))
	mux.HandleFunc("GET /audit", a.staff(a.log))
	a.Handler = audit.Handler(http.NewCrossOriginProtection().Handler(own.Handler(acting.Handler(mux))))
	return a, nil
}

// staff lets only staff on to next.
func (a *app) staff(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !staff[a.own.From(r).Principal()] {
			http.Error(w, "Only staff may do that.", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

var pages = template.Must(template.New("").Parse(`{{define "home"}}<!doctype html><title>Shop</title>
{{if .Customer}}<p role="alert">You act for {{.Customer}}.</p>
<form method="post" action="/act/end"><button>End</button></form>{{end}}
{{if .User}}<p>Logged in as {{.User}}</p>
<form method="post" action="/confirm"><input name="password" type="password"><button>Confirm</button></form>
<form method="post" action="/sell"><button>Become a seller</button></form>
{{if .Staff}}<form method="post"><input name="user"><button formaction="/act">Act for</button>
<button formaction="/revoke">Log out</button></form>
<p><a href="/audit">The audit log</a></p>{{end}}
<form method="post" action="/logout"><button>Log out</button></form>
{{else}}<form method="post" action="/login"><input name="user"><input name="password" type="password">
<button>Log in</button></form>{{end}}
{{end}}{{define "audit"}}<!doctype html><title>Audit log</title>
<form><input name="user" value="{{.User}}" aria-label="User"><button>Show</button></form><table>
<tr><th>Time<th>Event<th>Reason<th>User<th>By<th>Session<th>Device<th>Address<th>User-Agent<th>More</tr>
{{range .Entries}}<tr><td>{{.Time.Format "2006-01-02 15:04:05"}}<td>{{.Event}}<td>{{.Reason}}<td>{{.Principal}}
<td>{{.By}}<td>{{.Handle}}<td>{{.Label}}<td>{{.Address}}
<td>{{.UserAgent}}<td>{{if .More}}{{.More}}{{end}}</tr>
{{end}}</table>{{end}}`))

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	user := a.own.From(r).Principal()
	w.Header().Set("Cache-Control", "no-store")
	pages.ExecuteTemplate(w, "home", map[string]any{"User": user, "Customer": a.customer(r), "Staff": staff[user]})
}

// customer returns for whom the request acts. That counts only with the session that began it: examples/actas has all
// rules.
func (a *app) customer(r *http.Request) string {
	acting := a.acting.From(r)
	if by, _ := actor.Get(acting); acting.Principal() == "" || by != a.own.From(r).Info().Handle {
		return ""
	}
	return acting.Principal()
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	password, exists := users[user]
	if !exists || r.FormValue("password") != password {
		if !exists {
			user = ""
		}
		a.audit.failedLogin(r.Context(), user)
		http.Error(w, "Name or password is wrong.", http.StatusForbidden)
		return
	}
	label := devices.Label(r)
	if known, err := a.audit.known(r.Context(), user, label); err == nil && !known {
		a.notify(user, label, address(r))
	}
	a.acting.From(r).Logout()
	s := a.own.From(r)
	s.LoginWith(user, session.Auth{Methods: []string{"pwd"}, Level: 1})
	s.SetLabel(label)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.acting.From(r).Logout()
	a.own.From(r).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// confirm authenticates the user again.
func (a *app) confirm(w http.ResponseWriter, r *http.Request) {
	s := a.own.From(r)
	if user := s.Principal(); user == "" || r.FormValue("password") != users[user] {
		a.audit.failedLogin(r.Context(), user)
		http.Error(w, "The password is wrong.", http.StatusForbidden)
		return
	}
	s.Elevate(session.Auth{Methods: []string{"pwd"}, Level: 1, Until: time.Now().Add(15 * time.Minute)})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// sell stands for all that gives a session more rights, and so a new ID.
func (a *app) sell(w http.ResponseWriter, r *http.Request) {
	a.own.From(r).Renew()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) act(w http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	if _, exists := users[user]; !exists || staff[user] {
		http.Error(w, "Staff may act only for customers.", http.StatusForbidden)
		return
	}
	s := a.acting.From(r)
	s.LoginWith(user, session.Auth{}) // nobody has authenticated the customer
	actor.Set(s, a.own.From(r).Info().Handle)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) end(w http.ResponseWriter, r *http.Request) {
	a.acting.From(r).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// revoke ends all sessions of a user. The context says who does it. That of the request alone has the acting session,
// since that Handler is the inner one.
func (a *app) revoke(w http.ResponseWriter, r *http.Request) {
	n, err := a.own.RevokeAll(session.NewContext(r.Context(), a.own.From(r)), r.FormValue("user"))
	if err != nil {
		a.own.Error(w, r, err)
		return
	}
	fmt.Fprintf(w, "%d sessions ended.\n", n)
}

func (a *app) log(w http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	list, err := a.audit.entries(r.Context(), user, 200)
	if err != nil {
		slog.ErrorContext(r.Context(), "audit: read the table", "error", err)
		http.Error(w, "The audit log can't be read at the moment.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	pages.ExecuteTemplate(w, "audit", map[string]any{"User": user, "Entries": list})
}
