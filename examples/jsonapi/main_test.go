package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
)

type client struct {
	t     *testing.T
	api   http.Handler
	token string
}

func newClient(t *testing.T) *client {
	m := sessiontest.New(t, func(c *session.Config) { c.BearerToken, c.InsecureHTTP = true, false })
	return &client{t: t, api: newApp(m)}
}

// answer is what all of the API's answers can hold.
type answer struct {
	status int
	Token  string
	Notes  []string
}

func (c *client) do(method, path string, body io.Reader) answer {
	c.t.Helper()
	r := httptest.NewRequest(method, path, body)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, r)
	if w.Header()["Set-Cookie"] != nil {
		c.t.Error("an API with bearer tokens sets a cookie")
	}
	a := answer{status: w.Code}
	if w.Code != http.StatusNoContent {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			c.t.Fatal(err)
		}
	}
	return a
}

func (c *client) login() {
	c.t.Helper()
	a := c.do("POST", "/login", strings.NewReader(`{"user":"ann","password":"correct horse"}`))
	if a.status != http.StatusOK || a.Token == "" {
		c.t.Fatalf("login: got %d and a token of %d bytes", a.status, len(a.Token))
	}
	c.token = a.Token
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	if a := c.do("GET", "/notes", nil); a.status != http.StatusUnauthorized {
		t.Errorf("without a token: got %d, want 401", a.status)
	}
	if a := c.do("POST", "/login", strings.NewReader(`{"user":"ann","password":"wrong"}`)); a.status !=
		http.StatusUnauthorized {
		t.Errorf("wrong password: got %d, want 401", a.status)
	}
	if a := c.do("POST", "/login", strings.NewReader(`{`)); a.status != http.StatusBadRequest {
		t.Errorf("broken JSON: got %d, want 400", a.status)
	}
	c.login()
	if a := c.do("POST", "/notes", strings.NewReader(`{"text":"milk"}`)); len(a.Notes) != 1 {
		t.Errorf("got notes %q, want milk", a.Notes)
	}
	if a := c.do("GET", "/notes", nil); a.status != http.StatusOK || len(a.Notes) != 1 {
		t.Errorf("got %d, notes %q, want milk", a.status, a.Notes)
	}
	old := c.token
	if a := c.do("POST", "/logout", nil); a.status != http.StatusNoContent {
		t.Errorf("logout: got %d, want 204", a.status)
	}
	for _, token := range []string{old, strings.Repeat("x", len(old)), "x"} {
		c.token = token
		if a := c.do("GET", "/notes", nil); a.status != http.StatusUnauthorized {
			t.Errorf("a token that is no good: got %d, want 401", a.status)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestParallelNotesAreAllKept(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.login()
	const n = 20
	var all, arrived sync.WaitGroup
	arrived.Add(n)
	for i := range n {
		all.Go(func() {
			// The handler has its session when it reads the body: now no request has seen another's note.
			body := readerFunc(func([]byte) (int, error) {
				arrived.Done()
				arrived.Wait()
				return 0, io.EOF
			})
			c.do("POST", "/notes", io.MultiReader(body, strings.NewReader(`{"text":"`+strconv.Itoa(i)+`"}`)))
		})
	}
	all.Wait()
	if got := len(c.do("GET", "/notes", nil).Notes); got != n {
		t.Errorf("got %d notes, want %d", got, n)
	}
}

func TestCookieIsNoToken(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.login()
	r := httptest.NewRequest("GET", "/notes", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: c.token})
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("the token in a cookie: got %d, want 401", w.Code)
	}
}
