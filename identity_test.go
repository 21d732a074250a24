package session_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// Token and handle are named when the ID is chosen, before anything is stored, and stay what they were.
func TestTokenIsNamedBeforeTheSave(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *session.Session){
		"first change": func(s *session.Session) { s.Set("a", 2) },
		"Login":        func(s *session.Session) { s.Login("ann") },
		"Renew":        (*session.Session).Renew,
		"persistent":   func(s *session.Session) { s.SetPersistent(true); s.Set("a", 1) },
		"again":        func(s *session.Session) { s.Logout(); s.Set("a", 3) },
	} {
		for _, exists := range []bool{false, true} {
			what := fmt.Sprintf("%s (a session before: %t)", name, exists)
			m, c := server(t), newVisitor(t)
			if exists {
				c.do(m, func(s *session.Session) { s.Set("a", 1) })
			}
			before := c.value()
			if name == "Renew" && !exists || name == "first change" && exists {
				continue
			}
			var token, handle string
			c.do(m, func(s *session.Session) {
				change(s)
				token, handle = s.Token(), s.Info().Handle
				if token == "" || handle == "" || token == before {
					t.Errorf("%s: got token %q and handle %q before the save", what, token, handle)
				}
				_, err := m.Load(t.Context(), token)
				is(t, what+": Load before the save", err, session.ErrEnded)
				is(t, what+": Save", s.Save(t.Context()), nil)
				check(t, what+": token after Save", s.Token(), token)
				check(t, what+": handle after Save", s.Info().Handle, handle)
			})
			check(t, what+": the cookie", c.value(), token)
			c.do(m, func(s *session.Session) {
				check(t, what+": token in the next request", s.Token(), token)
				check(t, what+": handle in the next request", s.Info().Handle, handle)
			})
		}
	}
}

func TestNoTokenWithoutASession(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	for name, change := range map[string]func(s *session.Session){
		"untouched":      func(*session.Session) {},
		"label":          func(s *session.Session) { s.SetLabel("x") },
		"persistent":     func(s *session.Session) { s.SetPersistent(true) },
		"renewed":        (*session.Session).Renew,
		"set and delete": func(s *session.Session) { s.Set("a", 1); s.Delete("a") },
	} {
		silent(t, name, c.do(m, func(s *session.Session) {
			change(s)
			check(t, name+": token", s.Token(), "")
			check(t, name+": handle", s.Info().Handle, "")
		}))
	}
	c.do(m, func(s *session.Session) { s.Login("ann") })
	c.do(m, func(s *session.Session) {
		s.Logout()
		check(t, "after Logout: token", s.Token(), "")
		check(t, "after Logout: handle", s.Info().Handle, "")
	})
}

// Each login has a handle of its own; Renew keeps it, as it keeps the time of creation.
func TestInfo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := server(t, func(c *session.Config) { c.IdleTimeout, c.Lifetime = time.Hour, 10*time.Hour })
		c := newVisitor(t)
		var infos []session.Info
		step := func(change func(s *session.Session)) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			c.do(m, change)
			c.copy().do(m, func(s *session.Session) { infos = append(infos, s.Info()) })
		}
		start := time.Now()
		step(func(s *session.Session) { s.Set("a", 1) })
		step((*session.Session).Renew)
		step(func(s *session.Session) { s.Login("ann"); s.SetLabel("Firefox") })
		step(func(s *session.Session) { s.Renew(); s.Set("a", 2) })
		step(func(s *session.Session) { s.Login("ann") })
		step(func(s *session.Session) { s.Login("ben") })

		same := func(i, j int) bool { return infos[i].Handle == infos[j].Handle }
		check(t, "Renew keeps the handle", same(0, 1) && same(2, 3), true)
		check(t, "Login gives a new one", same(1, 2) || same(3, 4) || same(4, 5) || same(2, 4), false)
		for i, want := range []struct {
			principal, label string
			created          int // after how many steps
		}{{"", "", 1}, {"", "", 1}, {"ann", "Firefox", 3}, {"ann", "Firefox", 3}, {"ann", "Firefox", 5}, {"ben", "", 6}} {
			what := fmt.Sprint("step ", i+1)
			check(t, what+": principal", infos[i].Principal, want.principal)
			check(t, what+": label", infos[i].Label, want.label)
			check(t, what+": created", infos[i].CreatedAt.Sub(start), time.Duration(want.created)*10*time.Minute)
			check(t, what+": last seen", infos[i].LastSeenAt.Sub(start), time.Duration(i+1)*10*time.Minute)
			check(t, what+": expires", infos[i].ExpiresAt.Sub(start), time.Duration(i+1)*10*time.Minute+time.Hour)
		}
		m.Close()
	})
}

func TestIsNew(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	isNew := func(what string, want bool) {
		t.Helper()
		c.copy().do(m, func(s *session.Session) {
			check(t, what, s.IsNew(), want)
			s.Set("x", 1)
			check(t, what+", after a change", s.IsNew(), want)
		})
	}
	isNew("no cookie", true)
	c.do(m, func(s *session.Session) { s.Login("ann") })
	isNew("logged in", false)
	old := c.copy()
	c.do(m, (*session.Session).Renew)
	isNew("renewed", false)
	renewed := c
	c = old
	isNew("renewed, the old cookie", false)
	c = renewed
	last := c.copy()
	c.do(m, (*session.Session).Logout)
	isNew("logged out", true)
	c = last
	isNew("logged out, the old cookie", true)
	c.cookie.Value = "junk"
	isNew("forged", true)
}

func TestLabels(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"Firefox on Windows":                   "Firefox on Windows",
		strings.Repeat("x", 256):               strings.Repeat("x", 256),
		strings.Repeat("x", 300):               strings.Repeat("x", 256),
		strings.Repeat("é", 200):               strings.Repeat("é", 128),
		"x" + strings.Repeat("\U0001F36A", 70): "x" + strings.Repeat("\U0001F36A", 63),
		"a\x00b":                               "a\uFFFDb",
		"a\xffb":                               "a\uFFFDb",
		strings.Repeat("\xffx", 200):           strings.Repeat("\uFFFDx", 64),
		"":                                     "",
	} {
		m, c := server(t), newVisitor(t)
		c.do(m, func(s *session.Session) {
			s.SetLabel(set)
			check(t, "label, same request", s.Info().Label, want)
			s.Login("ann")
		})
		for i, err := range m.Sessions(t.Context(), "ann") {
			is(t, "Sessions", err, nil)
			check(t, "label, in the list", i.Label, want)
			check(t, "valid", utf8.ValidString(i.Label) && len(i.Label) <= 256, true)
		}
		c.do(m, func(s *session.Session) { check(t, "label, next request", s.Info().Label, want) })
	}
}

func TestLabelsLife(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	label := func(what, want string) {
		t.Helper()
		c.copy().do(ms[1], func(s *session.Session) { check(t, what, s.Info().Label, want) })
	}
	silent(t, "a label alone", c.do(ms[0], func(s *session.Session) { s.SetLabel("one") }))
	c.do(ms[0], func(s *session.Session) { s.SetLabel("one"); s.Set("a", 1) })
	label("with a value", "one")
	c.do(ms[0], func(s *session.Session) { s.Renew() })
	label("renewed", "one")
	c.do(ms[0], func(s *session.Session) { s.SetLabel("two"); s.Login("ann") })
	label("logged in", "two")
	slow := c.start(ms[0], func(v *visit, s *session.Session) { s.SetLabel("three"); v.pause() })
	c.do(ms[1], func(s *session.Session) { s.Set("b", 1) })
	slow.finish()
	label("set by a request that met another", "three")
	c.do(ms[0], func(s *session.Session) { s.Clear() })
	label("cleared", "three")
	c.do(ms[0], func(s *session.Session) { s.SetLabel("") })
	label("taken away", "")
	c.do(ms[0], func(s *session.Session) { s.SetLabel("four") })
	c.do(ms[0], func(s *session.Session) { s.Login("ben") })
	label("another user", "")
}

// maxAge returns the Max-Age of an answer's only cookie.
func maxAge(t *testing.T, res *http.Response) time.Duration {
	t.Helper()
	cookies := res.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("got %d cookies, want 1", len(cookies))
	}
	return time.Duration(cookies[0].MaxAge) * time.Second
}

const day = 24 * time.Hour

// "Remember me": the cookie outlives the browser for as long as the session lives at most.
func TestPersistent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, c := server(t), newVisitor(t)
		check(t, "Login", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann") })), 0)
		silent(t, "SetPersistent(false), as it is", c.do(m, func(s *session.Session) { s.SetPersistent(false) }))
		session1 := c.value()

		check(t, "SetPersistent on a session", maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(true) })), 30*day)
		if c.value() == session1 {
			t.Error("SetPersistent did not renew the ID")
		}
		silent(t, "SetPersistent(true), as it is", c.do(m, func(s *session.Session) { s.SetPersistent(true) }))
		time.Sleep(10 * day)
		silent(t, "a change", c.do(m, func(s *session.Session) { s.Set("a", 1) }))
		check(t, "Renew later", maxAge(t, c.do(m, (*session.Session).Renew)), 20*day)
		check(t, "Login again", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann") })), 30*day)
		check(t, "another user", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ben") })), 0)
		check(t, "Login and remember me",
			maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann"); s.SetPersistent(true) })), 30*day)
		check(t, "remember me and Login",
			maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(true); s.Login("ann") })), 30*day)
		c.do(m, func(s *session.Session) { s.Clear(); s.Set("b", 1) })
		check(t, "Clear keeps it", maxAge(t, c.do(m, (*session.Session).Renew)), 30*day)
		check(t, "not any more", maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(false) })), 0)
		c.want([]*session.Manager{m}, "values", "ann: [b=1]")
		m.Close()
	})
}

func TestPersistentByDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := server(t, func(c *session.Config) { c.Cookie.Persistent, c.Lifetime, c.IdleTimeout = true, 500*day, time.Hour })
		c := newVisitor(t)
		check(t, "first change", maxAge(t, c.do(m, func(s *session.Session) { s.Set("a", 1) })), 400*day) // browsers' bound
		time.Sleep(300 * day)
		c.want([]*session.Manager{m}, "not used for long", ": [a=1]")
		check(t, "Renew later", maxAge(t, c.do(m, (*session.Session).Renew)), 200*day)
		check(t, "not this one", maxAge(t, c.do(m, func(s *session.Session) { s.SetPersistent(false) })), 0)
		check(t, "still not", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ann") })), 0)
		check(t, "another user", maxAge(t, c.do(m, func(s *session.Session) { s.Login("ben") })), 400*day)
		other := newVisitor(t)
		check(t, "not from the beginning",
			maxAge(t, other.do(m, func(s *session.Session) { s.SetPersistent(false); s.Set("a", 1) })), 0)
		check(t, "and after Renew", maxAge(t, other.do(m, (*session.Session).Renew)), 0)
		m.Close()
	})
}

// What a session is by default is stored: it stays when the default changes.
func TestPersistentByAFormerDefault(t *testing.T) {
	t.Parallel()
	mem, c := memstore.New(nil), newVisitor(t)
	before := server(t, func(c *session.Config) { c.Store, c.Cookie.Persistent = mem, true })
	after := server(t, func(c *session.Config) { c.Store = mem })
	c.do(before, func(s *session.Session) { s.Set("a", 1) })
	check(t, "Renew under the new default", maxAge(t, c.do(after, (*session.Session).Renew)) > 29*day, true)
}

// Whether a session is persistent is no value of the application.
func TestPersistenceIsNoValue(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) {
		s.SetPersistent(true)
		s.Set("a", 1)
		check(t, "Len", s.Len(), 1)
		check(t, "Keys", fmt.Sprint(s.Keys()), "[a]")
	})
	c.do(m, func(s *session.Session) {
		s.Clear()
		check(t, "Len after Clear", s.Len(), 0)
	})
}
