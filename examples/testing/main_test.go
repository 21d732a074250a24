package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

func post(path, body string) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// A request that comes with a session: Request saves what fill does, and puts the cookie into the request.
func TestGreetsByName(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
		s.Login("ann")
		cart.Set(s, []string{"tea"})
	})
	w := httptest.NewRecorder()
	newApp(m, nil).ServeHTTP(w, r)
	if got, want := w.Body.String(), "Hello ann. 1 things in your cart."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What an answer's cookie holds: Read loads the session that it names.
func TestAddKeepsTheThing(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	w := httptest.NewRecorder()
	newApp(m, nil).ServeHTTP(w, post("/cart", "thing=tea"))
	s := sessiontest.Read(t, m, w.Result())
	if got := cart.Or(s, nil); len(got) != 1 || got[0] != "tea" {
		t.Errorf("got cart %q, want tea", got)
	}
	if got := s.Flashes(); len(got) != 1 || got[0].Message != "It is in your cart." {
		t.Errorf("got flashes %v, want one", got)
	}
}

// A handler alone, without Handler and cookies: NewContext gives it a session that the test made.
func TestGreetAlone(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Login("ann")
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	greet(w, r.WithContext(session.NewContext(r.Context(), s)))
	if got := w.Body.String(); !strings.HasPrefix(got, "Hello ann.") {
		t.Errorf("got %q, want a greeting", got)
	}
}

// An outage: nothing is ordered, and the client is told to come back.
func TestNoOrderInAnOutage(t *testing.T) {
	t.Parallel()
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = store })
	r := sessiontest.Request(t, m, post("/order", ""), func(s *session.Session) {
		s.Login("ann")
		cart.Set(s, []string{"tea"})
	})
	store.Fail(errors.New("down"))
	w := httptest.NewRecorder()
	newApp(m, func([]string) { t.Error("something was ordered") }).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d, Retry-After %q, want 503 with one", w.Code, w.Header().Get("Retry-After"))
	}
}

// Requests at the same time: of ten orders of one cart there is one.
func TestDoubleClickOrdersOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := sessiontest.New(t)
		var orders atomic.Int32
		app := newApp(m, func([]string) {
			orders.Add(1)
			time.Sleep(time.Second) // in a bubble this lets all others come as far as they can
		})
		r := sessiontest.Request(t, m, post("/order", ""), func(s *session.Session) {
			s.Login("ann")
			cart.Set(s, []string{"tea"})
		})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { app.ServeHTTP(httptest.NewRecorder(), r.Clone(t.Context())) })
		}
		all.Wait()
		if got := orders.Load(); got != 1 {
			t.Errorf("got %d orders, want 1", got)
		}
	})
}

// Time: within a bubble of testing/synctest a day passes at once, and so do timeouts.
func TestIdleSessionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reasons []session.Reason
		m := sessiontest.New(t, func(c *session.Config) {
			c.IdleTimeout = 8 * time.Hour
			c.OnEvent = func(_ context.Context, e session.Event) { reasons = append(reasons, e.Reason) }
		})
		r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
			s.Login("ann")
		})
		reasons = nil
		time.Sleep(9 * time.Hour)
		w := httptest.NewRecorder()
		newApp(m, nil).ServeHTTP(w, r)
		if got := w.Body.String(); strings.Contains(got, "ann") {
			t.Errorf("got %q, want nobody's name", got)
		}
		if len(reasons) != 1 {
			t.Errorf("got reasons %q, want one", reasons)
		}
	})
}
