package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hipflask/session"
)

func TestLogoutHandler(t *testing.T) {
	t.Parallel()
	m := server(t)
	h := m.Handler(session.LogoutHandler("/bye", "cache", "storage"))
	for _, c := range []struct {
		method, site, origin string
		status               int
	}{
		{"POST", "", "", 303},
		{"POST", "same-origin", "", 303},
		{"POST", "same-site", "https://other.shop.test", 303},
		{"POST", "none", "", 303},
		{"POST", "", "https://shop.test", 303},
		{"POST", "cross-site", "", 403},
		{"POST", "", "https://evil.test", 403},
		{"GET", "same-origin", "", 405},
	} {
		v := newVisitor(t)
		v.do(m, func(s *session.Session) { s.Login("ann") })
		r := httptest.NewRequest(c.method, "https://shop.test/logout", nil)
		r.AddCookie(v.copy().cookie)
		for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Origin": c.origin} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		check(t, c.method+" "+c.site+c.origin, w.Code, c.status)
		want := nothing
		if c.status != http.StatusSeeOther {
			want = "ann: []"
		} else {
			check(t, "Location", w.Header().Get("Location"), "/bye")
			check(t, "Clear-Site-Data", w.Header().Get("Clear-Site-Data"), `"cache", "storage"`)
		}
		check(t, "afterwards", v.sees(m), want)
	}
}

// A logout that is not stored is no logout: the redirect must not say so.
func TestLogoutHandlerInAnOutage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	b.store.fail(down("replace"), nil)
	r := httptest.NewRequest("POST", "https://shop.test/logout", nil)
	r.Header.Set("Cookie", cookie)
	w := httptest.NewRecorder()
	b.Handler(session.LogoutHandler("/")).ServeHTTP(w, r)
	check(t, "status", w.Code, http.StatusServiceUnavailable)
	check(t, "Location", w.Header().Get("Location"), "")
}
