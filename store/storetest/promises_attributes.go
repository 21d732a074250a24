package storetest

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

var attributePromises = []clause{{
	name: "P1AttributesBelongToTheSession", twoOpens: true,
	rule: "an attribute survives Clear, Renew and a save of another request, and is gone after Login " +
		"and Logout; concurrent Updates of attributes are all applied; lists show the public ones.",
	run: attributesBelongToTheSession,
}}

const (
	attribute = session.Attribute[int]("storetest")
	public    = session.PublicAttribute[int]("storetest")
)

// hasAttributes reports unless every server shows both attributes with that value, or neither for a value of 0.
func (b *browser) hasAttributes(want int, what string) {
	b.st.p.Helper()
	for _, m := range b.st.servers {
		b.do(m, func(s *session.Session) {
			private, ok := attribute.Get(s)
			shown, okShown := public.Get(s)
			if private != want || shown != want || ok != (want != 0) || okShown != ok {
				b.st.p.Errorf("%s: the attributes are %d and %d, want %d", what, private, shown, want)
			}
			for _, k := range s.Keys() {
				if k != "n" && k != "more" {
					b.st.p.Errorf("%s: an attribute is among the keys, as %q", what, k)
				}
			}
		})
	}
}

func attributesBelongToTheSession(p *probe, a, b store.Store) {
	st := p.site(a, b)
	defer st.close()
	one, two := newRecord().Principal, newRecord().Principal
	user := st.browser()
	count := func(s *session.Session) {
		attribute.Update(s, func(n int) int { return n + 1 })
		public.Update(s, func(n int) int { return n + 1 })
	}

	user.do(st.servers[0], func(s *session.Session) { set(s, "n", 1); count(s) })
	user.hasAttributes(1, "after a first save")
	user.do(st.servers[1], func(s *session.Session) { s.Clear(); set(s, "n", 2) })
	user.hasAttributes(1, "after Clear")
	user.do(st.servers[2], (*session.Session).Renew)
	user.hasAttributes(1, "after Renew")

	slow := user.start(st.servers[0], func(v *visit, s *session.Session) { v.pause(); set(s, "more", 1) })
	user.do(st.servers[1], count)
	slow.finish().code(http.StatusOK, "a request beside one that changes attributes")
	user.hasAttributes(2, "after a save of another request")

	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			user.start(st.servers[i%3], func(_ *visit, s *session.Session) { count(s) }).finish().
				code(http.StatusOK, fmt.Sprintf("Update %d of 8 of attributes", i+1))
		})
	}
	wg.Wait()
	user.hasAttributes(10, "after 8 concurrent Updates")

	late := user.start(st.servers[2], func(v *visit, s *session.Session) { v.pause(); count(s) })
	user.do(st.servers[0], func(s *session.Session) { s.Login(one) })
	late.finish().code(http.StatusOK, "a request that changes attributes during a login")
	user.hasAttributes(0, "after Login")
	user.do(st.servers[1], count)
	user.hasAttributes(1, "set after Login")
	if !p.cfg.noIndex {
		infos := st.list(st.servers[2].Sessions(p.ctx, one))
		if len(infos) != 1 {
			p.Errorf("got %d sessions in a list, want 1", len(infos))
		}
		for _, i := range infos {
			if n, ok := public.Of(i); n != 1 || !ok {
				p.Errorf("a list shows the public attribute %d, %v, want 1", n, ok)
			}
		}
	}
	user.do(st.servers[2], func(s *session.Session) { s.Login(two) })
	user.hasAttributes(0, "after Login as somebody else")
	user.do(st.servers[0], count)
	user.do(st.servers[1], (*session.Session).Logout)
	user.hasAttributes(0, "after Logout")
}
