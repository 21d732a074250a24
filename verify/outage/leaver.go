package outage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// leaver is a client who logs in, stays for a moment, and logs out or is revoked, again and again.
type leaver struct {
	site *Site

	mu   sync.Mutex
	past []past
}

// past is one of the leaver's sessions.
type past struct {
	principal string
	cookie    string
	end       outcome
}

func (l *leaver) browse(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if !l.visit(ctx, fmt.Sprintf("leaver%d", n)) {
			pause(ctx, 20*time.Millisecond)
		}
		pause(ctx, time.Duration(1+rand.IntN(10))*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// visit is one session from its beginning to its end.
func (l *leaver) visit(ctx context.Context, principal string) bool {
	s := l.site
	client := newClient()
	defer client.CloseIdleConnections()
	on := func() int { return rand.IntN(len(s.servers)) }
	a := s.send(ctx, client, on(), "POST", "/login?as="+principal)
	if a.outcome != acknowledged {
		return false
	}
	if a.cookie == "" || a.principal != principal {
		s.find("a login is answered without a session")
		return true
	}
	p := past{principal: principal, cookie: a.cookie}
	if a := s.send(ctx, client, on(), "POST", "/count?save=1"); a.outcome == acknowledged && a.principal != principal &&
		!s.Forgets {
		s.find("a visitor is logged out at once")
	}
	if rand.IntN(2) == 0 || s.NoIndex {
		p.end = s.send(ctx, client, on(), "POST", "/logout").outcome
	} else if err := s.revoke(ctx, on(), principal); err != nil {
		p.end = uncertain // of several sessions some may have been ended
	}
	if p.end == acknowledged {
		if a := s.replay(ctx, on(), p.cookie); a.outcome == acknowledged && a.principal != "" {
			s.find("a session is alive after its end was acknowledged")
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.past = append(l.past, p)
	return p.end == acknowledged
}

// replay sends a cookie that somebody has copied.
func (s *Site) replay(ctx context.Context, on int, cookie string) answer {
	client := newClient()
	defer client.CloseIdleConnections()
	u, err := url.Parse(s.servers[on].http.URL)
	if err != nil {
		panic(err)
	}
	client.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: cookie}})
	return s.send(ctx, client, on, "GET", "/read")
}

// check looks whether the ended sessions have ended, and those alive whose end was refused.
func (l *leaver) check(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.site
	for _, p := range l.past {
		var a answer
		if !s.until(ctx, func() bool {
			a = s.replay(ctx, rand.IntN(len(s.servers)), p.cookie)
			return a.outcome == acknowledged
		}) {
			s.find("a session can't be read in the end")
			return
		}
		alive := a.principal == p.principal
		s.mu.Lock()
		s.counts.Sessions++
		switch {
		case a.principal != "" && !alive:
			s.findLocked("a session is somebody else's")
		case p.end == acknowledged:
			s.counts.Ended++
			if alive {
				s.counts.Revived++
			}
			if alive && !s.Forgets {
				s.findLocked("an ended session is alive in the end")
			}
		case p.end == refused && !alive:
			s.counts.Gone++
			if !s.Forgets {
				s.findLocked("a session is gone whose logout was refused")
			}
		}
		s.mu.Unlock()
	}
}
