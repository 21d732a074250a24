package storetest

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

var writePromises = []clause{{
	name: "P1KeepsEveryKey", twoOpens: true,
	rule: "of overlapping requests of one session that change different keys all keep their changes, " +
		"on one server and on several: a store that overwrites without comparing versions keeps one of 16.",
	run: keepsEveryKey,
}, {
	name: "P1CountsEveryUpdate", twoOpens: true,
	rule: "overlapping Updates of one key all count, exactly once each, on one server and on several.",
	run:  countsEveryUpdate,
}, {
	name: "P1TakeHasOneWinner", twoOpens: true,
	rule: "of many requests that Take a one-time value exactly one gets it: a code that two requests " +
		"can redeem is no code.",
	run: takeHasOneWinner,
}, {
	name: "P3RenewalKeepsWrites", twoOpens: true,
	rule: "when Login or Renew changes the ID, requests that had begun before keep their writes, and " +
		"only the one answer that made the new ID carries a cookie.",
	run: renewalKeepsWrites,
}, {
	name: "P3LoginAmongWrites", twoOpens: true,
	rule: "a login in the middle of a page's parallel requests loses none of their writes, and no late " +
		"answer takes the new cookie away: otherwise users are logged out at random.",
	run: loginAmongWrites,
}, {
	name: "P3ParallelRenewals", twoOpens: true,
	rule: "of parallel Renews one changes the ID; of parallel Logins every answer's cookie is one that " +
		"works: the browser keeps whichever comes last.",
	run: parallelRenewals,
}, {
	name: "P3NothingCrossesUsers", twoOpens: true,
	rule: "a request that had begun under one user leaves nothing in the session of another who logged " +
		"in meanwhile in the same browser.",
	run: nothingCrossesUsers,
}}

// overlap sends n requests that have all read the session before any of them changes it, and lets them end at once.
func (b *browser) overlap(servers []*session.Manager, n int, change func(i int, s *session.Session)) []*visit {
	visits := make([]*visit, n)
	for i := range visits {
		visits[i] = b.start(servers[i%len(servers)], func(v *visit, s *session.Session) {
			v.pause()
			change(i, s)
		})
	}
	b.st.p.each(n, func(i int) { visits[i].finish() })
	return visits
}

// settings are the numbers of requests and servers in which writes overlap.
func (p *probe) settings(a, b store.Store, f func(st *site, servers []*session.Manager, n int, what string)) {
	three := p.site(a, b)
	defer three.close()
	f(three, three.servers[:1], 16, "16 requests to one server")
	f(three, three.servers, 16, "16 requests to three servers")
	f(three, three.servers[:1], 64, "64 requests to one server")
	f(three, three.servers, 64, "64 requests to three servers")
	stores := make([]store.Store, 16)
	for i := range stores {
		stores[i] = pick(i, a, b)
	}
	many := p.servers(stores...)
	defer many.close()
	f(many, many.servers, len(stores), "16 requests to a server each")
}

func keepsEveryKey(p *probe, a, b store.Store) {
	p.settings(a, b, func(st *site, servers []*session.Manager, n int, what string) {
		user := st.browser()
		user.do(servers[0], func(s *session.Session) { set(s, "before", -1) })
		visits := user.overlap(servers, n, func(i int, s *session.Session) { set(s, fmt.Sprint("key", i), i) })
		want := content{values: map[string]int{"before": -1}}
		for i, v := range visits {
			v.code(http.StatusOK, what)
			v.silent(what)
			want.values[fmt.Sprint("key", i)] = i
		}
		user.holding(want, what)
	})
}

func countsEveryUpdate(p *probe, a, b store.Store) {
	p.settings(a, b, func(st *site, servers []*session.Manager, n int, what string) {
		user := st.browser()
		user.do(servers[0], func(s *session.Session) { set(s, "n", 1000) })
		visits := user.overlap(servers, n, func(_ int, s *session.Session) {
			add(s, "n")
			add(s, "n")
		})
		for _, v := range visits {
			v.code(http.StatusOK, what)
		}
		user.holding(content{values: map[string]int{"n": 1000 + 2*n}}, what)
	})
}

func takeHasOneWinner(p *probe, a, b store.Store) {
	const takers, value = 100, 4711
	st := p.site(a, b)
	defer st.close()
	user := st.browser()
	user.do(st.servers[0], func(s *session.Session) { set(s, "code", value); set(s, "kept", 1) })
	var winners atomic.Int32
	user.overlap(st.servers, takers, func(_ int, s *session.Session) {
		got, ok, err := session.Key[int]("code").Take(p.ctx, s)
		p.want(nil, err, "Take")
		if ok {
			winners.Add(1)
		}
		if ok != (got == value) {
			p.Errorf("Take: got %d, %t", got, ok)
		}
	})
	if n := winners.Load(); n != 1 {
		p.Errorf("%d of %d requests that Take a value got it, want 1", n, takers)
	}
	user.holding(content{values: map[string]int{"kept": 1}}, "after a Take")
}

// An idChange changes a session's ID.
type idChange struct {
	name   string
	first  string // who is logged in before; "" nobody
	then   string
	renews bool // the old cookie leads to the new ID for a while
	do     func(s *session.Session)
}

// idChanges are the ways to a new ID that keep the values. Their users are nobody else's.
func idChanges() []idChange {
	user := newRecord().Principal
	login := func(s *session.Session) { s.Login(user) }
	return []idChange{
		{"Renew of an anonymous session", "", "", true, (*session.Session).Renew},
		{"Renew of a user's session", user, user, true, (*session.Session).Renew},
		{"Login", "", user, false, login},
		{"Login of the same user again", user, user, false, login},
	}
}

func renewalKeepsWrites(p *probe, a, b store.Store) {
	const writers = 6
	st := p.site(a, b)
	defer st.close()
	for _, m := range idChanges() {
		user := st.browser()
		user.do(st.servers[0], func(s *session.Session) {
			if m.first != "" {
				s.Login(m.first)
			}
			set(s, "before", -1)
		})
		old := user.holds()
		write := func(i int) *visit {
			return user.start(st.servers[i%3], func(v *visit, s *session.Session) {
				v.pause()
				set(s, fmt.Sprint("key", i), i)
				add(s, "n")
			})
		}
		var writes [writers]*visit
		for i := range writes {
			writes[i] = write(i)
		}
		mover := user.start(st.servers[1], func(v *visit, s *session.Session) {
			m.do(s)
			set(s, "mover", 7)
			v.pause()
		})
		want := content{m.then, map[string]int{"before": -1, "mover": 7, "n": writers}}
		for i, v := range writes {
			if i == writers/2 {
				if mover.finish(); user.holds() == old {
					p.Errorf("%s: the answer has no new cookie", m.name)
				}
			}
			what := fmt.Sprintf("%s: a write of a request that began before it, number %d", m.name, i)
			v.finish().code(http.StatusOK, what)
			v.silent(what)
			want.values[fmt.Sprint("key", i)] = i
		}
		mover.code(http.StatusOK, m.name)
		user.holding(want, m.name)

		// The browser sent this one before the mover's answer came, but it arrives after it.
		straggler := &browser{st: st, cookie: old}
		seen := content{values: map[string]int{}}
		if m.renews {
			seen = want
		}
		v := straggler.do(st.servers[2], func(s *session.Session) {
			if got := read(s); !got.equal(seen) {
				p.Errorf("%s: a late request with the old cookie sees %v, want %v", m.name, got, seen)
			}
			set(s, "straggler", 1)
		})
		v.silent(m.name + ": a late request with the old cookie")
		if m.renews {
			want.values["straggler"] = 1
		}
		user.holding(want, m.name+", after a late request")
	}
}

func loginAmongWrites(p *probe, a, b store.Store) {
	const rounds, requests = 8, 9
	st := p.site(a, b)
	defer st.close()
	for range rounds {
		principal := newRecord().Principal
		user := st.browser()
		user.do(st.servers[0], func(s *session.Session) { set(s, "before", -1) })
		want := content{principal, map[string]int{"before": -1, "n": requests - 1}}
		for i := 1; i < requests; i++ {
			want.values[fmt.Sprint("key", i)] = i
		}
		visits := user.overlap(st.servers, requests, func(i int, s *session.Session) {
			if i == 0 {
				s.Login(principal)
				return
			}
			set(s, fmt.Sprint("key", i), i)
			add(s, "n")
		})
		for i, v := range visits {
			v.code(http.StatusOK, "a request parallel to a login")
			if i > 0 {
				v.silent("a request parallel to a login")
			}
		}
		user.holding(want, "after a login among parallel requests")
	}
}

func parallelRenewals(p *probe, a, b store.Store) {
	const requests = 8
	st := p.site(a, b)
	defer st.close()
	for _, m := range idChanges() {
		user := st.browser()
		user.do(st.servers[0], func(s *session.Session) {
			if m.first != "" {
				s.Login(m.first)
			}
			set(s, "before", -1)
		})
		visits := user.overlap(st.servers, requests, func(i int, s *session.Session) {
			m.do(s)
			set(s, fmt.Sprint("key", i), i)
		})
		cookies := 0
		for i, v := range visits {
			v.code(http.StatusOK, m.name+", parallel")
			for _, c := range v.w.Result().Cookies() {
				cookies++
				got := st.shows(st.servers[i%3], c.Value)
				if got.principal != m.then || got.values[fmt.Sprint("key", i)] != i {
					p.Errorf("%s, parallel: an answer's cookie gives %v", m.name, got)
				}
			}
		}
		if want := map[bool]int{true: 1, false: requests}[m.renews]; cookies != want {
			p.Errorf("%s, parallel: %d of %d answers have a cookie, want %d", m.name, cookies, requests, want)
		}
	}
}

func nothingCrossesUsers(p *probe, a, b store.Store) {
	st := p.site(a, b)
	defer st.close()
	ann, ben := newRecord().Principal, newRecord().Principal
	user := st.browser()
	user.do(st.servers[0], func(s *session.Session) { s.Login(ann); set(s, "ann", 1) })
	var late []*visit
	for i, change := range []func(s *session.Session){
		func(s *session.Session) { set(s, "late", 1) },
		func(s *session.Session) { add(s, "late") },
		func(s *session.Session) { s.Renew(); set(s, "late", 1) },
	} {
		late = append(late, user.start(st.servers[i%3], func(v *visit, s *session.Session) {
			v.pause()
			change(s)
		}))
	}
	user.do(st.servers[1], func(s *session.Session) { s.Login(ben); set(s, "ben", 1) })
	for _, v := range late {
		v.finish().code(http.StatusOK, "a request of the user before")
		v.silent("a request of the user before")
	}
	user.holding(content{ben, map[string]int{"ben": 1}}, "after another user's login")
}
