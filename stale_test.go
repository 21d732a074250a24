package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/guard"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// frozenStore is one server's store: what it has read once it serves for ever, until it writes it itself.
type frozenStore struct {
	store.Store
	mu      sync.Mutex
	old     map[string]store.Record
	strict  int  // calls of Load
	without bool // LoadStale is not supported
	asked   int  // calls of LoadStale
}

func (f *frozenStore) Unwrap() store.Store { return f.Store }

func (f *frozenStore) Load(ctx context.Context, key string) (store.Record, error) {
	f.mu.Lock()
	f.strict++
	f.mu.Unlock()
	return f.Store.Load(ctx, key)
}

func (f *frozenStore) LoadStale(ctx context.Context, key string) (store.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.without {
		return store.Record{}, errors.ErrUnsupported
	}
	if r, ok := f.old[key]; ok {
		return r, nil
	}
	r, err := f.Store.Load(ctx, key)
	if err == nil {
		f.old[key] = r
	}
	return r, err
}

func (f *frozenStore) forget(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.old, key)
}

func (f *frozenStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	defer f.forget(r.Key)
	return f.Store.Replace(ctx, r, version)
}

func (f *frozenStore) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	defer f.forget(key)
	return f.Store.Touch(ctx, key, version, seen, expires)
}

// loads returns the calls of Load since it was last asked.
func (f *frozenStore) loads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.strict
	f.strict = 0
	return n
}

// staleness is a visitor between two servers, of which the second one has an old view of the session.
type staleness struct {
	fresh, stale *session.Manager
	store        *frozenStore
	c            *visitor
	events       eventLog // of stale
}

// newStaleness returns a visitor whose session before has filled, and the second server has read. Then during changes
// it.
func newStaleness(t *testing.T, before, during func(*session.Session), opts ...func(*session.Config)) *staleness {
	t.Helper()
	x := &staleness{c: newVisitor(t)}
	shared := memstore.New(nil)
	x.store = &frozenStore{Store: shared, old: map[string]store.Record{}}
	x.fresh = server(t, append(opts, func(c *session.Config) { c.Store = shared })...)
	x.stale = server(t, append(opts, func(c *session.Config) { c.Store, c.OnEvent = x.store, x.events.add })...)
	x.c.do(x.fresh, before)
	was := x.c.sees(x.stale)
	x.c.copy().do(x.fresh, during) // whose answer is not waited for
	if got := x.c.sees(x.stale); got != was {
		t.Fatalf("the second server sees %q at once, want %q: nothing is stale here", got, was)
	}
	x.store.loads()
	x.events.took()
	return x
}

func setting(name, value string) func(*session.Session) {
	return func(s *session.Session) { s.Set(name, value) }
}

func logIn(s *session.Session) { s.Login("ann"); s.Set("a", "1") }

func logOut(s *session.Session) { s.Logout() }

func TestPlainReadsMayBeStale(t *testing.T) {
	t.Parallel()
	x := newStaleness(t, setting("a", "1"), setting("a", "2"))
	if n := x.store.loads(); n != 0 {
		t.Errorf("got %d strict loads for From, want 0", n)
	}
	x.store.without = true
	if got := x.c.sees(x.stale); got != x.c.sees(x.fresh) || x.store.loads() != 1 {
		t.Errorf("got %q from a store without LoadStale, want a strict load", got)
	}
	x.store.asked = 0
	if x.c.sees(x.stale); x.store.asked != 0 || x.store.loads() != 1 {
		t.Errorf("got %d calls of LoadStale, which is not supported, want none", x.store.asked)
	}
}

// TestWritesOverStaleReads: whatever a request does to a session that it has an old view of, nothing is lost.
func TestWritesOverStaleReads(t *testing.T) {
	t.Parallel()
	count := session.Key[int]("count")
	add := func(s *session.Session) { count.Update(s, func(n int) int { return n + 1 }) }
	label := func(text string) func(*session.Session) {
		return func(s *session.Session) { s.Set("a", "1"); s.SetLabel(text) }
	}
	for name, test := range map[string]struct {
		before, during, stale func(*session.Session)
		want                  string
	}{
		"another key":         {setting("a", "1"), setting("b", "2"), setting("c", "3"), `: [a=1 b=2 c=3]`},
		"the same key":        {setting("a", "1"), setting("a", "2"), setting("a", "3"), `: [a=3]`},
		"the value of before": {setting("a", "1"), setting("a", "2"), setting("a", "1"), `: [a=1]`},
		"an update":           {add, add, add, `: [count=3]`},
		"a deletion": {setting("a", "1"), setting("b", "2"), func(s *session.Session) { s.Delete("b") },
			`: [a=1]`},
		"a pop": {setting("a", "1"), setting("b", "2"), func(s *session.Session) { s.Pop("b") }, `: [a=1]`},
		"a clear of nothing": {func(s *session.Session) { s.Login("ann") }, setting("b", "2"),
			func(s *session.Session) { s.Clear() }, `ann: []`},
		"a flash": {func(s *session.Session) { s.Flash("x") }, func(s *session.Session) { s.Flash("y") },
			func(s *session.Session) { s.Flash("z") }, `: [_flashes=[[message x] [message y] [message z]]]`},
		"the label of before": {label("x"), label("y"), label("x"), `: [a=1]x`},
		"a renewal": {setting("a", "1"), setting("b", "2"), func(s *session.Session) { s.Renew() },
			`: [a=1 b=2]`},
		"a login": {setting("a", "1"), setting("b", "2"), func(s *session.Session) { s.Login("ann") },
			`ann: [a=1 b=2]`},
		"a renewal elsewhere": {setting("a", "1"), func(s *session.Session) {
			s.Set("b", "2")
			s.Renew()
		}, setting("c", "3"),
			`: [a=1 b=2 c=3]`},
		"a value too large elsewhere": {setting("a", strings.Repeat("x", 900)), func(s *session.Session) {
			s.Delete("a")
		},
			setting("b", strings.Repeat("x", 200)), `: [b=` + strings.Repeat("x", 200) + `]`},
	} {
		t.Run(name, func(t *testing.T) {
			x := newStaleness(t, test.before, test.during, func(c *session.Config) { c.MaxBytes = 1000 })
			x.c.do(x.stale, test.stale)
			got := ""
			x.c.do(x.fresh, func(s *session.Session) { got = contents(s) + s.Info().Label })
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if own := x.c.sees(x.stale); own != x.c.sees(x.fresh) {
				t.Errorf("the server sees %q after its own write, want %q", own, x.c.sees(x.fresh))
			}
		})
	}
}

// serve has the second server serve a request, whose session was read before if from.
func (x *staleness) serve(from bool, inner http.Handler) *http.Response {
	w := httptest.NewRecorder()
	x.stale.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from {
			session.From(r)
		}
		inner.ServeHTTP(w, r)
	})).ServeHTTP(w, x.c.request())
	return w.Result()
}

// TestStrictReads: what can't bear an old session doesn't get one, whether From has come first or not.
func TestStrictReads(t *testing.T) {
	t.Parallel()
	for _, from := range []bool{false, true} {
		x := newStaleness(t, logIn, setting("a", "2"))
		x.serve(from, x.stale.Preload(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got, want := contents(session.From(r)), "ann: [a=2]"; got != want {
				t.Errorf("Preload, From before: %v: got %q, want %q", from, got, want)
			}
		})))
		if n := x.store.loads(); n != 1 {
			t.Errorf("Preload, From before: %v: got %d strict loads, want 1", from, n)
		}

		x = newStaleness(t, logIn, logOut)
		ran := false
		x.serve(from, x.stale.Preload(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ran = true
			if got := contents(session.From(r)); got != nothing {
				t.Errorf("Preload after Logout, From before: %v: got %q, want %q", from, got, nothing)
			}
		})))
		if !ran {
			t.Errorf("Preload after Logout, From before: %v: the handler did not run", from)
		}

		x = newStaleness(t, logIn, logOut)
		res := x.serve(from, guard.Fresh(time.Hour, "/login")(http.HandlerFunc(
			func(http.ResponseWriter, *http.Request) { t.Error("guard.Fresh let a request through after Logout") })))
		if res.StatusCode == http.StatusOK {
			t.Errorf("guard.Fresh after Logout: got status %d", res.StatusCode)
		}
	}

	x := newStaleness(t, logIn, setting("state", "xyz"))
	x.c.do(x.stale, func(s *session.Session) {
		if got, ok, err := session.Key[string]("state").Take(t.Context(), s); got != "xyz" || !ok || err != nil {
			t.Errorf("Take: got %q, %v, %v, want what another server has set", got, ok, err)
		}
	})
	x = newStaleness(t, logIn, logOut)
	x.c.do(x.stale, func(s *session.Session) {
		if got, ok, err := session.Key[string]("a").Take(t.Context(), s); ok || !errors.Is(err, session.ErrEnded) {
			t.Errorf("Take after Logout: got %q, %v, %v, want ErrEnded", got, ok, err)
		}
	})
	equal(t, "Take after Logout", x.events.took(), []string{"dropped"})

	x = newStaleness(t, logIn, logOut)
	res := x.c.try(x.stale, func(s *session.Session) {
		s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(time.Hour)})
		if got := s.Auth(); got.Level != 0 || s.Principal() != "" || !errors.Is(s.Err(), session.ErrEnded) {
			t.Errorf("Elevate after Logout: got %+v of %q, %v, want nothing and ErrEnded", got, s.Principal(), s.Err())
		}
	})
	if len(res.Cookies()) > 0 {
		t.Errorf("Elevate after Logout: got cookies %v", res.Cookies())
	}
	x = newStaleness(t, logIn, setting("a", "2"))
	x.c.do(x.stale, func(s *session.Session) {
		s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(time.Hour)})
		if got := contents(s); s.Auth().Level != 2 || got != "ann: [a=2]" {
			t.Errorf("Elevate: got %+v with %q, want level 2 with what another server has set", s.Auth(), got)
		}
	})
	x.c.want([]*session.Manager{x.fresh, x.stale}, "after Elevate", "ann: [a=2]")

	x = newStaleness(t, logIn, logOut)
	thief := x.c.copy()
	x.c.do(x.fresh, logIn)
	thief.start(x.stale, func(v *visit, s *session.Session) {
		v.out.WriteHeader(http.StatusOK) // so that RevokeOthers writes nothing itself
		if n, err := s.RevokeOthers(t.Context()); n != 0 || !errors.Is(err, session.ErrEnded) {
			t.Errorf("RevokeOthers after Logout: got %d, %v, want ErrEnded", n, err)
		}
	}).finish()
	x.c.want([]*session.Manager{x.fresh}, "after RevokeOthers by an ended session", "ann: [a=1]")
}

// TestOwnEndIsSeenAtOnce: what a server has ended itself it doesn't serve again.
func TestOwnEndIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(x *staleness){
		"Logout": func(x *staleness) { x.c.copy().do(x.stale, logOut) },
		"RevokeAll": func(x *staleness) {
			if n, err := x.stale.RevokeAll(t.Context(), "ann"); n != 1 || err != nil {
				t.Errorf("RevokeAll: got %d, %v, want 1", n, err)
			}
		},
	} {
		x := newStaleness(t, logIn, setting("a", "2"))
		end(x)
		x.c.want([]*session.Manager{x.stale, x.fresh}, "after "+name, nothing)
	}
}

// TestStaleRealm: a Manager with a Realm reads from the cache as well, and sees no more than its own.
func TestStaleRealm(t *testing.T) {
	t.Parallel()
	x := newStaleness(t, logIn, setting("a", "2"), func(c *session.Config) { c.Realm = "shop" })
	if got, want := x.c.sees(x.stale), "ann: [a=1]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAbsentUnderAStaleRead: a request that finds nothing can't tell whether its session has ended or has gone on under
// another ID, if the tombstone may have expired since its record was current.
func TestAbsentUnderAStaleRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newStaleness(t, setting("a", "1"), func(s *session.Session) { s.Renew() },
			func(c *session.Config) { c.Grace, c.StoreTimeout = 90*time.Second, time.Second })
		time.Sleep(50 * time.Second) // as old as a record may be
		v := x.c.copy().start(x.stale, func(v *visit, s *session.Session) {
			v.pause()
			s.Set("b", "2")
		})
		time.Sleep(45 * time.Second) // the tombstone has expired, though the request was shorter than Grace
		if res := v.finish(); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got status %d and events %v, want 503: nobody knows what became of the change",
				res.StatusCode, x.events.took())
		}
	})
}
