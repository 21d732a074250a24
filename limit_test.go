package session_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

func atMost(n int) func(*session.Config) {
	return func(c *session.Config) { c.MaxSessions = n }
}

// stays returns who of the devices is still logged in.
func stays(m *session.Manager, devices map[string]*visitor) string {
	var names []string
	for name, d := range devices {
		if strings.HasPrefix(d.sees(m), "ann") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestMaxSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended []session.Event
		ms := servers(t, 3, atMost(2), func(c *session.Config) {
			c.OnEvent = func(_ context.Context, e session.Event) {
				if e.Kind == session.EventRevoked {
					ended = append(ended, e)
				}
			}
		})
		pause := func() { time.Sleep(time.Second) } // of the bubble
		pause()
		phone, phoneHandle := device(t, ms[0], "ann", "phone")
		pause()
		laptop, _ := device(t, ms[1], "ann", "laptop")
		pause()
		ben, _ := device(t, ms[1], "ben", "other")
		devices := map[string]*visitor{"phone": phone, "laptop": laptop, "ben": ben}
		check(t, "two", stays(ms[0], devices), "laptop phone")

		pause()
		laptop.do(ms[2], func(s *session.Session) { s.Login("ann") })
		phone.do(ms[2], (*session.Session).Renew)
		pause()
		laptop.do(ms[0], func(s *session.Session) { s.Login("ann") })
		check(t, "after logins over an own session", stays(ms[0], devices), "laptop phone")
		check(t, "revoked so far", len(ended), 0)

		pause()
		desk, _ := device(t, ms[2], "ann", "desk")
		devices["desk"] = desk
		check(t, "after a third one", stays(ms[1], devices), "desk laptop")
		check(t, "revoked then", len(ended), 1)
		check(t, "event", ended[0], session.Event{
			Kind: session.EventRevoked, Reason: session.ReasonMaxSessions, Handle: phoneHandle, Principal: "ann",
			Label: "phone",
		})
		if !strings.HasPrefix(ben.sees(ms[0]), "ben") {
			t.Error("another principal's session was ended")
		}

		// From anonymous, and from another principal.
		phone.do(ms[0], func(s *session.Session) { s.Set("basket", 1) })
		pause()
		phone.do(ms[0], func(s *session.Session) { s.Login("ann") })
		check(t, "after a login from anonymous", stays(ms[1], devices), "desk phone")
		pause()
		ben.do(ms[0], func(s *session.Session) { s.Login("ann") })
		check(t, "after a login over another principal", stays(ms[1], devices), "ben phone")
	})
}

// skewed is a store as a Manager on a server with a wrong clock uses it: what it creates has that clock's time.
type skewed struct {
	store.Store
	store.Lister
	by      time.Duration
	created sync.Map // CreatedAt by key
}

func (s *skewed) Create(ctx context.Context, r store.Record) error {
	if r.Kind == store.Live {
		r.CreatedAt = r.CreatedAt.Add(s.by)
		s.created.Store(r.Key, r.CreatedAt)
	}
	return s.Store.Create(ctx, r)
}

func (s *skewed) Replace(ctx context.Context, r store.Record, version uint64) error {
	if at, ok := s.created.Load(r.Key); ok {
		r.CreatedAt = at.(time.Time)
	}
	return s.Store.Replace(ctx, r, version)
}

// clocks returns Managers whose servers' clocks differ.
func clocks(t *testing.T, n int, on store.Store, index store.Lister,
	options ...func(*session.Config)) (ms []*session.Manager) {
	for _, by := range []time.Duration{0, 5 * time.Second, -7 * time.Second, 3 * time.Minute}[:n] {
		ms = append(ms, server(t, append(options, func(c *session.Config) {
			c.Store, c.SecretKey = &skewed{Store: on, Lister: index, by: by}, secret
		})...))
	}
	return ms
}

// A login never gives way to sessions that are older, but were made by a server whose clock is ahead.
func TestMaxSessionsClocks(t *testing.T) {
	t.Parallel()
	on := memstore.New(nil)
	ms := clocks(t, 4, on, on, atMost(1))
	devices := map[string]*visitor{}
	for i, m := range []int{3, 2, 1, 2, 0, 3, 3, 0, 2, 2, 1, 0} {
		name := fmt.Sprint(i)
		devices[name], _ = device(t, ms[m], "ann", name)
		check(t, fmt.Sprintf("login %d, server %d", i, m), stays(ms[i%4], devices), name)
	}
}

// A login whose user was authenticated long ago counts as new.
func TestMaxSessionsLoginWith(t *testing.T) {
	t.Parallel()
	m := server(t, atMost(1))
	first, _ := device(t, m, "ann", "first")
	second := newVisitor(t)
	long := time.Now().Add(-48 * time.Hour).Truncate(time.Millisecond)
	second.do(m, func(s *session.Session) { s.LoginWith("ann", session.Auth{Time: long}) })
	check(t, "alive", stays(m, map[string]*visitor{"first": first, "second": second}), "second")
	second.do(m, func(s *session.Session) { check(t, "the login's time", s.Auth().Time.Equal(long), true) })
}

func TestMaxSessionsParallel(t *testing.T) {
	t.Parallel()
	const logins, most = 50, 3
	on := memstore.New(nil)
	ms := clocks(t, 3, on, on, atMost(most))
	devices := map[string]*visitor{}
	var wg sync.WaitGroup
	var refused atomic.Int32
	for i := range logins {
		c := newVisitor(t)
		devices[fmt.Sprint(i)] = c
		wg.Go(func() {
			c.try(ms[i%3], func(s *session.Session) {
				s.Login("ann")
				if err := s.Save(t.Context()); errors.Is(err, session.ErrEnded) {
					refused.Add(1)
				} else {
					is(t, "Save", err, nil)
				}
			})
		})
	}
	wg.Wait()
	check(t, "listed", len(labels(t, ms[1].Sessions(t.Context(), "ann"))), most)
	check(t, "alive", len(strings.Fields(stays(ms[0], devices))), most)
	t.Logf("%d logins were overtaken", refused.Load())
}

// brokenIndex is a store whose listings fail.
type brokenIndex struct {
	store.Store
	store.Lister
	broken atomic.Bool
}

func (b *brokenIndex) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	if b.broken.Load() {
		return func(yield func(store.Record, error) bool) { yield(store.Record{}, errDown) }
	}
	return b.Lister.Principal(ctx, principal)
}

// If the others can't be ended, the response is 503, but has the cookie: the old ID is retired. The next login ends
// them.
func TestMaxSessionsOutage(t *testing.T) {
	t.Parallel()
	spy := newSpy()
	on := &brokenIndex{Store: spy, Lister: spy.Store.(*memstore.Store)}
	m := server(t, atMost(1), func(c *session.Config) { c.Store = on })
	first, _ := device(t, m, "ann", "first")
	second := newVisitor(t)
	devices := map[string]*visitor{"first": first, "second": second}
	login := func(c *visitor) *http.Response {
		return c.try(m, func(s *session.Session) { s.Login("ann") })
	}

	on.broken.Store(true)
	res := login(second)
	check(t, "status", res.StatusCode, http.StatusServiceUnavailable)
	check(t, "Cache-Control", res.Header.Get("Cache-Control"), "no-store")
	check(t, "cookies", len(sets(res)), 1)
	on.broken.Store(false)
	check(t, "after a listing that failed", stays(m, devices), "first second")
	check(t, "status", login(second).StatusCode, http.StatusOK)
	check(t, "after the next login", stays(m, devices), "second")

	var ends atomic.Int32
	spy.fail(func(op string) error {
		if op == "replace" && ends.Add(1) > 0 {
			return errDown
		}
		return nil
	}, nil)
	res = login(first) // a new session: nothing is replaced but the other one
	check(t, "status", res.StatusCode, http.StatusServiceUnavailable)
	spy.fail(nil, nil)
	check(t, "after an end that failed", stays(m, devices), "first second")
	check(t, "status", login(first).StatusCode, http.StatusOK)
	check(t, "after the next login", stays(m, devices), "first")
}

// Applications can't have the attributes' names that the package itself uses.
func TestMaxSessionsAttribute(t *testing.T) {
	t.Parallel()
	m := server(t)
	newVisitor(t).try(m, func(s *session.Session) {
		session.PublicAttribute[string]("limit").Set(s, "x")
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("got error %v", err)
		}
	})
}

// What has no index, or no place for what a login has to note, has no limit.
func TestMaxSessionsNeedsIndex(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]session.Config{
		"store without index": {Store: struct{ store.Store }{memstore.New(nil)}},
		"cookie":              {CookieCodec: session.EncryptedCookie},
		"negative":            {MaxSessions: -1, Store: memstore.New(nil)},
	} {
		c.SecretKey, c.MaxSessions = secret, cmp.Or(c.MaxSessions, 3)
		m, err := session.New(c)
		if err == nil {
			m.Close()
			t.Errorf("%s: got no error", name)
		} else if !strings.Contains(err.Error(), "MaxSessions") || !strings.Contains(err.Error(), "leave") {
			t.Errorf("%s: the error does not name MaxSessions and a way out: %v", name, err)
		}
	}
}

// A limit is one of its realm.
func TestMaxSessionsRealm(t *testing.T) {
	t.Parallel()
	on := memstore.New(nil)
	shared := func(c *session.Config) { c.Store = on }
	ms := servers(t, 2, atMost(1), shared)
	other := server(t, atMost(1), shared, func(c *session.Config) { c.Realm = "other" })
	devices := map[string]*visitor{}
	devices["one"], _ = device(t, ms[0], "ann", "")
	shop, _ := device(t, other, "ann", "")
	devices["two"], _ = device(t, ms[1], "ann", "")
	check(t, "stay", stays(ms[0], devices), "two")
	if !strings.HasPrefix(shop.sees(other), "ann") {
		t.Error("the session in another realm was ended")
	}
	shopAgain, _ := device(t, other, "ann", "")
	check(t, "stay in the other realm", stays(other, map[string]*visitor{"shop": shop, "again": shopAgain}), "again")
}
