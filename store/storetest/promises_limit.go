package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

var limitPromises = []clause{{
	name: "MaxSessionsAmongLogins", twoOpens: true, about: aboutIndex,
	rule: "with Config.MaxSessions logins at the same time, on servers whose clocks differ, leave exactly " +
		"as many sessions as there may be, and a browser that logs in again ends no other's: a listing " +
		"that misses a record written before leaves more.",
	run: maxSessionsAmongLogins,
}}

// ahead is a store as a server with a wrong clock uses it: the sessions that it creates have that clock's time.
type ahead struct {
	store.Store
	store.Lister
	by      time.Duration
	created *sync.Map // CreatedAt by key
}

func (s ahead) Create(ctx context.Context, r store.Record) error {
	if r.Kind == store.Live {
		r.CreatedAt = r.CreatedAt.Add(s.by)
		s.created.Store(r.Key, r.CreatedAt)
	}
	return s.Store.Create(ctx, r)
}

func (s ahead) Replace(ctx context.Context, r store.Record, version uint64) error {
	if at, ok := s.created.Load(r.Key); ok {
		r.CreatedAt = at.(time.Time)
	}
	return s.Store.Replace(ctx, r, version)
}

func clock(s store.Store, by time.Duration) store.Store {
	l, _ := store.As[store.Lister](s)
	return ahead{s, l, by, &sync.Map{}}
}

func maxSessionsAmongLogins(p *probe, a, b store.Store) {
	const logins, most = 50, 3
	st := p.configured(func(_ int, c *session.Config) {
		c.MaxSessions, c.StoreTimeout = most, time.Minute // however busy the machine is
	},
		clock(a, 0), clock(b, 5*time.Second), clock(a, -7*time.Second))
	defer st.close()
	principal := newRecord().Principal
	users := make([]*browser, logins)
	for i := range users {
		users[i] = st.browser()
	}
	login := func(i int) {
		users[i].start(st.servers[i%3], func(_ *visit, s *session.Session) {
			s.Login(principal)
			if err := s.Save(p.ctx); err != nil && !errors.Is(err, session.ErrEnded) { // overtaken
				p.Errorf("Login of one of %d at the same time: %v", logins, err)
			}
		}).finish()
	}
	alive := func(what string) (alive []int) {
		for i, u := range users {
			u.start(st.servers[0], func(_ *visit, s *session.Session) {
				if s.Principal() == principal {
					alive = append(alive, i)
				}
			}).finish()
		}
		if len(alive) != most {
			p.Errorf("MaxSessions %d: %s: %d sessions are alive", most, what, len(alive))
		}
		if n := len(st.list(st.servers[1].Sessions(p.ctx, principal))); n != most {
			p.Errorf("MaxSessions %d: %s: %d sessions are listed", most, what, n)
		}
		return alive
	}
	p.each(logins, login)
	left := alive("after logins at the same time")
	for _, i := range left {
		login(i)
	}
	again := alive("after logins over own sessions")
	for j := range min(len(left), len(again)) {
		if left[j] != again[j] {
			p.Errorf("MaxSessions %d: a browser that logged in again ended another one's session", most)
			break
		}
	}
}
