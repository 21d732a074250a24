// Command sse sends events to a page for as long as its visitor is logged in (Server-Sent Events).
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./examples/sse
//
// A stream is one request that lasts. Its session was read when it began: Reload notices a logout elsewhere. What
// changes meanwhile is stored when the handler returns, or at once by Save. When the server stops, it ends its streams:
// else they would hold it up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
		InsecureHTTP: true, // it listens on 127.0.0.1; behind a proxy with https, remove this
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	server := &http.Server{Handler: newApp(ctx, sessions)}
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
	second = time.Second      // between events
	look   = 30 * time.Second // between looks at the session; half of the minute that a logout may take
)

// seen is how many events this visitor got, over all pages and reloads.
const seen = session.Key[int]("seen")

// newApp returns the application. The end of ctx ends its streams.
func newApp(ctx context.Context, sessions *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("POST /logout", logout)
	mux.HandleFunc("GET /events", events(ctx.Done()))
	return http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
}

func home(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if session.From(r).Principal() == "" {
		fmt.Fprint(w,
			`<!doctype html><title>Events</title><form method="post" action="/login"><button>Log in</button></form>`)
		return
	}
	fmt.Fprint(w, `<!doctype html><title>Events</title>
<p id="n">...</p><form method="post" action="/logout"><button>Log out</button></form>
<script>
const events = new EventSource("/events")
events.addEventListener("tick", e => document.getElementById("n").textContent = e.data + " events")
events.addEventListener("logout", () => { events.close(); location.reload() })
</script>`)
}

func login(w http.ResponseWriter, r *http.Request) {
	session.From(r).Login("ann")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func logout(w http.ResponseWriter, r *http.Request) {
	session.From(r).Logout()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func events(stopping <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if s.Principal() == "" {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		flush := http.NewResponseController(w).Flush // before anything is written it sends the header, and the cookie
		ticks, looks := time.NewTicker(second), time.NewTicker(look)
		defer ticks.Stop()
		defer looks.Stop()
		for flush() == nil {
			select {
			case <-r.Context().Done(): // what has changed is stored when this returns
				return
			case <-stopping:
				return
			case <-ticks.C:
				n := seen.Update(s, func(n int) int { return n + 1 })
				fmt.Fprintf(w, "event: tick\ndata: %d\n\n", n)
			case <-looks.C:
				err := s.Reload(r.Context())
				if errors.Is(err, session.ErrEnded) {
					fmt.Fprint(w, "event: logout\ndata:\n\n")
					return
				}
				if err != nil {
					return // the page tries again in a few seconds, and gets 503 as long as the store is down
				}
			}
		}
	}
}
