package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
)

// Asking doesn't prolong the session, staying does.
func TestCountdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := sessiontest.New(t, func(c *session.Config) { c.IdleTimeout = 2 * time.Minute })
		app := newApp(m)
		r := sessiontest.Request(t, m, httptest.NewRequestWithContext(t.Context(), "GET", "/left", nil),
			func(s *session.Session) { s.Login("ann") })
		do := func(method, path string) *httptest.ResponseRecorder {
			t.Helper()
			w := httptest.NewRecorder()
			request := httptest.NewRequestWithContext(t.Context(), method, path, nil)
			request.Header = r.Header
			app.ServeHTTP(w, request)
			return w
		}
		wants := func(want string) {
			t.Helper()
			if got := strings.TrimSpace(do("GET", "/left").Body.String()); got != `{"left":`+want+`}` {
				t.Errorf("got %s, want %s seconds", got, want)
			}
		}
		wants("120")
		time.Sleep(100 * time.Second)
		wants("20")
		do("POST", "/stay")
		wants("120")
		for range 11 {
			time.Sleep(10 * time.Second)
			do("GET", "/left")
		}
		wants("10")
		time.Sleep(10 * time.Second)
		wants("0")
		if w := do("POST", "/stay"); w.Code != http.StatusNoContent {
			t.Errorf("staying too late: got %d", w.Code)
		}
		wants("0")
	})
}
