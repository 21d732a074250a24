package layouttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
)

func readsWhatFlaskWrote(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"_permanent": true, "_user_id": "ann", "_flashes": []any{flask.Tuple{"info", "hi"}},
		"n": 5, "f": 2.0})
	cookie, res := h.visit(sid, func(s *session.Session) {
		n, _ := s.Get("n")
		f, _ := s.Get("f")
		flashes := s.Flashes()
		if s.Principal() != "ann" || n != int64(5) || f != 2.0 || len(flashes) != 1 ||
			flashes[0] != (session.FlashMessage{Category: "info", Message: "hi"}) {
			t.Errorf("got principal %q, n %v, f %v, flashes %v", s.Principal(), n, f, flashes)
		}
		if !h.Timeless && time.Until(s.Info().ExpiresAt).Round(time.Minute) != lifetime {
			t.Errorf("got expiry in %v, want %v", time.Until(s.Info().ExpiresAt), lifetime)
		}
	})
	if cookie != sid || res.Header.Get("Set-Cookie") != "" {
		t.Error("the answer sets a cookie")
	}
	h.wants(sid, map[string]any{"_permanent": true, "_user_id": "ann", "n": int64(5), "f": 2.0})
}

func writesWhatChanged(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"a": "1", "b": []any{int64(1), 2.0, true, nil}})
	h.visit(sid, func(s *session.Session) { s.Set("c", "3"); s.Delete("a"); s.Flash("hi") })
	got := h.stored(sid)
	if fmt.Sprintf("%v %v %v", got["b"], got["c"], got["a"]) != "[1 2 true <nil>] 3 <nil>" ||
		fmt.Sprint(got["_flashes"]) != "[[message hi]]" {
		t.Errorf("got %v", got)
	}
}

// flaskDeletes: the "a Go request that overlaps a Flask logout never brings the session back".
func flaskDeletes(t *testing.T, h *host) {
	for name, change := range map[string]func(*session.Session){
		"Set":    func(s *session.Session) { s.Set("late", 1) },
		"Update": func(s *session.Session) { session.Key[int]("n").Update(s, func(n int) int { return n + 1 }) },
		"Renew":  func(s *session.Session) { s.Renew() },
		"Logout": func(s *session.Session) { s.Logout() },
		"Take": func(s *session.Session) {
			if _, won, err := session.Key[string]("code").Take(t.Context(), s); won ||
				!errors.Is(err, session.ErrEnded) {
				t.Errorf("Take of a deleted session: %v, %v", won, err)
			}
		},
	} {
		sid := newID(t)
		h.write(sid, map[string]any{"_permanent": true, "_user_id": "ann", "code": "once"})
		cookie, _ := h.visit(sid, func(s *session.Session) {
			h.Delete(sid)
			change(s)
		})
		if got := h.stored(sid); got != nil {
			t.Errorf("%s brought the session back: %v", name, got)
		}
		if cookie != sid && cookie != "" {
			t.Errorf("%s: the answer carries another session", name)
		}
		h.visit(sid, func(s *session.Session) {
			if s.Principal() != "" || s.Len() != 0 {
				t.Errorf("%s: the session is there again", name)
			}
		})
	}
	// A touch must not do it either.
	sid := newID(t)
	h.Set(sid, h.encode(map[string]any{"a": "1"}), lifetime/2)
	h.visit(sid, func(s *session.Session) { h.Delete(sid) })
	h.wants(sid, nil)
}

func flaskChanges(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"a": "1"})
	h.visit(sid, func(s *session.Session) {
		h.write(sid, map[string]any{"a": "1", "flask": "2"})
		s.Set("go", "3")
	})
	h.wants(sid, map[string]any{"a": "1", "flask": "2", "go": "3"})
}

// flaskLogsOut: logout_user takes the user's keys away and keeps the session.
func flaskLogsOut(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"_user_id": "ann", "cart": "tea"})
	h.visit(sid, func(s *session.Session) {
		h.write(sid, map[string]any{"cart": "tea"})
		s.Set("secret", "of ann")
	})
	h.wants(sid, map[string]any{"cart": "tea"})
}

func flaskLogsIn(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"cart": "tea"})
	h.visit(sid, func(s *session.Session) {
		h.write(sid, map[string]any{"cart": "tea", "_user_id": "ann"})
		s.Set("more", "milk")
	})
	h.wants(sid, map[string]any{"cart": "tea", "_user_id": "ann", "more": "milk"})
}

func logout(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"_user_id": "ann"})
	var cookie string
	h.visit(sid, func(late *session.Session) {
		var res *http.Response
		if cookie, res = h.visit(sid, func(s *session.Session) { s.Logout() }); cookie != "" ||
			res.Header.Get("Set-Cookie") == "" {
			t.Error("a logout does not delete the cookie")
		}
		h.wants(sid, nil)
		late.Set("late", 1)
	})
	h.wants(sid, nil)

	// A Flask process that was busy writes back what it read. Go knows better, and removes it.
	h.write(sid, map[string]any{"_user_id": "ann"})
	h.visit(sid, func(s *session.Session) {
		if s.Principal() != "" {
			t.Error("what a Flask process wrote after the logout is a login again")
		}
	})
	if !h.Leaves {
		h.wants(sid, nil)
	}
}

func login(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"cart": "tea"})
	var cookie string
	h.visit(sid, func(late *session.Session) {
		cookie, _ = h.visit(sid, func(s *session.Session) { s.Login("ann") })
		late.Set("late", "kept")
	})
	if cookie == sid {
		t.Error("a login keeps the ID")
	}
	h.wants(sid, nil)
	h.wants(cookie, map[string]any{"_fresh": true, "_user_id": "ann", "cart": "tea", "late": "kept"})
	h.visit(cookie, func(s *session.Session) {
		if s.Principal() != "ann" {
			t.Errorf("got principal %q, want ann", s.Principal())
		}
	})
	// Somebody else: nothing is taken over.
	cookie, _ = h.visit(cookie, func(s *session.Session) { s.Login("bob") })
	h.wants(cookie, map[string]any{"_fresh": true, "_user_id": "bob"})
}

// between calls write once, before the first tombstone is stored.
type between struct {
	store.Store
	once  sync.Once
	write func()
}

func (b *between) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if rec.Kind != store.Live {
		b.once.Do(b.write)
	}
	return b.Store.Replace(ctx, rec, version)
}

// loginWhileFlaskWrites: what Flask writes between the two steps of a login goes along to the new ID.
func loginWhileFlaskWrites(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"cart": "tea"})
	b := h.Backend
	b.Store = &between{Store: h.Store, write: func() { h.write(sid, map[string]any{"cart": "milk"}) }}
	h.manager = newManager(t, b, 0)
	cookie, _ := h.visit(sid, func(s *session.Session) { s.Login("ann") })
	h.wants(sid, nil)
	h.wants(cookie, map[string]any{"_fresh": true, "_user_id": "ann", "cart": "milk"})
}

// savesTwice: a request goes on from what it has written itself.
func savesTwice(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"a": "1"})
	s, err := h.manager.Load(t.Context(), sid)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		session.Key[int]("n").Update(s, func(n int) int { return n + 1 })
		if err := s.Save(t.Context()); err != nil {
			t.Fatalf("save %d: %v", i+1, err)
		}
	}
	h.wants(sid, map[string]any{"a": "1", "n": int64(3)})
}

func renew(t *testing.T, h *host) {
	sid := newID(t)
	h.write(sid, map[string]any{"_user_id": "ann", "n": 1})
	var cookie string
	h.visit(sid, func(late *session.Session) {
		cookie, _ = h.visit(sid, func(s *session.Session) { s.Renew() })
		session.Key[int]("n").Update(late, func(n int) int { return n + 1 })
	})
	h.wants(sid, nil)
	h.wants(cookie, map[string]any{"_user_id": "ann", "n": int64(2)})
	// A request that comes late with the old cookie finds the session, and gets no cookie.
	after, _ := h.visit(sid, func(s *session.Session) { s.Set("late", true) })
	if after != sid {
		t.Error("a late request got another cookie")
	}
	h.wants(cookie, map[string]any{"_user_id": "ann", "late": true, "n": int64(2)})
}

// refresh: a request that only looks moves the time left, and nothing else.
func refresh(t *testing.T, h *host) {
	sid := newID(t)
	document := h.encode(map[string]any{"a": "1"})
	h.Set(sid, document, lifetime/2)
	h.visit(sid, func(s *session.Session) { s.Get("a") })
	got, left, ok := h.Get(sid)
	if !ok || string(got) != string(document) {
		t.Errorf("a request that only looks changed the document: %q", got)
	}
	if !h.Timeless && left < lifetime-time.Minute {
		t.Errorf("got %v left, want %v", left, lifetime)
	}
}

// shortened: the layout keeps no time but the end, so a session has the Lifetime of now from its next request on.
func shortened(t *testing.T, h *host) {
	sid := newID(t)
	h.Set(sid, h.encode(map[string]any{"a": "1"}), 20*lifetime)
	if cookie, _ := h.visit(sid, func(s *session.Session) { s.Get("a") }); cookie != sid {
		t.Errorf("got cookie %q, want none", cookie)
	}
	if _, left, ok := h.Get(sid); !ok || !h.Timeless && left.Round(time.Minute) != lifetime {
		t.Errorf("got %v left, want %v", left, lifetime)
	}
}

func permanent(t *testing.T, h *host) {
	for _, persistent := range []bool{true, false} {
		cookie, res := h.visit("", func(s *session.Session) { s.Set("a", "1"); s.SetPersistent(persistent) })
		if c := res.Cookies(); len(c) != 1 || (c[0].MaxAge > 0) != persistent {
			t.Errorf("persistent %v: got cookies %v", persistent, c)
		}
		want := map[string]any{"a": "1"}
		if persistent {
			want["_permanent"] = true
		}
		h.wants(cookie, want)
		if _, left, _ := h.Get(cookie); !h.Timeless && left.Round(time.Minute) != lifetime {
			t.Errorf("persistent %v: got %v left, want %v", persistent, left, lifetime)
		}
	}
}

func expiry(t *testing.T, h *host) {
	h.manager = newManager(t, h.Backend, 2*time.Second)
	cookie, _ := h.visit("", func(s *session.Session) { s.Set("a", "1") })
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, _, ok := h.Get(cookie); !ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the session does not expire for Flask")
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.visit(cookie, func(s *session.Session) {
		if s.Len() != 0 {
			t.Error("the session has expired for Flask, not for Go")
		}
	})
}

// unreadable: what Go can't read may be readable for Flask, so it stays.
func unreadable(t *testing.T, h *host) {
	sid := newID(t)
	document := []byte("\x80\x04\x8c\x04shop\x8c\x04Cart\x93)R.")
	h.Set(sid, document, lifetime)
	h.visit(sid, func(s *session.Session) {
		if s.Len() != 0 || s.Principal() != "" {
			t.Error("an unreadable session has values")
		}
	})
	if got, _, ok := h.Get(sid); !ok || string(got) != string(document) {
		t.Error("an unreadable session was removed")
	}
}

// overlapping: P1 between Go requests, where writers choose no versions.
func overlapping(t *testing.T, h *host) {
	const requests = 8
	sid := newID(t)
	h.write(sid, map[string]any{"_user_id": "ann", "code": "once"})
	var ready, done sync.WaitGroup
	ready.Add(requests)
	var mu sync.Mutex
	won := 0
	for i := range requests {
		m := newManager(t, h.Backend, 0) // as so many servers
		done.Go(func() {
			s, err := m.Load(context.WithoutCancel(t.Context()), sid)
			ready.Done()
			if err != nil {
				t.Error(err)
				return
			}
			ready.Wait()
			session.Key[int]("n").Update(s, func(n int) int { return n + 1 })
			s.Set(fmt.Sprint("key", i), i)
			if err := s.Save(t.Context()); err != nil {
				t.Error(err)
			}
			_, ok, err := session.Key[string]("code").Take(t.Context(), s)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				won++
			}
		})
	}
	done.Wait()
	got := h.stored(sid)
	if got["n"] != int64(requests) || len(got) != requests+2 || won != 1 {
		t.Errorf("of %d overlapping requests: got n %v, %d values, %d that took the code; want %d, %d, 1",
			requests, got["n"], len(got), won, requests, requests+2)
	}
}

// unknownID: no session is made under an ID that a client chose.
func unknownID(t *testing.T, h *host) {
	sid := newID(t)
	cookie, _ := h.visit(sid, func(s *session.Session) { s.Set("a", "1") })
	if cookie == sid {
		t.Error("an ID that the server did not issue was adopted")
	}
	h.wants(sid, nil)
	h.wants(cookie, map[string]any{"a": "1"})
	h.visit(strings.Repeat("x", 15)+" ", func(s *session.Session) {})
}

func nothingForNothing(t *testing.T, h *host) {
	cookie, res := h.visit("", func(s *session.Session) { s.Get("a") })
	if cookie != "" || res.Header.Get("Set-Cookie") != "" {
		t.Error("an empty session was stored")
	}
	sid := newID(t)
	document := h.encode(map[string]any{"a": "1"})
	h.Set(sid, document, lifetime)
	_, before, _ := h.Get(sid)
	h.visit(sid, func(s *session.Session) { s.Set("a", "1") })
	if got, after, _ := h.Get(sid); string(got) != string(document) || !h.Timeless && after > before+time.Second {
		t.Error("a request that changed nothing wrote")
	}
}
