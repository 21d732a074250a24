// Command flask-migration shows a team's way from Flask to Go: one host, a Flask application with the home page and the
// login, a Go application that has taken over /account, and one session for both.
//
//	python3 -m pip install flask flask-login
//	go run ./examples/flask-migration
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

//go:embed app.py
var flaskApp string

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	python := flag.String("python", "python3", "`interpreter` that has Flask and Flask-Login")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *python); err != nil {
		log.Fatal("flask-migration: ", err)
	}
}

func run(ctx context.Context, addr, python string) error {
	key := os.Getenv("SECRET_KEY")
	if key == "" {
		key = session.NewSecretKey() // both sides get it; logins end with this process
	}
	backend, stopFlask, err := startFlask(python, key)
	if err != nil {
		return err
	}
	defer stopFlask()
	sessions, err := session.New(session.Config{
		SecretKey:    key,
		CookieCodec:  flask.Cookie,
		Cookie:       session.Cookie{Name: "session"},
		InsecureHTTP: true, // this example has no TLS
	})
	if err != nil {
		return err
	}
	defer sessions.Close()

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("can't listen: %w; choose another address with -addr", err)
	}
	fmt.Fprintf(os.Stderr, "flask-migration: open http://%s/\n", listener.Addr())
	server := &http.Server{Handler: http.NewCrossOriginProtection().Handler(routes(sessions, backend)),
		ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// routes sends to Go what has moved, and the rest to Flask.
func routes(sessions *session.Manager, backend *url.URL) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /account", sessions.Handler(http.HandlerFunc(account)))
	mux.Handle("POST /account/logout", sessions.Handler(http.HandlerFunc(logout)))
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(backend)
		r.Out.Host = r.In.Host
	}})
	return mux
}

const visits = session.Key[int]("visits")

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Go</title>
<h1>This page is Go's</h1>
{{range .Flashes}}<p>{{.Message}}</p>{{end}}
<p>Logged in as {{.User}}. You have been here {{.Visits}} times.</p>
<p><a href="/">The home page</a> is still Flask's.</p>
<form method="post" action="/account/logout"><button>Log out in Go</button></form></html>`))

func account(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if s.Principal() == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	var body strings.Builder
	err := page.Execute(&body, map[string]any{
		"User":    s.Principal(),
		"Flashes": s.Flashes(),
		"Visits":  visits.Update(s, func(n int) int { return n + 1 }),
	})
	if err != nil {
		http.Error(w, "The page can't be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, body.String())
}

func logout(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	s.Logout()
	s.Flash("Go says goodbye.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// startFlask runs the Flask application, and returns where it listens and what ends it.
func startFlask(python, key string) (backend *url.URL, stop func(), err error) {
	cmd := exec.Command(python, "-c", flaskApp)
	cmd.Env = append(os.Environ(), "SECRET_KEY="+key)
	var trouble strings.Builder
	cmd.Stderr = &trouble
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("can't start the Flask application: %w", err)
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cmd.Wait()
		return nil, nil, fmt.Errorf("the Flask application ended: %s\nit needs: %s -m pip install flask flask-login",
			trouble.String(), python)
	}
	backend, err = url.Parse("http://127.0.0.1:" + strings.TrimSpace(port))
	if err != nil {
		stop()
		return nil, nil, err
	}
	return backend, stop, nil
}
