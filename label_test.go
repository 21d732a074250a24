package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// Events name the session by its label too, so that an audit log can say which device it was.
func TestEventsHaveTheLabel(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *session.Config) { c.Store, c.MaxSessions = memstore.New(nil), 1 })
	cookie := ""
	do := func(f func(s *session.Session)) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), "POST", "https://example.com/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(b.From(r)) })).ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			cookie = c.Name + "=" + c.Value
		}
	}
	login := func() {
		cookie = ""
		do(func(s *session.Session) {
			s.Login("ann")
			s.SetLabel("phone")
		})
	}
	login()
	do((*session.Session).Renew)
	do(func(s *session.Session) { s.Elevate(session.Auth{Until: time.Now().Add(time.Minute)}) })
	login() // which is one too many, so the first one ends
	if n, err := b.RevokeAll(t.Context(), "ann"); n != 1 || err != nil {
		t.Fatalf("RevokeAll: got %d, %v", n, err)
	}
	do(func(*session.Session) {}) // rejected
	login()
	do((*session.Session).Logout)

	want := map[session.EventKind]int{
		session.EventLogin: 3, session.EventRenewed: 1, session.EventElevated: 1, session.EventRevoked: 2,
		session.EventLogout: 1,
	}
	for _, e := range b.events.events {
		if want[e.Kind]--; e.Label != "phone" && e.Kind != session.EventRejected {
			t.Errorf("%s %s: got label %q", e.Kind, e.Reason, e.Label)
		}
	}
	for kind, n := range want {
		if n != 0 && kind != session.EventRejected {
			t.Errorf("%s: %d events too few", kind, n)
		}
	}
}
