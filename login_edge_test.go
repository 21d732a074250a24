package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
)

// TestSaveOfALoginAfterALostTake: a Take that found the session ended does not make a failure of the login beside it.
func TestSaveOfALoginAfterALostTake(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	code := session.Key[string]("code")
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { code.Set(s, "x") })
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		other, err := m.Load(r.Context(), r.Cookies()[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		other.Login("bob")
		if err := other.Save(r.Context()); err != nil {
			t.Fatal(err)
		}
		s.Login("bob")
		if _, _, err := code.Take(r.Context(), s); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Take: got %v, want ErrEnded", err)
		}
		if err := s.Save(r.Context()); err != nil || s.Principal() != "bob" {
			t.Errorf("Save: got %v and principal %q, want nil and bob", err, s.Principal())
		}
		if n, err := s.RevokeOthers(r.Context()); n != 1 || err != nil {
			t.Errorf("RevokeOthers: got %d, %v, want the other session ended", n, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

// TestLabelAfterLoginOverAnother: nothing of the principal before is left, in lists either.
func TestLabelAfterLoginOverAnother(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Login("bob"); s.SetLabel("Firefox") })
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Login("ann")
		if i := s.Info(); i.Label != "" || !i.CreatedAt.IsZero() {
			t.Errorf("got label %q, created %v after Login, want none: they are bob's", i.Label, i.CreatedAt)
		}
		s.SetLabel("Firefox")
	})).ServeHTTP(httptest.NewRecorder(), r)
	for i, err := range m.Sessions(t.Context(), "ann") {
		if err != nil || i.Label != "Firefox" {
			t.Errorf("got label %q, %v, want what SetLabel said", i.Label, err)
		}
	}
}

// crossing runs a request whose anonymous session a parallel login took over, after its own save followed that login;
// then does f with both.
func crossing(t *testing.T, f func(s, parallel *session.Session)) (m *session.Manager, parallel *session.Session) {
	t.Helper()
	m = sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Set("cart", "book") })
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		var err error
		if parallel, err = m.Load(r.Context(), r.Cookies()[0].Value); err != nil {
			t.Fatal(err)
		}
		parallel.Login("ann")
		if err := parallel.Save(r.Context()); err != nil {
			t.Fatal(err)
		}
		s.Set("seen", true)
		if err := s.Save(r.Context()); err != nil {
			t.Fatal(err)
		}
		f(s, parallel)
	})).ServeHTTP(httptest.NewRecorder(), r)
	return m, parallel
}

// TestLoginBesideAParallelLogin: two logins of one anonymous session make two sessions, also when a save came between.
func TestLoginBesideAParallelLogin(t *testing.T) {
	t.Parallel()
	m, parallel := crossing(t, func(s, _ *session.Session) { s.Login("ann") })
	anns, err := m.Load(t.Context(), parallel.Token())
	if err != nil {
		t.Fatalf("the session of the parallel login: %v", err)
	}
	if v, _ := anns.Get("cart"); v != "book" {
		t.Errorf("got cart %v, want book", v)
	}
}

// TestTakeAfterAParallelLogin: the value went with the login; taking it from the old view would make two winners.
func TestTakeAfterAParallelLogin(t *testing.T) {
	t.Parallel()
	cart := session.Key[string]("cart")
	crossing(t, func(s, parallel *session.Session) {
		if _, ok, err := cart.Take(t.Context(), s); ok || !errors.Is(err, session.ErrEnded) {
			t.Errorf("from the old view: got %v, %v; want false, ErrEnded", ok, err)
		}
		if err := parallel.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := cart.Take(t.Context(), parallel); !ok || v != "book" || err != nil {
			t.Errorf("in the login's session: got %q, %v, %v; want book", v, ok, err)
		}
	})
}
