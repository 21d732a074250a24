// Command websocket keeps a chat open for as long as its visitor is logged in.
//
//	SECRET_KEY=$(openssl rand -hex 32) go run ./websocket
//
// A socket is one request that lasts. Its session was read when it began: Reload notices a logout elsewhere, and Save
// stores what changes meanwhile. A session that needs a new cookie has to get it before the socket: here, by the login.
//
// http.Server.Shutdown knows nothing of sockets, so the program itself ends them, and waits until what they changed is
// stored.
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
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"

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
	var sockets sync.WaitGroup
	server := &http.Server{Handler: newApp(ctx, &sockets, sessions)}
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
	server.Shutdown(context.Background()) // requests in flight finish,
	sockets.Wait()                        // and sockets, then the sessions are closed
}

const (
	look   = 30 * time.Second // between looks at the session; half of the minute that a logout may take
	unsent = 10 * time.Second // how long one message may take
)

// said is how many messages this visitor sent, over all sockets.
const said = session.Key[int]("said")

// newApp returns the application. The end of ctx ends its sockets.
func newApp(ctx context.Context, sockets *sync.WaitGroup, sessions *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("POST /logout", logout)
	mux.HandleFunc("GET /chat", func(w http.ResponseWriter, r *http.Request) { chat(w, r, ctx.Done()) })
	h := http.NewCrossOriginProtection().Handler(sessions.Handler(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sockets.Add(1) // around everything: a session is stored after its handler has returned
		defer sockets.Done()
		h.ServeHTTP(w, r)
	})
}

func home(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if session.From(r).Principal() == "" {
		fmt.Fprint(w,
			`<!doctype html><title>Chat</title><form method="post" action="/login"><button>Log in</button></form>`)
		return
	}
	fmt.Fprint(w, `<!doctype html><title>Chat</title>
<form id="say"><input name="text"><button>Say</button></form>
<form method="post" action="/logout"><button>Log out</button></form><pre id="log"></pre>
<script>
const socket = new WebSocket("/chat"), log = text => document.getElementById("log").textContent += text + "\n"
socket.onmessage = e => log(e.data)
socket.onclose = e => log(e.reason || "closed")
document.getElementById("say").onsubmit = e => { e.preventDefault(); socket.send(e.target.text.value) }
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

// chat says everything back. Accept refuses sockets of other sites' pages, which bring the cookie along.
func chat(w http.ResponseWriter, r *http.Request, stopping <-chan struct{}) {
	s := session.From(r)
	if s.Principal() == "" {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context())) // the request's own ends with the upgrade
	defer cancel()

	messages := make(chan string)
	go func() {
		defer cancel()
		for {
			_, text, err := c.Read(ctx)
			if err != nil {
				return
			}
			select {
			case messages <- string(text):
			case <-ctx.Done():
				return
			}
		}
	}()
	changed := false
	looks := time.NewTicker(look)
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done(): // what is not saved yet will be, when this returns
			return
		case <-stopping:
			c.Close(websocket.StatusGoingAway, "the server stops")
			return
		case text := <-messages:
			n := said.Update(s, func(n int) int { return n + 1 })
			changed = true
			if write(ctx, c, fmt.Sprintf("%s, message %d: %s", s.Principal(), n, text)) != nil {
				return
			}
		case <-looks.C:
			err := s.Reload(ctx)
			if err == nil && changed {
				// Save counts as activity: a socket that is merely open must not outlive the idle timeout.
				err, changed = s.Save(ctx), false
			}
			if errors.Is(err, session.ErrEnded) {
				c.Close(websocket.StatusPolicyViolation, "logged out")
				return
			}
			if err != nil {
				c.Close(websocket.StatusTryAgainLater, "try again later")
				return
			}
		}
	}
}

func write(ctx context.Context, c *websocket.Conn, text string) error {
	ctx, cancel := context.WithTimeout(ctx, unsent)
	defer cancel()
	return c.Write(ctx, websocket.MessageText, []byte(text))
}
