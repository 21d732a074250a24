package session_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

// TestNothingForNothing is P6: what each kind of request costs in calls of the store, and that only a new ID or an end
// sends a cookie.
func TestNothingForNothing(t *testing.T) {
	t.Parallel()
	count := session.Key[int]("count")
	with := func(f func(s *session.Session)) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { f(session.From(r)) }
	}
	for _, c := range []struct {
		what    string
		cookie  bool
		handler http.HandlerFunc
		calls   string
		sets    bool
	}{
		{"untouched, no cookie", false, func(http.ResponseWriter, *http.Request) {}, "", false},
		{"untouched, with a session", true, func(http.ResponseWriter, *http.Request) {}, "", false},
		{"an anonymous visitor's empty session", false, with(func(s *session.Session) { s.Get("a"); s.Len(); s.Flashes(); s.Clear() }), "", false},
		{"an empty session with a label", false, with(func(s *session.Session) { s.SetLabel("Firefox") }), "", false},
		{"an empty session that is to persist", false, with(func(s *session.Session) { s.SetPersistent(true) }), "", false},
		{"set and taken back", false, with(func(s *session.Session) { s.Set("a", 1); s.Delete("a") }), "", false},
		{"a read", true, with(func(s *session.Session) { s.Get("color"); s.Principal(); s.Info() }), "load", false},
		{"two reads", true, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Get("a"); session.From(r).Get("b") }, "load", false},
		{"the same value", true, with(func(s *session.Session) { s.Set("color", "green") }), "load", false},
		{"an Update that changes nothing", true, with(func(s *session.Session) { count.Update(s, func(n int) int { return n }) }), "load", false},
		{"a removal of nothing", true, with(func(s *session.Session) { s.Delete("nothing"); s.Pop("nothing") }), "load", false},
		{"changed and changed back", true, with(func(s *session.Session) { s.Set("color", "red"); s.Set("color", "green") }), "load", false},
		{"a change", true, with(func(s *session.Session) { s.Set("color", "red") }), "load replace", false},
		{"many changes", true, with(func(s *session.Session) {
			for _, k := range "abcdef" {
				s.Set(string(k), 1)
			}
			s.Flash("x")
		}), "load replace", false},
		{"a first change", false, with(func(s *session.Session) { s.Set("a", 1) }), "create", true},
		{"a first login", false, with(func(s *session.Session) { s.Login("ann") }), "create", true},
		{"a login", true, with(func(s *session.Session) { s.Login("ann") }), "load create replace", true},
		{"a logout", true, with(func(s *session.Session) { s.Logout() }), "load replace", true},
	} {
		b := newBench(t)
		cookie := ""
		if c.cookie {
			cookie = b.cookie(t, func(s *session.Session) { s.Set("color", "green"); count.Set(s, 1) })
		}
		res := b.get(t, cookie, c.handler)
		if got := strings.ToLower(strings.Join(b.store.took(), " ")); got != c.calls {
			t.Errorf("%s: got calls %q, want %q", c.what, got, c.calls)
		}
		if got := len(res.Cookies()) > 0; got != c.sets {
			t.Errorf("%s: got a cookie %v, want %v", c.what, got, c.sets)
		}
	}
}

// Only an action makes a session (ASVS 5.0, 7.6.2): a page that reads stores nothing and sends no cookie, however often it is
// requested.
func TestReadingMakesNoSession(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		b := newBench(t, option)
		for range 1000 {
			res := b.get(t, "", func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				s.Get("a")
				s.Keys()
				s.Len()
				s.Principal()
				s.IsNew()
				s.Info()
				s.Flashes()
			})
			if len(res.Header["Set-Cookie"]) > 0 {
				t.Fatalf("%s: a page that only reads sets %q", kind, res.Header["Set-Cookie"])
			}
		}
		equal(t, kind+": store", b.store.took(), nil)
	}
}
