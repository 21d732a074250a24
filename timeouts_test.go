package session_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
)

const (
	minute = time.Minute
	hour   = time.Hour
)

// bubble runs a test in fake time, with a Manager whose store is watched.
func bubble(t *testing.T, change func(c *session.Config), test func(t *testing.T, b *bench, c *visitor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *session.Config) {
			c.InsecureHTTP, c.SweepInterval = true, -1
			if change != nil {
				change(c)
			}
		})
		test(t, b, newVisitor(t))
		b.Close()
	})
}

func alive(t *testing.T, what string, c *visitor, b *bench, want bool) {
	t.Helper()
	c.do(b.Manager, func(s *session.Session) { check(t, what, s.Len() > 0, want) })
}

func fill(s *session.Session) { s.Set("a", 1) }

func read(*session.Session) {}

// The session ends IdleTimeout after its last request, to the millisecond, and not before.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{0, time.Second, minute, hour, 15 * day} {
		t.Run(idle.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(c *session.Config) { c.IdleTimeout = idle }, func(t *testing.T, b *bench, c *visitor) {
				if idle == 0 {
					idle = 24 * hour
				}
				c.do(b.Manager, fill)
				time.Sleep(idle - time.Millisecond)
				alive(t, "a millisecond before", c, b, true)
				time.Sleep(idle - time.Millisecond)
				alive(t, "a millisecond before the next end", c, b, true)
				time.Sleep(idle)
				alive(t, "at the end", c, b, false)
			})
		})
	}
}

// Lifetime counts from creation or login. Neither activity, changes nor Renew move it.
func TestLifetime(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(s *session.Session){
		"reads":      read,
		"changes":    func(s *session.Session) { total.Update(s, plus(1)) },
		"renewals":   (*session.Session).Renew,
		"labels":     func(s *session.Session) { s.SetLabel(time.Now().String()) },
		"saves":      func(s *session.Session) { s.Set("t", time.Now().Unix()); s.Save(context.Background()) },
		"persistent": func(s *session.Session) { s.SetPersistent(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(c *session.Config) { c.Lifetime, c.IdleTimeout = 10*hour, hour }, func(t *testing.T, b *bench, c *visitor) {
				c.do(b.Manager, fill)
				for range 19 {
					time.Sleep(30 * minute)
					c.do(b.Manager, use)
				}
				time.Sleep(30*minute - time.Millisecond)
				alive(t, "a millisecond before the end", c, b, true)
				time.Sleep(time.Millisecond)
				alive(t, "at the end", c, b, false)
			})
		})
	}
}

// Login restarts it, also one of the same principal.
func TestLoginRestartsLifetime(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *session.Config) { c.Lifetime, c.IdleTimeout = 10*hour, -1 }, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, fill)
		for range 3 {
			time.Sleep(9 * hour)
			c.do(b.Manager, func(s *session.Session) { s.Login("ann") })
		}
		time.Sleep(10*hour - time.Millisecond)
		alive(t, "a millisecond before the end", c, b, true)
		time.Sleep(time.Millisecond)
		alive(t, "at the end", c, b, false)
	})
}

// Persistent sessions have no other idle timeout than Lifetime.
func TestPersistentSessionsHaveNoIdleTimeout(t *testing.T) {
	t.Parallel()
	bubble(t, nil, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, func(s *session.Session) { s.SetPersistent(true); fill(s) })
		time.Sleep(30*day - time.Millisecond)
		alive(t, "a millisecond before the end", c, b, true)
		time.Sleep(time.Millisecond)
		alive(t, "at the end", c, b, false)

		c.do(b.Manager, func(s *session.Session) { s.SetPersistent(true); fill(s) })
		c.do(b.Manager, func(s *session.Session) { s.SetPersistent(false) })
		time.Sleep(24*hour - time.Millisecond)
		alive(t, "not persistent any more, before IdleTimeout", c, b, true)
		time.Sleep(24 * hour)
		alive(t, "not persistent any more, after it", c, b, false)
	})
}

// A negative value means none.
func TestNoTimeouts(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *session.Config) { c.Lifetime, c.IdleTimeout = -1, -1 }, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, fill)
		time.Sleep(30 * 365 * day)
		alive(t, "after 30 years", c, b, true)
	})
	bubble(t, func(c *session.Config) { c.IdleTimeout = -1 }, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, fill)
		time.Sleep(30*day - time.Millisecond)
		alive(t, "no IdleTimeout, before Lifetime", c, b, true)
		time.Sleep(time.Millisecond)
		alive(t, "no IdleTimeout, at Lifetime", c, b, false)
	})
	bubble(t, func(c *session.Config) { c.Lifetime = -1 }, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, fill)
		for range 4000 {
			time.Sleep(23 * hour)
			c.do(b.Manager, read)
		}
		alive(t, "no Lifetime, used each day", c, b, true)
		time.Sleep(24 * hour)
		alive(t, "no Lifetime, not used for a day", c, b, false)
	})
}

// Activity is written at most once in a twentieth of IdleTimeout, and at most once in a minute unless that is too coarse;
// a request that changes the session moves it for free.
func TestTouches(t *testing.T) {
	t.Parallel()
	for idle, interval := range map[time.Duration]time.Duration{
		24 * hour: 72 * minute, hour: 3 * minute, 10 * minute: minute, 2 * minute: 30 * time.Second, 8 * time.Second: 2 * time.Second,
	} {
		t.Run(idle.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(c *session.Config) { c.IdleTimeout = idle }, func(t *testing.T, b *bench, c *visitor) {
				c.do(b.Manager, fill)
				b.store.took()
				const requests = 1000
				step := interval / 20
				for range requests {
					time.Sleep(step)
					silent(t, "a request that is activity", c.do(b.Manager, read))
				}
				calls := b.store.took()
				check(t, "touches", count(calls, "touch"), requests/20)
				check(t, "other writes", len(calls)-count(calls, "touch")-count(calls, "load"), 0)

				time.Sleep(interval - time.Millisecond)
				c.do(b.Manager, read)
				equal(t, "just before it is due", b.store.took(), []string{"load"})
				time.Sleep(time.Millisecond)
				c.do(b.Manager, func(s *session.Session) { s.Set("b", 1) })
				equal(t, "a change when it is due", b.store.took(), []string{"load", "replace"})
				time.Sleep(interval - time.Millisecond)
				c.do(b.Manager, read)
				equal(t, "after the change", b.store.took(), []string{"load"})
				time.Sleep(time.Millisecond)
				c.do(b.Manager, func(s *session.Session) { s.Set("b", 1) })
				equal(t, "a Set that changes nothing, when it is due", b.store.took(), []string{"load", "touch"})
				time.Sleep(interval)
				b.serve(t, c.request(), func(http.ResponseWriter, *http.Request) {})
				equal(t, "a request that does not look at the session", b.store.took(), nil)
			})
		})
	}
}

// A Touch that fails costs nothing but the time: the request works, and the next one tries again.
func TestTouchMayFail(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *session.Config) { c.IdleTimeout = hour }, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, fill)
		time.Sleep(30 * minute)
		b.events.took()
		b.store.fail(down("touch"), nil)
		c.do(b.Manager, read)
		equal(t, "events", b.events.took(), []string{"unavailable"})
		b.store.fail(nil, nil)
		c.do(b.Manager, read)
		time.Sleep(hour - time.Millisecond)
		alive(t, "after the second touch", c, b, true)
	})
}

// What is done outside a request is no activity.
func TestLoadAndReloadAreNoActivity(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *session.Config) { c.IdleTimeout = hour }, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, fill)
		seen := time.Now()
		var s *session.Session
		for i := range 6 {
			time.Sleep(10*minute - time.Millisecond)
			var err error
			s, err = b.Load(t.Context(), c.value())
			is(t, "Load", err, nil)
			is(t, "Reload", s.Reload(t.Context()), nil)
			s.Set("n", i)
			is(t, "Save", s.Save(t.Context()), nil)
			check(t, "last seen", s.Info().LastSeenAt.Sub(seen), 0)
		}
		time.Sleep(6 * time.Millisecond)
		_, err := b.Load(t.Context(), c.value())
		is(t, "Load at the end", err, session.ErrEnded)
		is(t, "Reload at the end", s.Reload(t.Context()), session.ErrEnded)
	})
}

// A long request keeps its session alive by what it saves, as any other.
func TestSavesOfALongRequestAreActivity(t *testing.T) {
	t.Parallel()
	bubble(t, func(c *session.Config) { c.IdleTimeout = hour }, func(t *testing.T, b *bench, c *visitor) {
		c.do(b.Manager, fill)
		c.do(b.Manager, func(s *session.Session) {
			for i := range 10 {
				time.Sleep(50 * minute)
				s.Set("n", i)
				is(t, "Save", s.Save(t.Context()), nil)
			}
		})
		time.Sleep(hour - time.Millisecond)
		alive(t, "before the end", c, b, true)
	})
}

// A session that expires while a request runs has ended: what the request changes is dropped. But a request longer than
// Grace can't know whether it was ended or moved, and says so.
func TestExpiryDuringARequest(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]int{minute: http.StatusOK, 3 * minute: http.StatusServiceUnavailable} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(c *session.Config) { c.IdleTimeout, c.Lifetime = minute, minute }, func(t *testing.T, b *bench, c *visitor) {
				c.do(b.Manager, fill)
				res := c.try(b.Manager, func(s *session.Session) {
					time.Sleep(after)
					s.Set("b", 1)
				})
				check(t, "status", res.StatusCode, want)
				silent(t, "answer", res)
				alive(t, "afterwards", c, b, false)
			})
		})
	}
}
