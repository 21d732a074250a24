package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

const year = 365 * day

// onStoreAndCookie runs a test in a bubble for each place where sessions are kept. start makes Managers of one application
// that differ in their settings.
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

// A timeout that is shortened binds the sessions that exist, whatever they were stored with; one that is made longer gives
// them no more time than they had.
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

// What no request gets is in no list and no count, and is ended all the same: a server that hasn't got the new settings yet
// would still serve it. A tool without timeouts, such as the command, judges by the record alone.
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

// A record that says it was made in the future counts as made now, and is stored so: its timeouts would begin when a wrong
// clock says.
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
			bubble(t, func(c *session.Config) { c.Lifetime, c.IdleTimeout = 10*hour, hour }, func(t *testing.T, b *bench, v *visitor) {
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
			{minute + time.Millisecond, 0, []string{"rejected future"}}, {0, minute + time.Millisecond, []string{"rejected future"}},
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
