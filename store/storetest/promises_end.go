package storetest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

var endPromises = []clause{{
	name: "P2LogoutIsFinal", twoOpens: true,
	rule: "no request that had begun before, reading or writing, on this server or another, brings back " +
		"a session that was logged out, whatever IDs it had meanwhile: a store that creates on Replace " +
		"revives it every time.",
	run: logoutIsFinal,
}, {
	name: "P2RevokeIsFinal", twoOpens: true, about: aboutIndex,
	rule: "the same for a session that was ended from outside, by Revoke, RevokeAll or RevokeOthers.",
	run:  revokeIsFinal,
}, {
	name: "P2LateLogout", twoOpens: true,
	rule: "a logout ends the session also if others renewed it, or logged the same user in again, while " +
		"it was under way.",
	run: lateLogout,
}, {
	name: "P2LoginAfterTheEnd", twoOpens: true,
	rule: "a login that was under way when its session was ended gives a session of its own, without " +
		"the values of the one that ended.",
	run: loginAfterTheEnd,
}, {
	name: "P2RevokeAllAmongRenewals", twoOpens: true, about: aboutIndex,
	rule: "\"log out everywhere\" misses no session that is being renewed or written at the same time.",
	run:  revokeAllAmongRenewals,
}, {
	name: "P2RealmsAreApart", twoOpens: true, about: aboutIndex,
	rule: "Managers of several realms keep their principals apart in one store: lists and RevokeAll " +
		"find those of one realm alone.",
	run: realmsAreApart,
}}

func realmsAreApart(p *probe, a, b store.Store) {
	names := []string{"one", "two", "", strings.Repeat("é", 32)}
	st := p.realms(names, a, b, b, a)
	defer st.close()
	principal := newRecord().Principal
	var users []*browser // two of each realm
	for _, m := range st.servers {
		for range 2 {
			user := st.browser()
			user.do(m, func(s *session.Session) { s.Login(principal); set(s, "mine", 1) })
			user.do(m, (*session.Session).Renew)
			users = append(users, user)
		}
	}
	for i, m := range st.servers {
		infos := st.list(m.Sessions(p.ctx, principal))
		if len(infos) != 2 || infos[0].Principal != principal {
			p.Errorf("realm %q: %d sessions are listed, want 2 of the principal as it was given to Login",
				names[i], len(infos))
		}
	}
	for i, m := range st.servers {
		if i%2 == 1 {
			n, err := m.RevokeAll(p.ctx, principal)
			if p.want(nil, err, "RevokeAll"); n != 2 {
				p.Errorf("realm %q: RevokeAll ended %d sessions, want 2", names[i], n)
			}
		}
	}
	for i, m := range st.servers {
		for _, user := range users[2*i : 2*i+2] {
			user.do(m, func(s *session.Session) {
				if live := s.Principal() == principal; live != (i%2 == 0) {
					p.Errorf("realm %q: after RevokeAll of other realms and this one: live is %v, want %v",
						names[i], live, i%2 == 0)
				}
			})
		}
	}
}

// An ending ends the session of a user on one device.
type ending struct {
	name string
	end  func(st *site, user *browser, principal string)
}

var logout = ending{"Logout", func(st *site, user *browser, _ string) {
	user.do(st.servers[1], (*session.Session).Logout)
	if c := user.holds(); c != "" {
		st.p.Errorf("Logout: the browser keeps its cookie")
	}
}}

var revocations = []ending{
	{"Revoke", func(st *site, user *browser, principal string) {
		var handle string
		user.do(st.servers[0], func(s *session.Session) { handle = s.Info().Handle })
		st.p.want(nil, st.servers[1].Revoke(st.p.ctx, principal, handle), "Revoke")
	}},
	{"RevokeAll", func(st *site, _ *browser, principal string) {
		n, err := st.servers[1].RevokeAll(st.p.ctx, principal)
		if st.p.want(nil, err, "RevokeAll"); n != 1 {
			st.p.Errorf("RevokeAll: ended %d sessions, want 1", n)
		}
	}},
	{"RevokeOthers", func(st *site, _ *browser, principal string) {
		other := st.browser()
		other.do(st.servers[1], func(s *session.Session) {
			s.Login(principal)
			n, err := s.RevokeOthers(st.p.ctx)
			if st.p.want(nil, err, "RevokeOthers"); n != 1 {
				st.p.Errorf("RevokeOthers: ended %d sessions, want 1", n)
			}
		})
		other.holding(content{principal, map[string]int{}}, "after RevokeOthers, on the device that stays")
		other.do(st.servers[0], (*session.Session).Logout)
	}},
}

// chains are what happens to a session's ID between the beginning of a slow request and the end of the session.
var chains = []struct {
	name  string
	moves []func(s *session.Session, principal string)
}{
	{"under one ID", nil},
	{"renewed meanwhile", []func(*session.Session, string){renewing}},
	{"logged in again meanwhile", []func(*session.Session, string){loggingIn}},
	{"renewed twice and logged in again meanwhile", []func(*session.Session, string){renewing, loggingIn, renewing}},
}

func renewing(s *session.Session, _ string)          { s.Renew() }
func loggingIn(s *session.Session, principal string) { s.Login(principal) }

// slowRequests are what a request may do that began before the end and goes on after it.
func (p *probe) slowRequests() map[string]func(s *session.Session) {
	return map[string]func(s *session.Session){
		"only reads":         func(s *session.Session) { read(s) },
		"sets a value":       func(s *session.Session) { set(s, "late", 1) },
		"updates a value":    func(s *session.Session) { add(s, "before") },
		"saves before":       func(s *session.Session) { set(s, "late", 1); s.Save(p.ctx) },
		"renews":             func(s *session.Session) { s.Renew() },
		"takes a value":      func(s *session.Session) { session.Key[int]("before").Take(p.ctx, s) },
		"reloads and writes": func(s *session.Session) { s.Reload(p.ctx); set(s, "late", 1) },
	}
}

func logoutIsFinal(p *probe, a, b store.Store) { p.endsAreFinal(a, b, []ending{logout}) }
func revokeIsFinal(p *probe, a, b store.Store) { p.endsAreFinal(a, b, revocations) }

func (p *probe) endsAreFinal(a, b store.Store, endings []ending) {
	st := p.site(a, b)
	defer st.close()
	for _, e := range endings {
		for _, chain := range chains {
			what := fmt.Sprintf("%s of a session, %s", e.name, chain.name)
			principal := newRecord().Principal
			user := st.browser()
			user.do(st.servers[0], func(s *session.Session) { s.Login(principal); set(s, "before", 1) })
			slow := map[string]*visit{}
			for name, change := range p.slowRequests() {
				for i, m := range st.servers[:2] {
					slow[fmt.Sprintf("%s, server %d", name, i)] = user.start(m, func(v *visit, s *session.Session) {
						v.pause()
						change(s)
					})
				}
			}
			for i, f := range chain.moves {
				user.do(st.servers[i%3], func(s *session.Session) { f(s, principal) })
			}
			e.end(st, user, principal)
			user.dead(what + ", at once")
			for name, v := range slow {
				v.finish().code(http.StatusOK, what+": a slow request that "+name)
				v.silent(what + ": a slow request that " + name)
			}
			user.dead(what + ", after slow requests")
			if !p.cfg.noIndex {
				if left := st.list(st.servers[0].Sessions(p.ctx, principal)); len(left) != 0 {
					p.Errorf("%s: %d sessions are listed after it, want none", what, len(left))
				}
			}
		}
	}
}

func lateLogout(p *probe, a, b store.Store) {
	st := p.site(a, b)
	defer st.close()
	for _, chain := range chains {
		principal := newRecord().Principal
		user := st.browser()
		user.do(st.servers[0], func(s *session.Session) { s.Login(principal); set(s, "before", 1) })
		logout := user.start(st.servers[1], func(v *visit, s *session.Session) {
			v.pause()
			s.Logout()
		})
		for i, f := range chain.moves {
			user.do(st.servers[i%3], func(s *session.Session) { f(s, principal); set(s, "after", 1) })
		}
		logout.finish().code(http.StatusOK, "a slow logout")
		user.dead("a slow logout of a session, " + chain.name)
	}
}

func loginAfterTheEnd(p *probe, a, b store.Store) {
	st := p.site(a, b)
	defer st.close()
	for _, chain := range chains {
		principal := newRecord().Principal
		user := st.browser()
		user.do(st.servers[0], func(s *session.Session) { s.Login(principal); set(s, "before", 1) })
		login := user.start(st.servers[0], func(v *visit, s *session.Session) {
			s.Login(principal)
			set(s, "mine", 1)
			v.pause()
		})
		for i, f := range chain.moves {
			user.do(st.servers[i%3], func(s *session.Session) { f(s, principal) })
		}
		user.do(st.servers[1], (*session.Session).Logout)
		login.finish().code(http.StatusOK, "a login under way")
		what := "a login under way when its session was logged out, " + chain.name
		user.holding(content{principal, map[string]int{"mine": 1}}, what)
		user.had = user.had[:len(user.had)-1]
		user.dead(what)
	}
}

func revokeAllAmongRenewals(p *probe, a, b store.Store) {
	const rounds, devices = 12, 4
	st := p.site(a, b)
	defer st.close()
	for range rounds {
		principal := newRecord().Principal
		users := make([]*browser, devices)
		for i := range users {
			users[i] = st.browser()
			users[i].do(st.servers[i%3], func(s *session.Session) { s.Login(principal); set(s, "before", 1) })
		}
		p.each(3*devices+1, func(i int) {
			if i == 3*devices {
				_, err := st.servers[1].RevokeAll(p.ctx, principal)
				p.want(nil, err, "RevokeAll among other requests")
				return
			}
			v := users[i%devices].start(st.servers[i%3], func(_ *visit, s *session.Session) {
				switch i / devices {
				case 0:
					s.Renew()
				case 1:
					set(s, "late", 1)
				default:
					s.Renew()
					add(s, "before")
				}
			}).finish()
			// A Renew may find that RevokeAll has ended its new record, before anybody got the ID: nothing was changed.
			if v.w.Code != http.StatusServiceUnavailable {
				v.code(http.StatusOK, "a request among RevokeAll and renewals")
			}
		})
		for _, u := range users {
			u.dead("RevokeAll among renewals")
		}
		if left := st.list(st.servers[0].Sessions(p.ctx, principal)); len(left) != 0 {
			p.Errorf("RevokeAll among renewals: %d sessions are left", len(left))
		}
	}
}
