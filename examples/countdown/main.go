// Command countdown shows how much time is left until the user is logged out, without prolonging the session: the page
// asks every few seconds by Peek, which is no activity. A click on "Stay" is.
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./examples/countdown
package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
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
		SecretKey:    os.Getenv("SECRET_KEY"),
		InsecureHTTP: true, // it listens on 127.0.0.1
		IdleTimeout:  2 * time.Minute,
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

func newApp(sessions *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	})
	mux.HandleFunc("GET /left", left)
	mux.HandleFunc("POST /stay", func(w http.ResponseWriter, r *http.Request) {
		session.From(r) // to look at the session is activity
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Login("ann")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.Handle("POST /logout", session.LogoutHandler("/", "cache"))
	return http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
}

// left answers how many seconds the session has left; 0: nobody is logged in.
func left(w http.ResponseWriter, r *http.Request) {
	seconds := 0
	if i, ok := session.Peek(r); ok && i.Principal != "" {
		seconds = max(int(time.Until(i.ExpiresAt)/time.Second), 0)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(map[string]int{"left": seconds})
}

const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Countdown</title>
<p role="timer" id="left"></p>
<button id="stay">Stay</button>
<form method="post" action="/logout"><button>Log out</button></form>
<form method="post" action="/login"><button>Log in</button></form>
<script>
async function look() {
  const {left} = await (await fetch("/left")).json();
  document.getElementById("left").textContent = left
    ? "You will be logged out in " + left + " seconds." : "You are logged out.";
}
document.getElementById("stay").onclick = async () => { await fetch("/stay", {method: "POST"}); look(); };
setInterval(look, 5000);
look();
</script></html>
`
