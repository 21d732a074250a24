package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// shown is an Auth without its time.
func shown(a session.Auth) string {
	return fmt.Sprint(a.Methods, a.Level, !a.Time.IsZero(), !a.Until.IsZero())
}

func TestLoginWith(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*session.Manager{"memory": server(t), "cookie": server(t, encrypted)} {
		t.Run(name, func(t *testing.T) {
			c := newVisitor(t)
			login := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
			c.do(m, func(s *session.Session) {
				check(t, "anonymous", shown(s.Auth()), "[] 0 false false")
				s.LoginWith("ann", session.Auth{Time: login, Methods: []string{"pwd", "otp"}, Level: 2})
				check(t, "in the same request", shown(s.Auth()), "[pwd otp] 2 true false")
			})
			c.do(m, func(s *session.Session) {
				check(t, "later", shown(s.Auth()), "[pwd otp] 2 true false")
				if !s.Auth().Time.Equal(login) {
					t.Errorf("got time %v, want %v", s.Auth().Time, login)
				}
				if i := s.Info(); !i.CreatedAt.Equal(login) || shown(i.Auth()) != shown(s.Auth()) {
					t.Errorf("Info says %v, %s", i.CreatedAt, shown(i.Auth()))
				}
				check(t, "values", fmt.Sprint(s.Keys(), s.Len()), "[] 0")
				s.Renew()
			})
			c.do(m, func(s *session.Session) {
				check(t, "after Renew", shown(s.Auth()), "[pwd otp] 2 true false")
				s.Login("ann")
				check(t, "a plain login", shown(s.Auth()), "[] 0 true false")
			})
			c.do(m, func(s *session.Session) {
				check(t, "after a plain login", shown(s.Auth()), "[] 0 true false")
				if time.Since(s.Auth().Time) > time.Minute {
					t.Errorf("got time %v", s.Auth().Time)
				}
				s.Logout()
				check(t, "after Logout", shown(s.Auth()), "[] 0 false false")
			})
		})
	}
}

// A login that began elsewhere ends when it would have ended there; a time in the future is now.
func TestLoginTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := server(t, func(c *session.Config) { c.Store, c.Lifetime = memstore.New(nil), 10*time.Hour })
		c, ahead := newVisitor(t), newVisitor(t)
		c.do(m, func(s *session.Session) { s.LoginWith("ann", session.Auth{Time: time.Now().Add(-9 * time.Hour)}) })
		ahead.do(m, func(s *session.Session) {
			s.LoginWith("ben", session.Auth{Time: time.Now().Add(time.Hour)})
			if got := s.Auth().Time; got.After(time.Now()) {
				t.Errorf("a time in the future stays: %v", got)
			}
		})
		time.Sleep(59 * time.Minute)
		check(t, "before the end", c.sees(m), "ann: []")
		time.Sleep(2 * time.Minute)
		check(t, "after the end", c.sees(m), ": []")
		check(t, "the one ahead", ahead.sees(m), "ben: []")
	})
}

func TestAuthIsChecked(t *testing.T) {
	t.Parallel()
	m := server(t)
	soon := time.Now().Add(time.Minute)
	for _, c := range []struct {
		what string
		do   func(s *session.Session)
		want string // in the error; "": none
	}{
		{"level 0", func(s *session.Session) { s.LoginWith("ann", session.Auth{Level: 0}) }, ""},
		{"level 3", func(s *session.Session) { s.LoginWith("ann", session.Auth{Level: 3}) }, ""},
		{"level 4", func(s *session.Session) { s.LoginWith("ann", session.Auth{Level: 4}) }, "Auth.Level"},
		{"level -1", func(s *session.Session) { s.LoginWith("ann", session.Auth{Level: -1}) }, "Auth.Level"},
		{"a method with a space", func(s *session.Session) {
			s.LoginWith("ann", session.Auth{Methods: []string{"one time"}})
		}, "Auth.Methods"},
		{"no name", func(s *session.Session) {
			s.LoginWith("ann", session.Auth{Methods: []string{""}})
		}, "Auth.Methods"},
		{"64 bytes", func(s *session.Session) {
			s.LoginWith("ann", session.Auth{Methods: []string{strings.Repeat("m", 64)}})
		}, ""},
		{"65 bytes", func(s *session.Session) {
			s.LoginWith("ann", session.Auth{Methods: []string{strings.Repeat("m", 65)}})
		}, "Auth.Methods"},
		{"too many", func(s *session.Session) {
			s.LoginWith("ann", session.Auth{Methods: slices.Repeat([]string{strings.Repeat("m", 64)}, 8)})
		}, "public attributes"},
		{"Until of a login", func(s *session.Session) { s.LoginWith("ann", session.Auth{Until: soon}) }, "Auth.Until"},
		{"Elevate without Until", func(s *session.Session) { s.Login("ann"); s.Elevate(session.Auth{}) }, "Auth.Until"},
		{"Elevate in the past", func(s *session.Session) {
			s.Login("ann")
			s.Elevate(session.Auth{Until: time.Now()})
		}, "Auth.Until"},
		{"Elevate with a level of 4", func(s *session.Session) {
			s.Login("ann")
			s.Elevate(session.Auth{Until: soon, Level: 4})
		}, "Auth.Level"},
		{"Elevate of nobody", func(s *session.Session) { s.Elevate(session.Auth{Until: soon}) }, "nobody is logged in"},
		{"Elevate of a visitor", func(s *session.Session) {
			s.Set("a", 1)
			s.Elevate(session.Auth{Until: soon})
		}, "nobody is logged in"},
		{"Elevate after Login", func(s *session.Session) { s.Login("ann"); s.Elevate(session.Auth{Until: soon}) }, ""},
		{"the reserved name", func(s *session.Session) { session.PublicAttribute[int]("auth").Set(s, 1) }, "LoginWith"},
		{"the reserved name deleted", func(s *session.Session) {
			s.LoginWith("ann", session.Auth{Level: 1})
			session.PublicAttribute[int]("auth").Update(s, func(int) int { return 0 })
		}, "LoginWith"},
	} {
		var err error
		newVisitor(t).try(m, func(s *session.Session) {
			c.do(s)
			err = errors.Join(s.Err(), s.Save(t.Context()))
		})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: got error %v", c.what, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got error %v, want %q in it", c.what, err, c.want)
		}
	}
}

// An elevation holds until its end; then the login's Auth holds again. There is one at a time, and the level never
// sinks.
func TestElevate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := server(t, func(c *session.Config) { c.Store = memstore.New(nil) })
		for name, m := range map[string]*session.Manager{"memory": memory, "cookie": server(t, encrypted)} {
			c := newVisitor(t)
			var handle, token string
			c.do(m, func(s *session.Session) {
				s.LoginWith("ann", session.Auth{Methods: []string{"pwd"}, Level: 1})
				s.Set("a", 1)
			})
			c.do(m, func(s *session.Session) {
				handle, token = s.Info().Handle, s.Token()
				s.Elevate(session.Auth{Methods: []string{"otp"}, Level: 2, Until: time.Now().Add(10 * time.Minute)})
				check(t, name+": at once", shown(s.Auth()), "[otp] 2 true true")
			})
			expect := func(what, want string) {
				t.Helper()
				c.do(m, func(s *session.Session) {
					check(t, name+": "+what, shown(s.Auth()), want)
					check(t, name+": "+what+": its values", contents(s), "ann: [a=1]")
				})
			}
			c.do(m, func(s *session.Session) {
				check(t, name+": the handle stays", s.Info().Handle, handle)
				if s.Token() == token {
					t.Errorf("%s: the ID stays", name)
				}
				check(t, name+": in lists", shown(s.Info().Auth()), "[otp] 2 true true")
				s.Renew()
				s.Clear()
				s.Set("a", 1)
			})
			expect("after Renew and Clear", "[otp] 2 true true")
			time.Sleep(9 * time.Minute)
			c.do(m, func(s *session.Session) {
				s.Elevate(session.Auth{Methods: []string{"pwd"}, Level: 1, Until: time.Now().Add(time.Hour)})
			})
			expect("a lower one", "[pwd] 2 true true")
			time.Sleep(2 * time.Minute)
			expect("a lower one lasts no longer", "[pwd] 1 true false")
			c.do(m, func(s *session.Session) {
				s.Elevate(session.Auth{Methods: []string{"otp"}, Level: 2, Until: time.Now().Add(time.Minute)})
				s.Elevate(session.Auth{Methods: []string{"hwk"}, Level: 3, Until: time.Now().Add(5 * time.Minute)})
			})
			expect("a higher one", "[hwk] 3 true true")
			time.Sleep(5 * time.Minute)
			expect("after the higher one", "[pwd] 1 true false")
			c.do(m, func(s *session.Session) {
				s.Elevate(session.Auth{Level: 3, Until: time.Now().Add(time.Minute)})
			})
			c.do(m, func(s *session.Session) { s.Login("ann") })
			expect("after Login", "[] 0 true false")
		}
	})
}

// Elevate and RevokeOthers retire the old ID at once: a copy of the cookie reads nothing, writes nothing and gets no
// cookie, not even where the ID was renewed a moment ago.
func TestOldCookieIsRetired(t *testing.T) {
	t.Parallel()
	for name, harden := range map[string]func(*session.Session){
		"Elevate": func(s *session.Session) { s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(time.Minute)}) },
		"RevokeOthers": func(s *session.Session) {
			n, err := s.RevokeOthers(t.Context())
			check(t, "RevokeOthers", fmt.Sprint(n, err), "0 <nil>")
		},
		"RevokeOthers after Renew": func(s *session.Session) { s.Renew(); s.RevokeOthers(t.Context()) },
		"SetPersistent with Elevate": func(s *session.Session) {
			s.SetPersistent(true)
			s.Elevate(session.Auth{Until: time.Now().Add(time.Minute)})
		},
	} {
		for _, renewed := range []bool{false, true} {
			what := fmt.Sprintf("%s, renewed before: %v", name, renewed)
			ms := servers(t, 2)
			c := newVisitor(t)
			c.do(ms[0], func(s *session.Session) { s.Login("ann"); s.Set("a", 1) })
			thief, thief2 := c.copy(), c.copy()
			late := c.start(ms[1], func(v *visit, s *session.Session) {
				v.pause()
				check(t, what+": a request in flight keeps its view", contents(s), "ann: [a=1]")
				s.Set("b", 2)
			})
			if renewed {
				c.do(ms[0], (*session.Session).Renew)
				thief2 = c.copy()
			}
			if renewed {
				c = thief // the rightful browser sends the old ID, as a parallel request does
				thief = thief.copy()
			}
			c.do(ms[0], harden)
			late.c = newVisitor(t)
			silent(t, what+": a request in flight", late.finish())
			c.want(ms, what+": the browser", "ann: [a=1 b=2]")
			for _, copied := range []*visitor{thief, thief2} {
				copied.want(ms, what+": a copy", nothing)
				silent(t, what+": a copy", copied.do(ms[1], func(s *session.Session) {
					s.Set("stolen", 1)
					is(t, what+": a change by a copy", s.Save(t.Context()), session.ErrEnded)
				}))
			}
			c.want(ms, what+": the browser after that", "ann: [a=1 b=2]")
		}
	}
}

// A request that is under way doesn't see the elevation that it has met, also not after its save.
func TestElevationIsNotTakenOver(t *testing.T) {
	t.Parallel()
	ms := servers(t, 2)
	c := newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Login("ann") })
	device, _ := device(t, ms[0], "ann", "")
	thief := c.copy().start(ms[1], func(v *visit, s *session.Session) {
		v.pause()
		s.Set("a", 1)
		s.Save(t.Context())
		check(t, "after the save", shown(s.Auth()), "[] 0 true false")
		n, err := s.RevokeOthers(t.Context())
		check(t, "RevokeOthers", n, 0)
		is(t, "RevokeOthers", err, session.ErrEnded)
		is(t, "Reload", s.Reload(t.Context()), session.ErrEnded)
		s.Elevate(session.Auth{Level: 3, Until: time.Now().Add(time.Minute)})
		is(t, "Elevate", s.Err(), session.ErrEnded)
	})
	c.do(ms[0], func(s *session.Session) { s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(time.Minute)}) })
	thief.c = newVisitor(t)
	silent(t, "the request under way", thief.finish())
	device.want(ms, "the user's other device", "ann: []")
	c.do(ms[0], func(s *session.Session) { check(t, "the browser", shown(s.Auth()), "[] 2 true true") })
}

// With bearer tokens, outside a Handler and after the first byte no cookie can be sent: RevokeOthers ends the others
// alone.
func TestRevokeOthersWithoutCookie(t *testing.T) {
	t.Parallel()
	m := server(t)
	device(t, m, "ann", "")
	c, _ := device(t, m, "ann", "this")
	s, err := m.Load(t.Context(), c.value())
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.RevokeOthers(t.Context())
	check(t, "outside", fmt.Sprint(n, err), "1 <nil>")
	c.want([]*session.Manager{m}, "outside", "ann: []")
	device(t, m, "ann", "")
	v := c.start(m, func(v *visit, s *session.Session) {
		s.Principal()
		v.out.Write([]byte("page"))
		n, err := s.RevokeOthers(t.Context())
		check(t, "after the first byte", fmt.Sprint(n, err), "1 <nil>")
	})
	silent(t, "after the first byte", v.finish())
	c.want([]*session.Manager{m}, "after the first byte", "ann: []")
}

// A Login with a Clear takes nothing over from requests that were anonymous: what one of them sets meanwhile is
// dropped.
func TestClearWithLogin(t *testing.T) {
	t.Parallel()
	for _, clear := range []bool{false, true} {
		ms := servers(t, 2)
		c := newVisitor(t)
		c.do(ms[0], func(s *session.Session) { s.Set("basket", 1) })
		planted := c.copy().start(ms[1], func(v *visit, s *session.Session) { v.pause(); s.Set("planted", 1) })
		c.do(ms[0], func(s *session.Session) {
			if clear {
				s.Clear()
			}
			s.Login("ann")
		})
		planted.c = newVisitor(t)
		silent(t, "the anonymous request", planted.finish())
		want := "ann: [basket=1 planted=1]"
		if clear {
			want = "ann: []"
		}
		c.want(ms, fmt.Sprintf("Clear %v", clear), want)
		same := c.copy().start(ms[1], func(v *visit, s *session.Session) { v.pause(); s.Set("own", 1) })
		c.do(ms[0], func(s *session.Session) { s.Clear(); s.Login("ann") })
		same.c = newVisitor(t)
		same.finish()
		c.want(ms, "the same principal", "ann: [own=1]")
	}
}
