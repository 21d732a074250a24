package session_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hipflask/session"
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
var lifeStarts = map[string][]lifeCall{"nothing": nil, "values": {setCall("old")}, "a login": {loginCall("ann"), setCall("old")}}

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
	for _, principal := range []string{"", strings.Repeat("x", 257), strings.Repeat("é", 128) + "x", "a\x00b", "a\xff"} {
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
