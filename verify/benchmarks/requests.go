package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hipflask/session/verify/benchmarks/measure"
	"github.com/hipflask/session/verify/benchmarks/peers"
)

// operation is a kind of request. Its handler is the same for all libraries.
type operation struct {
	name   string
	short  string // without spaces, for benchmarks
	cookie bool   // the requests carry cookies of stored sessions
	// handler makes the handler. What goes wrong in it is reported to problems.
	handler func(p *problems) peers.Handler
	changes bool
}

const (
	note    = "a few words that a visitor left in a form, so that a session has about two hundred bytes"
	colour  = "dark green"
	visits  = "visits"
	theme   = "theme"
	remarks = "remarks"
)

var operations = []operation{
	{name: "no cookie, untouched", short: "nocookie", handler: func(*problems) peers.Handler {
		return func(x peers.Exchange) { x.Reply() }
	}},
	{name: "valid cookie, untouched", short: "untouched", cookie: true, handler: func(*problems) peers.Handler {
		return func(x peers.Exchange) { x.Reply() }
	}},
	{name: "read one key", short: "read", cookie: true, handler: func(p *problems) peers.Handler {
		return func(x peers.Exchange) {
			if got := x.Text(theme); got != colour {
				p.report("read %q, want %q", got, colour)
			}
			x.Reply()
		}
	}},
	{name: "change one key", short: "change", cookie: true, changes: true, handler: func(p *problems) peers.Handler {
		n := 1 // what is stored at first
		return func(x peers.Exchange) {
			n++
			x.SetCount(visits, n)
			x.Save()
			x.Reply()
		}
	}},
}

// problems keeps the first thing that went wrong in handlers.
type problems struct{ first error }

func (p *problems) report(format string, args ...any) {
	if p.first == nil {
		p.first = fmt.Errorf(format, args...)
	}
}

// scene is a library with sessions in its store.
type scene struct {
	library peers.Library
	app     peers.App
	cookies []string // Cookie headers, one for each session
	users   []string
}

// newScene logs n users in and looks whether each got a session of its own.
func newScene(l peers.Library, dir string, n int) (*scene, error) {
	app, err := l.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	s := &scene{library: l, app: app}
	var user string
	login := app.Serve(func(x peers.Exchange) {
		x.Login(user)
		x.SetText(theme, colour)
		x.SetText(remarks, note)
		x.SetCount(visits, 1)
		x.Save()
		x.Reply()
	})
	distinct := map[string]bool{}
	for i := range n {
		user = fmt.Sprintf("user-%06d", i)
		answer := login.Prepare().Send("")
		cookie := cookieOf(answer)
		if cookie == "" || distinct[cookie] {
			return nil, fmt.Errorf("%s: login %d got no session of its own (status %d)", l.Name, i, answer.Status)
		}
		distinct[cookie] = true
		s.cookies, s.users = append(s.cookies, cookie), append(s.users, user)
	}
	return s, s.check(func(x peers.Exchange) bool { return x.Count(visits) == 1 })
}

// check looks whether every cookie brings its user's session, and whether more holds.
func (s *scene) check(more func(x peers.Exchange) bool) error {
	var user string
	var good bool
	look := s.app.Serve(func(x peers.Exchange) {
		good = x.User() == user && x.Text(theme) == colour && x.Text(remarks) == note && more(x)
		x.Reply()
	})
	for i, cookie := range s.cookies {
		user, good = s.users[i], false
		if answer := look.Prepare().Send(cookie); answer.Status != 200 || !good {
			return fmt.Errorf("%s: session %d does not come back as it was stored", s.library.Name, i)
		}
	}
	return nil
}

// cookieOf returns the Cookie header that a browser sends after an answer.
func cookieOf(a peers.Answer) string {
	var pairs []string
	for _, value := range a.SetCookies {
		pair, _, _ := strings.Cut(value, ";")
		pairs = append(pairs, pair)
	}
	return strings.Join(pairs, "; ")
}

// subject returns op as a subject that sends its requests for one session after the other, and a check to be called
// when it has run.
func (s *scene) subject(op operation) (measure.Subject, func() error) {
	var p problems
	request := s.app.Serve(op.handler(&p)).Prepare()
	cookies := s.cookies
	if !op.cookie {
		cookies = []string{""}
	}
	sent := 0
	var last string // the cookie that came with the last answer
	run := func(n int) {
		for range n {
			answer := request.Send(cookies[sent%len(cookies)])
			sent++
			if answer.Status != 200 {
				p.report("got status %d", answer.Status)
			}
			if op.changes && s.library.Keeps == peers.Cookie {
				last = answer.SetCookies[0]
			}
		}
	}
	check := func() error {
		if p.first != nil {
			return fmt.Errorf("%s, %s: %w", s.library.Name, op.name, p.first)
		}
		if !op.changes {
			return nil
		}
		after := *s
		if s.library.Keeps == peers.Cookie {
			i := (sent - 1) % len(cookies)
			after.cookies = []string{cookieOf(peers.Answer{SetCookies: []string{last}})}
			after.users = s.users[i : i+1]
		}
		// The last change of each session is one of the last len(cookies).
		return after.check(func(x peers.Exchange) bool { return x.Count(visits) > sent-len(cookies) })
	}
	return measure.Subject{Name: s.library.Name, Run: run}, check
}

// burst returns as many requests at once as size says, of one session after the other, each of which counts a visit.
// kept says how many were counted; it fails if one is missing in a session of ours.
func (s *scene) burst(size int) (subject measure.Subject, kept func() (string, error)) {
	server := s.app.Serve(func(x peers.Exchange) {
		peers.Increment(x, visits)
		x.Save()
		x.Reply()
	})
	requests := make([]peers.Request, size)
	for i := range requests {
		requests[i] = server.Prepare()
	}
	sent := 0
	var failed atomic.Int64
	run := func(n int) {
		for range n {
			cookie := s.cookies[sent/size%len(s.cookies)]
			var all sync.WaitGroup
			for _, request := range requests {
				all.Go(func() {
					if request.Send(cookie).Status != 200 {
						failed.Add(1)
					}
				})
			}
			all.Wait()
			sent += size
		}
	}
	return measure.Subject{Name: s.library.Name, Run: run}, func() (string, error) {
		counted := -len(s.cookies) // what was stored at first
		if err := s.check(func(x peers.Exchange) bool { counted += x.Count(visits); return true }); err != nil {
			return "", err
		}
		if failed.Load() > 0 || s.library.Module == peers.Ours && counted != sent {
			return "", fmt.Errorf("%s: %d visits, %d failed, %d were counted", s.library.Name, sent,
				failed.Load(), counted)
		}
		return share(counted, sent), nil
	}
}
