package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
)

// lifeModel is what a session should be: the model that every combination of calls is held against.
type lifeModel struct {
	principal string
	values    map[string]int
	stored    bool // the client has a cookie of a live session
	sets      bool // this request's answer sets a cookie
	deletes   bool // or deletes it
	follows   bool // the cookie before this request leads to the session
}

// lifeCall is one call on a session, and what it should do.
type lifeCall struct {
	name  string
	do    func(s *session.Session)
	model func(l *lifeModel)
}

func loginCall(who string) lifeCall {
	return lifeCall{"login " + who, func(s *session.Session) { s.Login(who) }, func(l *lifeModel) {
		if l.principal != "" && l.principal != who {
			l.values = map[string]int{}
		}
		l.principal, l.sets, l.follows = who, true, false
	}}
}

func setCall(key string) lifeCall {
	return lifeCall{"set " + key, func(s *session.Session) { s.Set(key, 1) }, func(l *lifeModel) {
		l.values[key] = 1
		l.sets = l.sets || !l.stored
	}}
}

var lifeCalls = []lifeCall{
	loginCall("ann"), loginCall("ben"), setCall("a"),
	{"logout", (*session.Session).Logout, func(l *lifeModel) {
		l.principal, l.values = "", map[string]int{}
		l.deletes = l.deletes || l.stored
		l.stored, l.sets, l.follows = false, false, false
	}},
	{"renew", (*session.Session).Renew, func(l *lifeModel) { l.sets = l.sets || l.stored }},
	{"clear", (*session.Session).Clear, func(l *lifeModel) {
		l.values = map[string]int{}
		l.sets = l.sets && (l.stored || l.principal != "")
	}},
}

// lifeStarts are the sessions that a client may have before.
var lifeStarts = map[string][]lifeCall{"nothing": nil, "values": {setCall("old")},
	"a login": {loginCall("ann"), setCall("old")}}

// apply runs calls in one request and checks the answer. It returns what the client has then.
func (l lifeModel) apply(t *testing.T, c *visitor, m *session.Manager, what string, calls []lifeCall) lifeModel {
	t.Helper()
	before := c.copy()
	l.sets, l.deletes, l.follows = false, false, l.stored
	l.values = maps.Clone(l.values)
	res := c.do(m, func(s *session.Session) {
		for _, call := range calls {
			call.do(s)
			call.model(&l)
		}
		if got, want := contents(s), l.contents(); got != want {
			t.Errorf("%s: in the request: got %q, want %q", what, got, want)
		}
	})
	if cookies := res.Cookies(); l.sets {
		if len(cookies) != 1 || cookies[0].MaxAge < 0 {
			t.Errorf("%s: got %d cookies, want a new one", what, len(cookies))
		}
		l.stored = true
	} else if l.deletes {
		if len(cookies) != 1 || cookies[0].MaxAge >= 0 {
			t.Errorf("%s: got %d cookies, want the deletion", what, len(cookies))
		}
	} else {
		silent(t, what, res)
	}
	c.want([]*session.Manager{m}, what, l.contents())
	if c.value() != before.value() {
		want := nothing
		if l.follows {
			want = l.contents()
		}
		before.want([]*session.Manager{m}, what+", with the cookie before", want)
	}
	return l
}

func (l lifeModel) contents() string {
	values := []string{}
	for _, k := range slices.Sorted(maps.Keys(l.values)) {
		values = append(values, fmt.Sprintf("%s=%d", k, l.values[k]))
	}
	return l.principal + ": " + fmt.Sprint(values)
}

// combinations calls f with every sequence of up to n calls.
func combinations(n int, prefix []lifeCall, f func(calls []lifeCall)) {
	if len(prefix) > 0 {
		f(prefix)
	}
	if n > 0 {
		for _, c := range lifeCalls {
			combinations(n-1, append(slices.Clip(prefix), c), f)
		}
	}
}

func describe(start string, calls []lifeCall) string {
	var names []string
	for _, c := range calls {
		names = append(names, c.name)
	}
	return start + "; " + strings.Join(names, ", ")
}

// Every sequence of three calls in one request.
func TestLifeInOneRequest(t *testing.T) {
	t.Parallel()
	for start, first := range lifeStarts {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			m := server(t)
			combinations(3, nil, func(calls []lifeCall) {
				c := newVisitor(t)
				l := lifeModel{values: map[string]int{}}.apply(t, c, m, start, first)
				l.apply(t, c, m, describe(start, calls), calls)
			})
		})
	}
}

// The same, a request each, on two servers in turn.
func TestLifeAcrossRequests(t *testing.T) {
	t.Parallel()
	for start, first := range lifeStarts {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			ms := servers(t, 2)
			combinations(3, nil, func(calls []lifeCall) {
				if len(calls) < 3 {
					return
				}
				c := newVisitor(t)
				l := lifeModel{values: map[string]int{}}.apply(t, c, ms[0], start, first)
				for i := range calls {
					l = l.apply(t, c, ms[i%2], describe(start, calls[:i+1]), calls[i:i+1])
				}
			})
		})
	}
}

// The same, with a Save after each call: only the last cookie is sent.
func TestLifeWithSaves(t *testing.T) {
	t.Parallel()
	for start, first := range lifeStarts {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			m := server(t)
			combinations(2, nil, func(calls []lifeCall) {
				c := newVisitor(t)
				l := lifeModel{values: map[string]int{}}.apply(t, c, m, start, first)
				want := l
				for _, call := range calls {
					want.sets, want.deletes, want.follows = false, false, false
					call.model(&want)
					want.stored = want.stored || want.sets
				}
				before := c.copy()
				res := c.do(m, func(s *session.Session) {
					for _, call := range calls {
						call.do(s)
						is(t, describe(start, calls)+": Save", s.Save(t.Context()), nil)
					}
				})
				if n := len(res.Cookies()); n > 1 {
					t.Errorf("%s: got %d cookies", describe(start, calls), n)
				}
				c.want([]*session.Manager{m}, describe(start, calls)+", saved each", want.contents())
				if v := before.value(); v != "" && c.value() == "" {
					before.want([]*session.Manager{m}, describe(start, calls)+", the cookie before", nothing)
				}
			})
		})
	}
}

// A principal is 1 to 256 bytes of text. Anything else fails the request and changes nothing.
func TestLoginRefusesPrincipals(t *testing.T) {
	t.Parallel()
	for _, principal := range []string{"", strings.Repeat("x", 257), strings.Repeat("é", 128) + "x",
		"a\x00b", "a\xff"} {
		m, c := server(t), newVisitor(t)
		c.do(m, func(s *session.Session) { s.Set("a", 1) })
		res := c.try(m, func(s *session.Session) {
			s.Login(principal)
			check(t, "principal", s.Principal(), "")
			if s.Err() == nil {
				t.Errorf("Login of %d bytes: Err is nil", len(principal))
			}
		})
		check(t, "status", res.StatusCode, http.StatusInternalServerError)
		silent(t, "refused login", res)
		c.want([]*session.Manager{m}, "after a refused login", ": [a=1]")
	}
	for _, principal := range []string{"x", " ", strings.Repeat("x", 256), strings.Repeat("é", 128), "a\nb", "\u202e"} {
		m, c := server(t), newVisitor(t)
		c.do(m, func(s *session.Session) { s.Login(principal) })
		c.do(m, func(s *session.Session) { check(t, "principal", s.Principal(), principal) })
	}
}

// A logout that began while nobody was logged in does not end a login that came meanwhile, and takes no cookie away.
func TestSlowAnonymousLogoutSparesALogin(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Set("a", 1) })
	slow := c.start(ms[0], func(v *visit, s *session.Session) {
		v.pause()
		s.Logout()
	})
	c.do(ms[1], func(s *session.Session) { s.Login("ann") })
	silent(t, "the slow logout", slow.finish())
	c.want(ms, "after both", "ann: [a=1]")
}

// Another user's logout neither.
func TestSlowLogoutSparesAnotherUser(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Login("ann") })
	slow := c.start(ms[0], func(v *visit, s *session.Session) {
		v.pause()
		s.Logout()
	})
	c.do(ms[1], func(s *session.Session) { s.Login("ben") })
	silent(t, "the slow logout", slow.finish())
	c.want(ms, "after both", "ben: []")
}

// TestSaveOfALoginAfterALostTake: a Take that found the session ended does not make a failure of the login beside it.
func TestSaveOfALoginAfterALostTake(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	code := session.Key[string]("code")
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { code.Set(s, "x") })
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		other, err := m.Load(r.Context(), r.Cookies()[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		other.Login("bob")
		if err := other.Save(r.Context()); err != nil {
			t.Fatal(err)
		}
		s.Login("bob")
		if _, _, err := code.Take(r.Context(), s); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Take: got %v, want ErrEnded", err)
		}
		if err := s.Save(r.Context()); err != nil || s.Principal() != "bob" {
			t.Errorf("Save: got %v and principal %q, want nil and bob", err, s.Principal())
		}
		if n, err := s.RevokeOthers(r.Context()); n != 1 || err != nil {
			t.Errorf("RevokeOthers: got %d, %v, want the other session ended", n, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

// TestLabelAfterLoginOverAnother: nothing of the principal before is left, in lists either.
func TestLabelAfterLoginOverAnother(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
		s.Login("bob")
		s.SetLabel("Firefox")
	})
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Login("ann")
		if i := s.Info(); i.Label != "" || !i.CreatedAt.IsZero() {
			t.Errorf("got label %q, created %v after Login, want none: they are bob's", i.Label, i.CreatedAt)
		}
		s.SetLabel("Firefox")
	})).ServeHTTP(httptest.NewRecorder(), r)
	for i, err := range m.Sessions(t.Context(), "ann") {
		if err != nil || i.Label != "Firefox" {
			t.Errorf("got label %q, %v, want what SetLabel said", i.Label, err)
		}
	}
}

// crossing runs a request whose anonymous session a parallel login took over, after its own save followed that login;
// then does f with both.
func crossing(t *testing.T, f func(s, parallel *session.Session)) (m *session.Manager, parallel *session.Session) {
	t.Helper()
	m = sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
		s.Set("cart", "book")
	})
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		var err error
		if parallel, err = m.Load(r.Context(), r.Cookies()[0].Value); err != nil {
			t.Fatal(err)
		}
		parallel.Login("ann")
		if err := parallel.Save(r.Context()); err != nil {
			t.Fatal(err)
		}
		s.Set("seen", true)
		if err := s.Save(r.Context()); err != nil {
			t.Fatal(err)
		}
		f(s, parallel)
	})).ServeHTTP(httptest.NewRecorder(), r)
	return m, parallel
}

// TestLoginBesideAParallelLogin: two logins of one anonymous session make two sessions, also when a save came between.
func TestLoginBesideAParallelLogin(t *testing.T) {
	t.Parallel()
	m, parallel := crossing(t, func(s, _ *session.Session) { s.Login("ann") })
	anns, err := m.Load(t.Context(), parallel.Token())
	if err != nil {
		t.Fatalf("the session of the parallel login: %v", err)
	}
	if v, _ := anns.Get("cart"); v != "book" {
		t.Errorf("got cart %v, want book", v)
	}
}

// TestTakeAfterAParallelLogin: the value went with the login; taking it from the old view would make two winners.
func TestTakeAfterAParallelLogin(t *testing.T) {
	t.Parallel()
	cart := session.Key[string]("cart")
	crossing(t, func(s, parallel *session.Session) {
		if _, ok, err := cart.Take(t.Context(), s); ok || !errors.Is(err, session.ErrEnded) {
			t.Errorf("from the old view: got %v, %v; want false, ErrEnded", ok, err)
		}
		if err := parallel.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := cart.Take(t.Context(), parallel); !ok || v != "book" || err != nil {
			t.Errorf("in the login's session: got %q, %v, %v; want book", v, ok, err)
		}
	})
}

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
			bubble(t, func(c *session.Config) {
				c.Lifetime, c.IdleTimeout = 10*hour, hour
			}, func(t *testing.T, b *bench, c *visitor) {
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
	bubble(t, func(c *session.Config) { c.Lifetime, c.IdleTimeout = 10*hour, -1 },
		func(t *testing.T, b *bench, c *visitor) {
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

// Activity is written at most once in a twentieth of IdleTimeout, and at most once in a minute unless that is too
// coarse; a request that changes the session moves it for free.
func TestTouches(t *testing.T) {
	t.Parallel()
	for idle, interval := range map[time.Duration]time.Duration{
		24 * hour: 72 * minute, hour: 3 * minute, 10 * minute: minute, 2 * minute: 30 * time.Second,
		8 * time.Second: 2 * time.Second,
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
			bubble(t, func(c *session.Config) {
				c.IdleTimeout, c.Lifetime = minute, minute
			}, func(t *testing.T, b *bench, c *visitor) {
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

// A Logout ends the session also if another request has retired its ID since, and an earlier save of this request has
// followed the session there.
func TestLogoutAfterCrossing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*session.Session){
		"Logout":         (*session.Session).Logout,
		"Login, Logout":  func(s *session.Session) { s.Login("ann"); s.Logout() },
		"of nobody else": func(s *session.Session) {},
	} {
		ms := servers(t, 2)
		c := newVisitor(t)
		c.do(ms[0], func(s *session.Session) { s.Login("ann") })
		c.copy().do(ms[0], func(s *session.Session) {
			s.Set("a", 1)
			c.do(ms[1], func(s *session.Session) {
				s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(time.Hour)})
			})
			is(t, name+": Save", s.Save(t.Context()), nil)
			end(s)
		})
		want := nothing
		if name == "of nobody else" {
			want = "ann: [a=1]"
		}
		c.want(ms, name, want)
	}
}
