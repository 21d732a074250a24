package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// The promises of the documentation, P4 to P10, as far as they need no store of their own; those that do are in package
// storetest and hold for every store.

// deeds are what a handler may do with its session.
var deeds = map[string]func(s *session.Session){
	"only reads": read,
	"Set":        func(s *session.Session) { s.Set("a", 2) },
	"Update":     func(s *session.Session) { total.Update(s, plus(1)) },
	"Flash":      func(s *session.Session) { s.Flash("hello") },
	"Clear":      (*session.Session).Clear,
	"Login":      func(s *session.Session) { s.Login("ben") },
	"Renew":      (*session.Session).Renew,
	"Logout":     (*session.Session).Logout,
	"remember":   func(s *session.Session) { s.SetPersistent(true) },
	"label":      func(s *session.Session) { s.SetLabel("x") },
}

// P4: in an outage the client gets 503 with Retry-After, its cookie stays, nothing of the handler's answer is sent, and
// afterwards the session is as before.
func TestP4Outage(t *testing.T) {
	t.Parallel()
	for name, deed := range deeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			fail := &sessiontest.FailStore{Store: memstore.New(nil)}
			m := server(t, func(c *session.Config) { c.Store, c.OnEvent = fail, events.add })
			c := newVisitor(t)
			c.do(m, func(s *session.Session) { s.Login("ann"); s.Set("a", 1) })
			before := c.sees(m)
			events.took()

			answer := func(outage func(s *session.Session), kinds ...string) {
				t.Helper()
				v := c.start(m, func(v *visit, s *session.Session) {
					v.out.Header().Set("X-Secret", "of the handler")
					outage(s)
					fmt.Fprint(v.out, "secret answer of the handler")
				})
				res := v.finish()
				fail.Fail(nil)
				check(t, "status", res.StatusCode, http.StatusServiceUnavailable)
				check(t, "Retry-After", soon(res.Header), "soon")
				check(t, "Cache-Control", res.Header.Get("Cache-Control"), "no-store")
				silent(t, "answer", res)
				if text := body(t, res); strings.Contains(text, "secret") || res.Header.Get("X-Secret") != "" {
					t.Errorf("got %q and %v, want nothing of the handler", text, res.Header)
				}
				got := events.took()
				if !slices.ContainsFunc(kinds, func(k string) bool { return slices.Equal(got, []string{k}) }) {
					t.Errorf("got events %q, want one of %q", got, kinds)
				}
				c.want([]*session.Manager{m}, "after the outage", before)
			}

			fail.Fail(errDown)
			answer(func(s *session.Session) {
				check(t, "contents when the load failed", contents(s), nothing)
				is(t, "Err", s.Err(), session.ErrUnavailable)
				deed(s)
				check(t, "contents after a change", contents(s), nothing)
			}, "unavailable")
			if name == "only reads" {
				return
			}
			answer(func(s *session.Session) {
				deed(s)
				fail.Fail(errDown)
			}, "unavailable", "uncertain")
		})
	}
}

// P4: Preload keeps a handler from running at all, and Open leaves the answer to it: either a session or an error.
func TestP4PreloadAndOpen(t *testing.T) {
	t.Parallel()
	fail := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := server(t, func(c *session.Config) { c.Store = fail })
	c := newVisitor(t)
	c.do(m, fill)
	fail.Fail(errDown)
	w := httptest.NewRecorder()
	m.Handler(m.Preload(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("Preload let the handler run")
	}))).ServeHTTP(w, c.request())
	check(t, "Preload: status", w.Code, http.StatusServiceUnavailable)

	w = httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := session.Open(r)
		check(t, "Open: a session", s == nil, true)
		is(t, "Open", err, session.ErrUnavailable)
		w.WriteHeader(http.StatusTeapot)
	})).ServeHTTP(w, c.request())
	check(t, "Open: status", w.Code, http.StatusTeapot)
	silent(t, "Open", w.Result())

	fail.Fail(nil)
	ran := false
	w = httptest.NewRecorder()
	m.Handler(m.Preload(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ran = true
		s, err := session.Open(r)
		check(t, "Open after Preload", contents(s)+fmt.Sprint(err), ": [a=1]<nil>")
	}))).ServeHTTP(w, c.request())
	check(t, "Preload ran the handler", ran, true)
}

// P5: a client that hangs up in the middle, however the answer begins then, does not cancel the save.
func TestP5HangingUp(t *testing.T) {
	t.Parallel()
	for name, begin := range firstBytes {
		ms, c := servers(t, 2), newVisitor(t)
		c.do(ms[0], func(s *session.Session) { s.Set("a", 1) })
		ctx, hangUp := context.WithCancel(t.Context())
		ms[0].Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			s.Set("a", 2)
			s.Login("ann")
			hangUp()
			begin(w, r)
			s.Set("after", 1)
			if name != "nothing" {
				check(t, name+": the store after the first byte", contents(load(t, ms[1], s.Token())), "ann: [a=2]")
			}
			c.cookie = &http.Cookie{Name: "session", Value: s.Token()}
		})).ServeHTTP(&plainWriter{httptest.NewRecorder()}, c.request().WithContext(ctx))
		c.want(ms, name, "ann: [a=2 after=1]")
	}
}

// plainWriter can do what net/http's writer can, except for being hijacked.
type plainWriter struct{ *httptest.ResponseRecorder }

// P6: a request costs what it uses (cost_test.go has the common kinds).
func TestP6RareRequests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do     func(s *session.Session)
		stored string // the store's calls of a visitor with a session; one without costs nothing
	}{
		"deleted":              {func(s *session.Session) { s.Set("list", 1); s.Delete("list") }, "load replace"},
		"the same label":       {func(s *session.Session) { s.SetLabel("") }, "load"},
		"a label alone":        {func(s *session.Session) { s.SetLabel("new") }, "load replace"},
		"persistence as it is": {func(s *session.Session) { s.SetPersistent(false) }, "load"},
		"persistence alone":    {func(s *session.Session) { s.SetPersistent(true) }, "load create replace"},
		"set and cleared":      {func(s *session.Session) { s.Set("x", 1); s.Clear() }, "load replace"},
		"flashed and read":     {func(s *session.Session) { s.Flash("x"); s.Flashes() }, "load"},
		"updated and deleted":  {func(s *session.Session) { total.Update(s, plus(1)); total.Delete(s) }, "load"},
		"renewed":              {(*session.Session).Renew, "load create replace"},
		"in and out":           {func(s *session.Session) { s.Login("ann"); s.Logout() }, "load replace"},
		"saved twice": {func(s *session.Session) {
			s.Save(context.Background())
			s.Save(context.Background())
		}, "load"},
		"reloaded": {func(s *session.Session) { s.Reload(context.Background()) }, "load load"},
	} {
		b := newBench(t)
		handler := func(_ http.ResponseWriter, r *http.Request) { test.do(session.From(r)) }
		silent(t, name+", without a session", b.get(t, "", handler))
		equal(t, name+", without a session", b.store.took(), nil)
		cookie := b.cookie(t, func(s *session.Session) { s.Set("a", 1); s.Set("list", []int{1, 2}) })
		b.get(t, cookie, handler)
		check(t, name, strings.Join(b.store.took(), " "), test.stored)
	}
}

// P6: who doesn't ask for the session costs nothing, whatever the cookie; who asks in many places costs one load.
func TestP6OneLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, fill)
	for name, sent := range map[string]string{"no": "", "a valid": cookie, "a forged": cookie + "x"} {
		res := b.get(t, sent, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "static") })
		equal(t, name+" cookie: store", b.store.took(), nil)
		equal(t, name+" cookie: Vary", res.Header["Vary"], nil)
		silent(t, name+" cookie", res)
	}
	b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
		done := make(chan *session.Session)
		for range 8 {
			go func() { done <- session.From(r) }()
		}
		for range 8 {
			check(t, "the session", <-done == b.From(r), true)
		}
		session.Open(r)
		session.FromContext(r.Context())
	})
	equal(t, "many goroutines", b.store.took(), []string{"load"})
}

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
		{"an anonymous visitor's empty session", false, with(func(s *session.Session) {
			s.Get("a")
			s.Len()
			s.Flashes()
			s.Clear()
		}), "", false},
		{"an empty session with a label", false, with(func(s *session.Session) { s.SetLabel("Firefox") }), "", false},
		{"an empty session that is to persist", false, with(func(s *session.Session) { s.SetPersistent(true) }),
			"", false},
		{"set and taken back", false, with(func(s *session.Session) { s.Set("a", 1); s.Delete("a") }), "", false},
		{"a read", true, with(func(s *session.Session) { s.Get("color"); s.Principal(); s.Info() }), "load", false},
		{"two reads", true, func(_ http.ResponseWriter, r *http.Request) {
			session.From(r).Get("a")
			session.From(r).Get("b")
		}, "load", false},
		{"the same value", true, with(func(s *session.Session) { s.Set("color", "green") }), "load", false},
		{"an Update that changes nothing", true, with(func(s *session.Session) {
			count.Update(s, func(n int) int { return n })
		}), "load", false},
		{"a removal of nothing", true, with(func(s *session.Session) { s.Delete("nothing"); s.Pop("nothing") }),
			"load", false},
		{"changed and changed back", true, with(func(s *session.Session) {
			s.Set("color", "red")
			s.Set("color", "green")
		}), "load", false},
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

// Only an action makes a session (ASVS 5.0, 7.6.2): a page that reads stores nothing and sends no cookie, however often
// it is requested.
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
