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
