package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/sessiontest"
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

func open(t *testing.T, c *http.Client) (*http.Response, *bufio.Scanner) {
	t.Helper()
	res, err := c.Get("http://app.example/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res, bufio.NewScanner(res.Body)
}

func next(t *testing.T, lines *bufio.Scanner) (event, data string) {
	t.Helper()
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch name {
		case "event":
			event = strings.TrimSpace(value)
		case "data":
			data = strings.TrimSpace(value)
		case "":
			return event, data
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return "", ""
}

func TestEventsEndWithinAMinuteOfLogout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, newApp(t.Context(), sessiontest.New(t)))
		if res, _ := open(t, c); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("before the login: got %d, want 401", res.StatusCode)
		}
		post(t, c, "/login")
		_, lines := open(t, c)
		for n := 1; n <= 100; n++ { // over several looks at the session
			if event, data := next(t, lines); event != "tick" || data != fmt.Sprint(n) {
				t.Fatalf("got event %q %q, want tick %d", event, data, n)
			}
		}
		post(t, c, "/logout")
		began := time.Now()
		for event := ""; event != "logout"; event, _ = next(t, lines) {
			if d := time.Since(began); d > time.Minute {
				t.Fatalf("%v after the logout the stream goes on, want a minute at most", d)
			}
		}
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("after the last event: got %q, %v, want the end", lines.Text(), lines.Err())
		}
	})
}

func TestCountOutlivesStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, newApp(t.Context(), sessiontest.New(t)))
		post(t, c, "/login")
		res, lines := open(t, c)
		for range 7 {
			next(t, lines)
		}
		res.Body.Close()
		time.Sleep(time.Second) // of fake time, for the handler to return: its save may pause
		_, lines = open(t, c)
		if _, data := next(t, lines); data != "8" {
			t.Errorf("after a reload: got %s events, want 8", data)
		}
	})
}
