package session_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// servers returns several Managers of one application: one key, one store, plain http.
func servers(t testing.TB, n int, options ...func(*session.Config)) []*session.Manager {
	t.Helper()
	shared := memstore.New(nil)
	list := make([]*session.Manager, n)
	for i := range list {
		c := session.Config{SecretKey: secret, Store: shared, InsecureHTTP: true, Logger: slog.New(slog.DiscardHandler),
			SweepInterval: -1} // a bubble's years are short, but full of minutes
		for _, o := range options {
			o(&c)
		}
		m, err := session.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		list[i] = m
	}
	return list
}

func server(t testing.TB, options ...func(*session.Config)) *session.Manager {
	t.Helper()
	return servers(t, 1, options...)[0]
}

// A visitor is a browser with one cookie, which it takes from answers.
type visitor struct {
	t      testing.TB
	mu     sync.Mutex
	cookie *http.Cookie // nil: none
}

func newVisitor(t testing.TB) *visitor { return &visitor{t: t} }

// copy is the same browser's cookie in other hands, or in a request that is already under way.
func (c *visitor) copy() *visitor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &visitor{t: c.t, cookie: c.cookie}
}

// value is the cookie's, "" without one.
func (c *visitor) value() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cookie == nil {
		return ""
	}
	return c.cookie.Value
}

// request returns one with the visitor's cookie.
func (c *visitor) request() *http.Request {
	r := httptest.NewRequestWithContext(c.t.Context(), "GET", "/", nil)
	if sent := c.copy().cookie; sent != nil {
		r.AddCookie(sent)
	}
	return r
}

// A visit is a request of a visitor, which can be held up in its handler.
type visit struct {
	c       *visitor
	r       *http.Request
	w       *httptest.ResponseRecorder
	out     http.ResponseWriter // the handler's
	entered chan struct{}
	resumed chan struct{}
	ended   chan struct{}
	enter   sync.Once
	resume  sync.Once
	thrown  any // what the Handler panicked with
}

// start sends a request with the visitor's cookie. It returns when the handler pauses or has ended.
func (c *visitor) start(m *session.Manager, handle func(v *visit, s *session.Session)) *visit {
	v := &visit{c: c, w: httptest.NewRecorder(),
		entered: make(chan struct{}), resumed: make(chan struct{}), ended: make(chan struct{})}
	r := c.request()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.r, v.out = r, w
		handle(v, session.From(r))
	}))
	go func() {
		defer close(v.ended)
		defer v.enter.Do(func() { close(v.entered) })
		defer func() { v.thrown = recover() }()
		h.ServeHTTP(v.w, r)
	}()
	<-v.entered
	return v
}

// pause is called by the handler: start returns, and the handler goes on when finish is called.
func (v *visit) pause() {
	v.enter.Do(func() { close(v.entered) })
	<-v.resumed
}

// finish lets the handler go on and gives its answer to the visitor.
func (v *visit) finish() *http.Response {
	v.resume.Do(func() { close(v.resumed) })
	<-v.ended
	res := v.w.Result()
	for _, cookie := range res.Cookies() {
		v.c.mu.Lock()
		v.c.cookie = cookie
		if cookie.MaxAge < 0 {
			v.c.cookie = nil
		}
		v.c.mu.Unlock()
	}
	return res
}

// try is a request from beginning to end.
func (c *visitor) try(m *session.Manager, handle func(s *session.Session)) *http.Response {
	c.t.Helper()
	v := c.start(m, func(_ *visit, s *session.Session) { handle(s) })
	res := v.finish()
	if v.thrown != nil {
		c.t.Errorf("got a panic: %v", v.thrown)
	}
	return res
}

// do is a request that has to work.
func (c *visitor) do(m *session.Manager, handle func(s *session.Session)) *http.Response {
	c.t.Helper()
	res := c.try(m, handle)
	if res.StatusCode != http.StatusOK {
		c.t.Errorf("got status %d, want 200: %s", res.StatusCode, body(c.t, res))
	}
	return res
}

// sees returns what a request of the visitor finds: the principal and all values.
func (c *visitor) sees(m *session.Manager) (all string) {
	c.t.Helper()
	c.copy().do(m, func(s *session.Session) { all = contents(s) })
	return all
}

// contents prints a session, such as "ann: [color=green visits=3]".
func contents(s *session.Session) string {
	values := []string{}
	for _, k := range s.Keys() {
		v, _ := s.Get(k)
		values = append(values, fmt.Sprintf("%s=%v", k, v))
	}
	return s.Principal() + ": " + fmt.Sprint(values)
}

// nothing is what contents prints of an empty session.
const nothing = ": []"

// want reports unless each server shows the visitor these contents.
func (c *visitor) want(ms []*session.Manager, what, want string) {
	c.t.Helper()
	for _, m := range ms {
		if got := c.sees(m); got != want {
			c.t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}

// overlap sends n requests that have all read the session before any goes on, and lets them go on at once.
func (c *visitor) overlap(ms []*session.Manager, n int, handle func(i int, s *session.Session)) []*http.Response {
	visits := make([]*visit, n)
	for i := range visits {
		visits[i] = c.start(ms[i%len(ms)], func(v *visit, s *session.Session) {
			v.pause()
			handle(i, s)
		})
	}
	answers := make([]*http.Response, n)
	var wg sync.WaitGroup
	for i, v := range visits {
		wg.Go(func() { answers[i] = v.finish() })
	}
	wg.Wait()
	return answers
}

// silent reports if an answer sets a cookie.
func silent(t testing.TB, what string, res *http.Response) {
	t.Helper()
	if lines := res.Header.Values("Set-Cookie"); len(lines) != 0 {
		t.Errorf("%s: got %d Set-Cookie, want none", what, len(lines))
	}
}

// is reports unless err is the wanted one.
func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func check[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// count returns how often kind is in a list of events.
func count(events []string, kind string) (n int) {
	for _, e := range events {
		if e == kind {
			n++
		}
	}
	return n
}
