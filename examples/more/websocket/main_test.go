package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// pipes is a listener whose connections are in memory, so that a server can run in a bubble of testing/synctest, where
// a minute passes at once.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.conns <- server
	return client, nil
}

// serve returns a browser that visits h.
func serve(t *testing.T, h http.Handler) *http.Client {
	t.Helper()
	p := pipes{make(chan net.Conn), make(chan struct{})}
	srv := &http.Server{Handler: h}
	go srv.Serve(p)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: p.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
	})
	return &http.Client{Transport: transport, Jar: jar}
}

func post(t *testing.T, c *http.Client, path string) {
	t.Helper()
	res, err := c.Post("http://app.example"+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %d, %v, want 200", path, res.StatusCode, err)
	}
}

func dial(t *testing.T, c *http.Client) *websocket.Conn {
	t.Helper()
	socket, _, err := websocket.Dial(t.Context(), "http://app.example/chat", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.CloseNow() })
	return socket
}

func say(t *testing.T, socket *websocket.Conn, text, want string) {
	t.Helper()
	if err := socket.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := socket.Read(t.Context()); string(got) != want || err != nil {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// ended waits for the server to close the socket, and returns how it did that and when.
func ended(t *testing.T, socket *websocket.Conn) (websocket.StatusCode, time.Duration) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
	defer cancel()
	_, text, err := socket.Read(ctx)
	if err == nil {
		t.Fatalf("got %q, want the end", text)
	}
	return websocket.CloseStatus(err), time.Since(began)
}

func TestSocketEndsWithinAMinuteOfLogout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, newApp(t.Context(), new(sync.WaitGroup), sessiontest.New(t)))
		if _, res, err := websocket.Dial(t.Context(), "http://app.example/chat",
			&websocket.DialOptions{HTTPClient: c}); err == nil || res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("before the login: got %v, want 401", err)
		}
		post(t, c, "/login")
		first, second := dial(t, c), dial(t, c)
		for n := 1; n < 5; n++ {
			say(t, first, "hello", fmt.Sprintf("ann, message %d: hello", n))
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Minute)
		say(t, second, "hello", "ann, message 5: hello") // what the first one said is stored, and read again
		post(t, c, "/logout")
		for _, socket := range []*websocket.Conn{first, second} {
			status, after := ended(t, socket)
			if status != websocket.StatusPolicyViolation || after > time.Minute {
				t.Errorf("got status %v after %v, want %v within a minute", status,
					after, websocket.StatusPolicyViolation)
			}
		}
	})
}

// In an outage nobody can say whether the visitor is still logged in.
func TestSocketEndsInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &sessiontest.FailStore{Store: memstore.New(nil)}
		c := serve(t, newApp(t.Context(), new(sync.WaitGroup),
			sessiontest.New(t, func(c *session.Config) { c.Store = store })))
		post(t, c, "/login")
		socket := dial(t, c)
		store.Fail(errors.New("down"))
		if status, after := ended(t, socket); status != websocket.StatusTryAgainLater || after > time.Minute {
			t.Errorf("got status %v after %v, want %v within a minute", status, after, websocket.StatusTryAgainLater)
		}
	})
}

// An open page alone does not keep a visitor logged in.
func TestSilentSocketEndsWithIdleTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, newApp(t.Context(), new(sync.WaitGroup),
			sessiontest.New(t, func(c *session.Config) { c.IdleTimeout = time.Hour })))
		post(t, c, "/login")
		socket := dial(t, c)
		say(t, socket, "hello", "ann, message 1: hello")
		if status, after := ended(t, socket); status != websocket.StatusPolicyViolation || after > 2*time.Hour {
			t.Errorf("got status %v after %v, want %v within two hours", status, after, websocket.StatusPolicyViolation)
		}
	})
}
