package session_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

type hardware struct {
	Name string
	Seen int
}

const (
	binding = session.Attribute[hardware]("example.com/device")
	tally   = session.Attribute[int]("example.com/tally")
	bound   = session.PublicAttribute[bool]("example.com/device")
	level   = session.PublicAttribute[int]("example.com/level")
)

func withMemory(c *session.Config) { c.Store = memstore.New(nil) }

// attributes says what a session has of them, in one text.
func attributes(s *session.Session) string {
	var b strings.Builder
	if d, ok := binding.Get(s); ok {
		b.WriteString("device " + d.Name + ";")
	}
	if n, ok := tally.Get(s); ok {
		b.WriteString("tally " + string(rune('0'+n)) + ";")
	}
	if v, ok := bound.Get(s); ok && v {
		b.WriteString("bound;")
	}
	if n, ok := level.Get(s); ok {
		b.WriteString("level " + string(rune('0'+n)) + ";")
	}
	return b.String()
}

func setAttributes(s *session.Session) {
	binding.Set(s, hardware{"laptop", 1})
	tally.Set(s, 1)
	bound.Set(s, true)
	level.Set(s, 2)
}

const allAttributes = "device laptop;tally 1;bound;level 2;"

// What an attribute survives, and what it doesn't; the application's dictionary never sees one.
func TestAttributes(t *testing.T) {
	t.Parallel()
	for kind, option := range map[string]func(*session.Config){"store": withMemory, "cookie": encrypted} {
		b := newBench(t, option)
		for _, c := range []struct {
			name string
			do   func(*session.Session)
			want string
			keys string
		}{
			{"nothing", func(*session.Session) {}, allAttributes, "color"},
			{"Clear", (*session.Session).Clear, allAttributes, ""},
			{"Clear before and after", func(s *session.Session) {
				tally.Delete(s)
				s.Clear()
			}, "device laptop;bound;level 2;", ""},
			{"Renew", (*session.Session).Renew, allAttributes, "color"},
			{"SetPersistent", func(s *session.Session) { s.SetPersistent(true) }, allAttributes, "color"},
			{"Set", func(s *session.Session) { s.Set("more", 1); s.Delete("color") }, allAttributes, "more"},
			{"Delete", func(s *session.Session) { binding.Delete(s); bound.Delete(s) }, "tally 1;level 2;", "color"},
			{"Update", func(s *session.Session) {
				tally.Update(s, func(n int) int { return n + 1 })
				level.Update(s, func(n int) int { return n + 1 })
			}, "device laptop;tally 2;bound;level 3;", "color"},
			{"Login", func(s *session.Session) { s.Login("ann") }, "", "color"},
			{"Login as somebody else", func(s *session.Session) {
				s.Login("ann")
				s.Save(t.Context())
				setAttributes(s)
				s.Save(t.Context())
				s.Login("bob")
			}, "", ""},
			{"Login again", func(s *session.Session) {
				s.Login("ann")
				s.Save(t.Context())
				setAttributes(s)
				s.Save(t.Context())
				s.Login("ann")
			}, "", "color"},
			{"Login, then Set", func(s *session.Session) { s.Login("ann"); tally.Set(s, 7) }, "tally 7;", "color"},
			{"Set, then Login", func(s *session.Session) { tally.Set(s, 7); s.Login("ann") }, "", "color"},
			{"Login, then Update", func(s *session.Session) {
				s.Login("ann")
				tally.Update(s, func(n int) int { return n + 1 })
			}, "tally 1;", "color"},
			{"Logout", (*session.Session).Logout, "", ""},
			{"Logout, then Set", func(s *session.Session) { s.Logout(); tally.Set(s, 5) }, "tally 5;", ""},
		} {
			cookie := b.cookie(t, func(s *session.Session) { setPlain(s); setAttributes(s) })
			res := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				if got := strings.Join(s.Keys(), " "); got != "color" || s.Len() != 1 {
					t.Errorf("%s: got the keys %q before, want color alone", kind, got)
				}
				c.do(s)
			})
			for _, n := range res.Cookies() {
				cookie = n.Name + "=" + n.Value
			}
			b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				if got := attributes(s); got != c.want {
					t.Errorf("%s, after %s: got %q, want %q", kind, c.name, got, c.want)
				}
				if got := strings.Join(s.Keys(), " "); got != c.keys {
					t.Errorf("%s, after %s: got the keys %q, want %q", kind, c.name, got, c.keys)
				}
			})
		}
	}
}

// A session that has nothing but an attribute is stored, and one that has lost its last is kept as long as its store
// keeps an empty one.
func TestAttributeAlone(t *testing.T) {
	t.Parallel()
	for kind, option := range map[string]func(*session.Config){"store": withMemory, "cookie": encrypted} {
		b := newBench(t, option)
		for what, set := range map[string]func(*session.Session){
			"an attribute":       func(s *session.Session) { tally.Set(s, 3) },
			"a public attribute": func(s *session.Session) { level.Set(s, 3) },
		} {
			cookie := b.cookie(t, set)
			b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
				if got := attributes(session.From(r)); !strings.HasSuffix(got, " 3;") {
					t.Errorf("%s, %s: got %q, want it", kind, what, got)
				}
			})
		}
	}
}

// Attributes merge by name, and Update is atomic: overlapping requests lose nothing.
func TestAttributesMerge(t *testing.T) {
	t.Parallel()
	b := newBench(t, withMemory)
	cookie := b.cookie(t, setPlain)
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			res := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				tally.Update(s, func(n int) int { return n + 1 })
				level.Update(s, func(n int) int { return n + 1 })
				session.Attribute[int]("own"+string(rune('a'+i))).Set(s, i)
				s.Set("own"+string(rune('a'+i)), i)
				if i%4 == 0 {
					s.Clear()
				}
			})
			check(t, "status", res.StatusCode, http.StatusOK)
		})
	}
	wg.Wait()
	s, err := b.Load(t.Context(), value(cookie))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := tally.Get(s); got != n {
		t.Errorf("got the attribute %d, want %d", got, n)
	}
	if got, _ := level.Get(s); got != n {
		t.Errorf("got the public attribute %d, want %d", got, n)
	}
	for i := range n {
		if got, ok := session.Attribute[int]("own" + string(rune('a'+i))).Get(s); !ok || got != i {
			t.Errorf("attribute of request %d: got %d, %v, want it", i, got, ok)
		}
	}
}

// Lists of sessions show public attributes, and nothing of the others.
func TestPublicAttributeOf(t *testing.T) {
	t.Parallel()
	b := newBench(t, withMemory)
	b.cookie(t, func(s *session.Session) { s.Login("ann"); setAttributes(s) })
	seen := 0
	for i, err := range b.Sessions(t.Context(), "ann") {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if n, ok := level.Of(i); !ok || n != 2 {
			t.Errorf("got level %d, %v, want 2", n, ok)
		}
		if v, ok := bound.Of(i); !ok || !v {
			t.Errorf("got bound %v, %v, want true", v, ok)
		}
		if _, ok := session.PublicAttribute[int]("example.com/tally").Of(i); ok {
			t.Error("got a private attribute in a list, want none")
		}
		if _, ok := session.PublicAttribute[string]("example.com/level").Of(i); ok {
			t.Error("got a number as a text, want none")
		}
	}
	check(t, "sessions", seen, 1)
	if _, ok := level.Of(session.Info{}); ok {
		t.Error("got an attribute of no session, want none")
	}
}

// Public attributes have 512 bytes together, and what is beyond that fails the request and changes nothing.
func TestPublicAttributeSize(t *testing.T) {
	t.Parallel()
	text := session.PublicAttribute[string]("t")
	const around = len(`{"t":""}`)
	for kind, option := range map[string]func(*session.Config){"store": withMemory, "cookie": encrypted} {
		b := newBench(t, option)
		for size, want := range map[int]int{store.MaxPublic: http.StatusOK,
			store.MaxPublic + 1: http.StatusInternalServerError} {
			cookie := b.cookie(t, setPlain)
			res := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
				text.Set(session.From(r), strings.Repeat("x", size-around))
			})
			check(t, kind+": status", res.StatusCode, want)
		}
		s := mustLoad(t, b, value(b.cookie(t, setPlain)))
		text.Set(s, strings.Repeat("x", 600))
		if err := s.Save(t.Context()); !errors.Is(err, session.ErrTooLarge) || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: got %v, want ErrTooLarge without the value", kind, err)
		}
	}
}

// A layout that is shared with Flask has no place for attributes: Set says so, and the request fails.
func TestAttributesInFlask(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*session.Session){
		"Set":           func(s *session.Session) { tally.Set(s, 1) },
		"Update":        func(s *session.Session) { tally.Update(s, func(n int) int { return n + 1 }) },
		"public Set":    func(s *session.Session) { level.Set(s, 1) },
		"public Update": func(s *session.Session) { level.Update(s, func(n int) int { return n + 1 }) },
	} {
		b := newBench(t, func(c *session.Config) { c.Store, c.CookieCodec = nil, flask.Cookie })
		cookie := b.cookie(t, setPlain)
		var failure error
		res := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
			set(session.From(r))
			failure = session.From(r).Err()
		})
		if failure == nil || !strings.Contains(failure.Error(), "example.com/") {
			t.Errorf("%s: got %v, want an error that names the attribute", name, failure)
		}
		check(t, name+": status", res.StatusCode, http.StatusInternalServerError)
		b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
			if got := attributes(session.From(r)); got != "" || session.From(r).Len() != 1 {
				t.Errorf("%s: got %q, want the session before", name, got)
			}
		})
	}
}

// What an attribute can't hold, and names that are its own.
func TestAttributeRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, withMemory)
	for name, do := range map[string]func(*session.Session){
		"a channel":                 func(s *session.Session) { session.Attribute[chan int]("c").Set(s, nil) },
		"a name that is no UTF-8":   func(s *session.Session) { session.Attribute[int]("\xff").Set(s, 1) },
		"a key with a name of ours": func(s *session.Session) { s.Set("_hipflask:a:example.com/tally", 1) },
		"an Update of such a key": func(s *session.Session) {
			session.Key[int]("_hipflask:p:x").Update(s, func(n int) int { return n })
		},
	} {
		res := b.get(t, b.cookie(t, setPlain), func(_ http.ResponseWriter, r *http.Request) { do(session.From(r)) })
		check(t, name+": status", res.StatusCode, http.StatusInternalServerError)
	}
	cookie := b.cookie(t, setAttributes)
	b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if _, ok := session.Attribute[string]("example.com/tally").Get(s); ok {
			t.Error("got a number as a text, want none")
		}
		if v, ok := s.Get("_hipflask:a:example.com/tally"); ok {
			t.Errorf("got %v by a key, want an attribute out of sight", v)
		}
		if _, ok, err := session.Key[int]("_hipflask:a:example.com/tally").Take(t.Context(), s); ok || err == nil {
			t.Error("took an attribute by a key, want an error")
		}
	})
	equal(t, "events", b.events.took(), []string{"undecodable"})
}

// A change of an attribute that meets a login stays behind, and is an event.
func TestAttributeMeetsLogin(t *testing.T) {
	t.Parallel()
	b := newBench(t, withMemory)
	cookie := b.cookie(t, setPlain)
	late := mustLoad(t, b, value(cookie))
	s := mustLoad(t, b, value(cookie))
	s.Login("ann")
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.events.took()
	tally.Set(late, 5)
	late.Set("cart", 1)
	if err := late.Save(t.Context()); err != nil {
		t.Errorf("got %v, want the value to follow", err)
	}
	equal(t, "events", b.events.took(), []string{"dropped"})
	now := mustLoad(t, b, s.Token())
	if got := attributes(now); got != "" || strings.Join(now.Keys(), " ") != "cart color" {
		t.Errorf("got %q and %q, want no attribute, and both values", got, now.Keys())
	}
}
