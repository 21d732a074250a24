package session_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
)

// TestSaveAfterTooLate: Save speaks of what it had to store, not of what an earlier one dropped; Err remembers that.
func TestSaveAfterTooLate(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Set("a", 1) })
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		fmt.Fprint(w, "begun")
		s.Renew()
		if err := s.Save(r.Context()); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("Save of a Renew after the first byte: got %v, want ErrTooLate", err)
		}
		s.Set("n", 1)
		if err := s.Save(r.Context()); err != nil {
			t.Errorf("Save of a value: got %v, want nil", err)
		}
		if err := s.Save(r.Context()); err != nil {
			t.Errorf("Save of nothing: got %v, want nil", err)
		}
		if err := s.Err(); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("Err: got %v, want ErrTooLate", err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	s, err := m.Load(t.Context(), r.Cookies()[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := s.Get("n"); n != int64(1) {
		t.Errorf("got n=%v, want 1", n)
	}
}
