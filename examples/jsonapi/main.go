// Command jsonapi is an API whose clients are programs: they log in once, and send the token that they get with every
// request, as "Authorization: Bearer TOKEN". No cookie is read or sent.
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./examples/jsonapi
//	curl -d '{"user":"ann","password":"correct horse"}' http://127.0.0.1:8080/login
//	curl -H 'Authorization: Bearer TOKEN' -d '{"text":"milk"}' http://127.0.0.1:8080/notes
//	curl -H 'Authorization: Bearer TOKEN' -X POST http://127.0.0.1:8080/logout
package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hipflask/session"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	sessions, err := session.New(session.Config{
		SecretKey:   os.Getenv("SECRET_KEY"),
		BearerToken: true,
		IdleTimeout: 7 * 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	server := &http.Server{Handler: newApp(sessions)}
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

const notes = session.Key[[]string]("notes")

func newApp(sessions *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("POST /logout", logout)
	mux.HandleFunc("GET /notes", list)
	mux.HandleFunc("POST /notes", add)
	return sessions.Handler(mux)
}

// login answers with a token. The session is stored before the first byte of the answer leaves, so the token works.
func login(w http.ResponseWriter, r *http.Request) {
	var in struct{ User, Password string }
	if !read(w, r, &in) {
		return
	}
	if !passwordIs(in.User, in.Password) {
		refuse(w)
		return
	}
	s := session.From(r)
	s.Login(in.User)
	s.SetLabel(r.UserAgent())
	w.Header().Set("Cache-Control", "no-store")
	write(w, http.StatusOK, map[string]any{"token": s.Token()})
}

// passwordIs stands for a look into the table of users, which has slow hashes such as argon2id's.
func passwordIs(user, password string) bool {
	return user == "ann" && subtle.ConstantTimeCompare([]byte(password), []byte("correct horse")) == 1
}

func logout(w http.ResponseWriter, r *http.Request) {
	session.From(r).Logout()
	w.WriteHeader(http.StatusNoContent)
}

func list(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if s.Principal() == "" {
		refuse(w)
		return
	}
	write(w, http.StatusOK, map[string]any{"notes": notes.Or(s, []string{})})
}

// add keeps every note of requests that come at the same time.
func add(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if s.Principal() == "" {
		refuse(w)
		return
	}
	var in struct{ Text string }
	if !read(w, r, &in) {
		return
	}
	write(w, http.StatusOK, map[string]any{"notes": notes.Update(s, func(list []string) []string {
		return append(list, in.Text)
	})})
}

// refuse answers a request without a valid token, and one with a wrong password (RFC 6750, section 3).
func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	write(w, http.StatusUnauthorized, map[string]any{"error": "log in"})
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(into); err != nil {
		write(w, http.StatusBadRequest, map[string]any{"error": "not the JSON that belongs here"})
		return false
	}
	return true
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
