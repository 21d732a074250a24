package session_test

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

const year = 365 * day

// onStoreAndCookie runs a test in a bubble for each place where sessions are kept. start makes Managers of one
// application that differ in their settings.
func onStoreAndCookie(t *testing.T, test func(t *testing.T, start func(func(*session.Config)) *bench)) {
	t.Helper()
	for name, option := range map[string]func(*session.Config){"store": nil, "cookie": encrypted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shared := newSpy()
				test(t, func(settings func(*session.Config)) *bench {
					return newBench(t, func(c *session.Config) {
						c.Store, c.InsecureHTTP, c.SweepInterval = shared, true, -1
						if option != nil {
							option(c)
						}
						settings(c)
					})
				})
			})
		})
	}
}

// exists reports whether a Manager finds the visitor's session, without making that an activity.
func exists(t *testing.T, what string, c *visitor, b *bench, want bool) {
	t.Helper()
	_, err := b.Load(t.Context(), c.value())
	check(t, what, err == nil, want)
}

// A timeout that is shortened binds the sessions that exist, whatever they were stored with; one that is made longer
// gives them no more time than they had.
func TestShortenedTimeouts(t *testing.T) {
	t.Parallel()
	onStoreAndCookie(t, func(t *testing.T, start func(func(*session.Config)) *bench) {
		before := start(func(c *session.Config) { c.IdleTimeout, c.Lifetime = 30*day, 30*day })
		long := start(func(c *session.Config) { c.IdleTimeout, c.Lifetime = year, year })
		idle := start(func(c *session.Config) { c.IdleTimeout, c.Lifetime = 15*minute, 30*day })
		life := start(func(c *session.Config) { c.IdleTimeout, c.Lifetime = 12*hour, 12*hour })

		c, remembered := newVisitor(t), newVisitor(t)
		c.do(before.Manager, fill)
		remembered.do(before.Manager, func(s *session.Session) { s.SetPersistent(true); fill(s) })
		type step struct {
			after            time.Duration // since the last step
			idle, life, long bool          // is the session still there for that Manager?
			persistent       bool          // and a persistent one, for the Manager with the short idle timeout
			old              string        // the reason of the Manager with the short lifetime
		}
		for _, s := range []step{
			{0, true, true, true, true, ""},
			{15*minute - time.Millisecond, true, true, true, true, ""},
			{time.Millisecond, false, true, true, true, ""},
			{12*hour - 15*minute - time.Millisecond, false, true, true, true, ""},
			{time.Millisecond, false, false, true, true, "rejected lifetime"},
			{19 * day, false, false, true, true, "rejected lifetime"},
			{30*day - 19*day - 12*hour, false, false, false, false, ""},
		} {
			time.Sleep(s.after)
			exists(t, "with a short idle timeout", c, idle, s.idle)
			exists(t, "persistent, with a short idle timeout", remembered, idle, s.persistent)
			exists(t, "with a short lifetime", c, life, s.life)
			if s.old != "" {
				life.events.took()
				c.copy().do(life.Manager, read)
				equal(t, "events", life.events.took(), []string{s.old})
			}
			exists(t, "persistent, with a short lifetime", remembered, life, s.life)
			exists(t, "with longer timeouts", c, long, s.long)
		}
	})
}

// Activity is counted by the timeouts of now too: a request stores what they say.
func TestShortenedTimeoutsAreStored(t *testing.T) {
	t.Parallel()
	onStoreAndCookie(t, func(t *testing.T, start func(func(*session.Config)) *bench) {
		before := start(func(c *session.Config) { c.IdleTimeout = 10 * day })
		after := start(func(c *session.Config) { c.IdleTimeout = hour })
		c := newVisitor(t)
		c.do(before.Manager, fill)
		time.Sleep(hour - time.Millisecond)
		c.do(after.Manager, read)
		time.Sleep(hour - time.Millisecond)
		exists(t, "an hour after that request, before", c, before, true)
		exists(t, "an hour after that request", c, after, true)
		time.Sleep(time.Millisecond)
		exists(t, "after that, before", c, before, false)
		exists(t, "after that", c, after, false)
	})
}

// What no request gets is in no list and no count, and is ended all the same: a server that hasn't got the new settings
// yet would still serve it. A tool without timeouts, such as the command, judges by the record alone.
func TestShortenedTimeoutsInLists(t *testing.T) {
	t.Parallel()
	onStore := func(test func(t *testing.T, start func(idle, life time.Duration) *bench)) {
		synctest.Test(t, func(t *testing.T) {
			shared := memstore.New(nil)
			test(t, func(idle, life time.Duration) *bench {
				return newBench(t, func(c *session.Config) {
					c.Store, c.InsecureHTTP, c.SweepInterval, c.IdleTimeout, c.Lifetime = shared, true, -1, idle, life
				})
			})
		})
	}
	onStore(func(t *testing.T, start func(idle, life time.Duration) *bench) {
		before, after, old, tool := start(20*day, 30*day), start(hour, 30*day), start(10*day, 10*day), start(-1, -1)
		device(t, before.Manager, "ann", "idle")
		c, _ := device(t, before.Manager, "ann", "remembered")
		c.do(before.Manager, func(s *session.Session) { s.SetPersistent(true) })
		time.Sleep(2 * hour)
		device(t, before.Manager, "ann", "in use")
		equal(t, "before", labels(t, before.Sessions(t.Context(), "ann")), []string{"idle", "in use", "remembered"})
		equal(t, "after", labels(t, after.Sessions(t.Context(), "ann")), []string{"in use", "remembered"})
		equal(t, "all", labels(t, after.All(t.Context())), []string{"in use", "remembered"})
		equal(t, "a tool's list", labels(t, tool.All(t.Context())), []string{"idle", "in use", "remembered"})

		time.Sleep(10*day - hour)
		equal(t, "all of 10 days", labels(t, old.All(t.Context())), []string{"in use"})
		device(t, before.Manager, "ann", "new")
		before.events.took()
		n, err := old.RevokeAll(t.Context(), "ann")
		is(t, "RevokeAll", err, nil)
		check(t, "ended", n, 2)
		equal(t, "events", old.events.took(), []string{"revoked", "revoked"})
		equal(t, "afterwards, for a tool", labels(t, tool.All(t.Context())), []string{})
	})
	onStore(func(t *testing.T, start func(idle, life time.Duration) *bench) {
		before, after := start(20*day, 30*day), start(hour, 30*day)
		device(t, before.Manager, "ann", "idle")
		time.Sleep(2 * hour)
		device(t, before.Manager, "ben", "in use")
		n, err := after.RevokeFunc(t.Context(), func(session.Info) bool { return true })
		is(t, "RevokeFunc", err, nil)
		check(t, "ended", n, 1)
		equal(t, "afterwards, before", labels(t, before.All(t.Context())), []string{})
	})
}

// A record that says it was made in the future counts as made now, and is stored so: its timeouts would begin when a
// wrong clock says.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		created, seen time.Duration // ahead
		do            func(*session.Session)
		events        []string
	}{
		"created":              {year, year, read, []string{"clock"}},
		"seen":                 {0, year, read, []string{"clock"}},
		"a change":             {year, year, func(s *session.Session) { s.Set("b", 1) }, []string{"clock"}},
		"a renewal":            {year, year, (*session.Session).Renew, []string{"clock", "renewed"}},
		"a clock that differs": {minute, minute, read, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(c *session.Config) {
				c.Lifetime, c.IdleTimeout = 10*hour, hour
			}, func(t *testing.T, b *bench, v *visitor) {
				v.do(b.Manager, fill)
				now := time.Now()
				for r, err := range b.store.Store.(*memstore.Store).All(t.Context()) {
					is(t, "All", err, nil)
					r, err = b.store.Load(t.Context(), r.Key)
					is(t, "Load", err, nil)
					was := r.Version
					r.Version, r.CreatedAt, r.LastSeenAt = store.NewVersion(), now.Add(c.created), now.Add(c.seen)
					r.ExpiresAt = r.CreatedAt.Add(10 * hour)
					is(t, "Replace", b.store.Replace(t.Context(), r, was), nil)
				}
				b.events.took()
				var i session.Info
				v.do(b.Manager, func(s *session.Session) { i = s.Info(); c.do(s) })
				equal(t, "events", b.events.took(), c.events)
				v.do(b.Manager, func(s *session.Session) { i = s.Info() })
				equal(t, "events of the next request", b.events.took(), []string{})
				if len(c.events) == 0 {
					return
				}
				check(t, "created", i.CreatedAt.Sub(now), 0)
				check(t, "seen", i.LastSeenAt.Sub(now), 0)
				for range 10*2 - 1 {
					time.Sleep(30 * minute)
					alive(t, "before Lifetime", v, b, true)
				}
				time.Sleep(30 * minute)
				alive(t, "at Lifetime", v, b, false)
			})
		})
	}
}

// A cookie from the future is refused.
func TestCookieOfTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, encrypted, func(c *session.Config) { c.Lifetime, c.IdleTimeout = 10*hour, hour })
		codec, err := session.EncryptedCookie([]string{secret}, hostCookie)
		is(t, "EncryptedCookie", err, nil)
		for _, c := range []struct {
			created, seen time.Duration
			want          []string
		}{
			{0, 0, []string{}}, {minute, minute, []string{}},
			{minute + time.Millisecond, 0, []string{"rejected future"}},
			{0, minute + time.Millisecond, []string{"rejected future"}},
			{year, year, []string{"rejected future"}},
		} {
			now := time.Now()
			text, err := codec.Encode(store.Record{CreatedAt: now.Add(c.created), LastSeenAt: now.Add(c.seen),
				ExpiresAt: now.Add(year + hour), Data: []byte(`{"a":1}`)})
			is(t, "Encode", err, nil)
			b.get(t, hostCookie+"="+text, look)
			equal(t, "events", b.events.took(), c.want)
		}
	})
}

// keeper is a browser that forgets a cookie after its Max-Age, of which it keeps at most 400 days (RFC 6265bis, 5.5).
type keeper struct {
	*visitor
	b    *bench
	ends time.Time
	sent int // cookies
}

func (k *keeper) do(t *testing.T, handle func(*session.Session)) {
	t.Helper()
	if !k.ends.IsZero() && !time.Now().Before(k.ends) {
		k.cookie = nil
	}
	for _, c := range k.visitor.do(k.b.Manager, handle).Cookies() {
		if k.sent++; c.MaxAge <= 0 {
			t.Fatalf("got a cookie with Max-Age %d, want a persistent one", c.MaxAge)
		}
		k.ends = time.Now().Add(min(time.Duration(c.MaxAge)*time.Second, 400*day))
	}
}

func (k *keeper) isThere(t *testing.T, what string, want bool) {
	t.Helper()
	k.do(t, func(s *session.Session) { check(t, what, s.Principal() == "ann", want) })
}

func remember(s *session.Session) { s.Login("ann"); s.SetPersistent(true) }

// "Remember me" that slides: a login lasts for as long as it is used, in the browser too. The server alone judges how
// long it was not used.
func TestSlidingLogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		idle, every time.Duration
		cookies     int // in ten years, on a store
	}{
		"each day":             {60 * day, day, 11},
		"nearly idle":          {60 * day, 59 * day, 11},
		"nearly a year":        {330 * day, 329 * day, 13},
		"a year":               {365 * day, 364 * day, 12},
		"without idle timeout": {0, 364 * day, 12},
		"seldom and often":     {365 * day, 40 * day, 93},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onStoreAndCookie(t, func(t *testing.T, start func(func(*session.Config)) *bench) {
				k := &keeper{visitor: newVisitor(t), b: start(func(cfg *session.Config) {
					cfg.Lifetime, cfg.PersistentLifetime, cfg.PersistentIdleTimeout = day, -1, c.idle
				})}
				k.do(t, remember)
				for begin := time.Now(); time.Since(begin) < 10*year; {
					time.Sleep(c.every)
					k.isThere(t, "in use", true)
				}
				if strings.HasSuffix(t.Name(), "store") {
					check(t, "cookies", k.sent, c.cookies)
				}
				if c.idle == 0 {
					return
				}
				k.do(t, func(s *session.Session) { s.Set("a", 1) }) // which is activity, however fine that is counted
				time.Sleep(c.idle - time.Millisecond)
				k.do(t, func(s *session.Session) { check(t, "just before", s.Principal(), "ann"); s.Set("a", 2) })
				stolen := k.copy()
				time.Sleep(c.idle)
				stolen.do(k.b.Manager, func(s *session.Session) { check(t, "afterwards", s.Principal(), "") })
			})
		})
	}
}

// The lifetime of persistent sessions is their own, and ends them whatever their use; other sessions keep Lifetime.
func TestPersistentLifetime(t *testing.T) {
	t.Parallel()
	onStoreAndCookie(t, func(t *testing.T, start func(func(*session.Config)) *bench) {
		b := start(func(c *session.Config) { c.Lifetime, c.PersistentLifetime = day, 2*year })
		k := &keeper{visitor: newVisitor(t), b: b}
		k.do(t, remember)
		check(t, "Max-Age", time.Until(k.ends), 400*day)
		for range 72 {
			time.Sleep(10 * day)
			k.isThere(t, "in use", true)
		}
		time.Sleep(10*day - time.Millisecond)
		k.isThere(t, "before the end", true)
		time.Sleep(time.Millisecond)
		k.isThere(t, "at the end", false)

		other := newVisitor(t)
		other.do(b.Manager, func(s *session.Session) { remember(s); s.SetPersistent(false) })
		time.Sleep(day - time.Millisecond)
		exists(t, "not persistent, before Lifetime", other, b, true)
		time.Sleep(time.Millisecond)
		exists(t, "not persistent, at Lifetime", other, b, false)
	})
}

// What nobody asked for fails nobody: where no cookie can be sent, the session keeps its ID, and the changes are
// stored. Of concurrent requests one renews it.
func TestAgingIDs(t *testing.T) {
	t.Parallel()
	sliding := func(c *session.Config) { c.PersistentLifetime = -1 }
	for name, c := range map[string]struct {
		do     func(v *visit, s *session.Session)
		events []string
	}{
		"a request":      {func(_ *visit, s *session.Session) {}, []string{"renewed"}},
		"a change":       {func(_ *visit, s *session.Session) { s.Set("b", 1) }, []string{"renewed"}},
		"a renewal":      {func(_ *visit, s *session.Session) { s.Renew() }, []string{"renewed"}},
		"a login":        {func(_ *visit, s *session.Session) { s.Login("ben") }, []string{"login"}},
		"a logout":       {func(_ *visit, s *session.Session) { s.Logout() }, []string{"logout"}},
		"not persistent": {func(_ *visit, s *session.Session) { s.SetPersistent(false) }, []string{"renewed"}},
		"a hijack": {func(v *visit, s *session.Session) {
			s.Set("b", 1)
			v.out.(http.Hijacker).Hijack()
		}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, sliding, func(t *testing.T, b *bench, v *visitor) {
				v.do(b.Manager, remember)
				time.Sleep(2 * year)
				b.events.took()
				r, w := v.request(), &hijackable{httptest.NewRecorder()}
				b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					c.do(&visit{out: w}, session.From(r))
				})).ServeHTTP(w, r)
				equal(t, "events", b.events.took(), c.events)
				if name == "a hijack" {
					v.do(b.Manager, func(s *session.Session) { check(t, "values", contents(s), "ann: [b=1]") })
				}
			})
		})
	}
	bubble(t, sliding, func(t *testing.T, b *bench, v *visitor) {
		v.do(b.Manager, remember)
		time.Sleep(2 * year)
		b.events.took()
		late := b.serve(t, v.request(), func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			session.From(r).Set("b", 1)
		})
		silent(t, "a response that has begun", late)
		equal(t, "events", b.events.took(), []string{"read late"})
		cookies := 0
		for _, res := range v.overlap([]*session.Manager{b.Manager}, 10, func(i int, s *session.Session) {
			total.Update(s, plus(1))
		}) {
			cookies += len(res.Cookies())
		}
		check(t, "cookies", cookies, 1)
		equal(t, "events", b.events.took(), []string{"renewed"})
		v.do(b.Manager, func(s *session.Session) {
			check(t, "contents", contents(s), "ann: [b=1 "+string(total)+"=10]")
		})
	})
}

// The ID that an Elevate or RevokeOthers has made is as new as that of a Renew.
func TestHardRenewalIsNew(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *session.Config) { c.PersistentLifetime = -1 }, func(t *testing.T, b *bench, v *visitor) {
		v.do(b.Manager, remember)
		for name, do := range map[string]func(s *session.Session){
			"Elevate": func(s *session.Session) {
				s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(time.Hour)})
			},
			"RevokeOthers": func(s *session.Session) { s.RevokeOthers(t.Context()) },
		} {
			time.Sleep(2 * year)
			v.do(b.Manager, do)
			b.events.took()
			v.do(b.Manager, func(s *session.Session) { s.Principal() })
			equal(t, "events after "+name, b.events.took(), []string{})
		}
	})
}

// hijackable is a server's writer with a connection.
type hijackable struct{ *httptest.ResponseRecorder }

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }
