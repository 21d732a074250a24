package outage

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outcome is what a client was told.
type outcome int

const (
	acknowledged outcome = iota
	refused              // nothing was changed
	uncertain            // it may have been, or may be yet
	nothing              // the client gave up
)

// answer is what came back.
type answer struct {
	outcome   outcome
	status    int
	principal string
	visits    int // -1: not known
	cookie    string
	cookies   int
	dropped   bool
}

// newClient returns a browser: it keeps its cookies.
func newClient() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: tabs}}
}

// send sends a request, and checks what holds for every answer.
func (s *Site) send(ctx context.Context, client *http.Client, on int, method, path string) answer {
	name := strconv.FormatInt(s.requests.Add(1), 10)
	f := new(fate)
	s.fates.Store(name, f)
	defer s.fates.Delete(name)
	// Who stops a test lets the requests under way come to their ends: they count.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.bound()+time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.servers[on].http.URL+path, nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set(header, name)
	what, _, _ := strings.Cut(path, "?")
	began := time.Now()
	res, err := client.Do(r)
	if err != nil {
		s.find("no answer to %s", what)
		return answer{outcome: nothing}
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	s.inTime(what, time.Since(began))
	if err != nil {
		s.find("half an answer to %s", what)
		return answer{outcome: nothing}
	}
	return s.judge(what, res, string(body), f)
}

// judge reads an answer.
func (s *Site) judge(what string, res *http.Response, body string, f *fate) answer {
	a := answer{status: res.StatusCode, visits: -1, dropped: f.dropped.Load(), cookies: len(res.Cookies())}
	for _, c := range res.Cookies() {
		a.cookie = c.Value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch res.StatusCode {
	case http.StatusOK:
		s.counts.OK++
		n := ""
		a.principal, n, _ = strings.Cut(strings.TrimPrefix(body, "["), "] ")
		if got, err := strconv.Atoi(n); err == nil {
			a.visits = got
		}
		return a
	case http.StatusServiceUnavailable:
	default:
		s.findLocked("status %d for %s", res.StatusCode, what)
		a.outcome = nothing
		return a
	}
	switch {
	case f.uncertain.Load():
		a.outcome = uncertain
		s.counts.Uncertain++
	case f.unavailable.Load():
		a.outcome = refused
		s.counts.Refused++
	default:
		s.findLocked("a 503 for %s without an event that says what happened", what)
		a.outcome = uncertain
	}
	if res.Header.Get("Retry-After") == "" {
		s.findLocked("a 503 for %s without Retry-After", what)
	}
	if a.cookies > 0 {
		s.findLocked("a 503 for %s changes the client's cookies", what)
	}
	if res.Header.Get(handled) != "" || strings.HasPrefix(body, "[") {
		s.findLocked("a 503 for %s has the handler's output", what)
	}
	return a
}

// visitor is a client who stays logged in, counts its visits, and knows what it was told about them.
type visitor struct {
	site   *Site
	name   string
	client *http.Client
	renews bool

	mu      sync.Mutex
	begun   int // counts sent, less those that were refused
	done    int // acknowledged
	reads   int // answered
	failed  int // told 503
	numbers map[int]bool
}

func (s *Site) visitor(name string) *visitor {
	return &visitor{site: s, name: name, client: newClient(), numbers: map[int]bool{}}
}

// told is what the visitor was told so far.
type told struct{ done, reads, failed int }

func (v *visitor) told() told {
	v.mu.Lock()
	defer v.mu.Unlock()
	return told{v.done, v.reads, v.failed}
}

// browse sends requests to the servers in turn.
func (v *visitor) browse(ctx context.Context) {
	for ctx.Err() == nil {
		on := rand.IntN(len(v.site.servers))
		pause := time.Duration(1+rand.IntN(10)) * time.Millisecond
		var ok bool
		if rand.IntN(3) == 0 {
			ok = v.read(ctx, on)
		} else {
			ok = v.count(ctx, on)
		}
		if !ok {
			pause += 20 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (v *visitor) send(ctx context.Context, on int, method, path string) answer {
	return v.site.send(ctx, v.client, on, method, path)
}

// count counts a visit.
func (v *visitor) count(ctx context.Context, on int) bool {
	path := "/count?"
	if rand.IntN(2) == 0 {
		path += "save=1"
	}
	renew := v.renews && rand.IntN(4) == 0
	if renew {
		path += "&renew=1"
	}
	v.mu.Lock()
	least := v.done + 1
	v.begun++
	v.mu.Unlock()
	a := v.send(ctx, on, "POST", path)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch a.outcome {
	case acknowledged:
		v.done++
		v.loggedIn(a)
		v.within("count", a.visits, least)
		if a.visits >= 0 && v.numbers[a.visits] && !v.site.Forgets {
			v.site.find("two counts of one session gave the same number")
		}
		v.numbers[a.visits] = true
		if !renew && a.cookies > 0 {
			v.site.find("a count changes the client's cookies")
		}
		return true
	case refused:
		v.begun--
	}
	v.failed++
	return false
}

// read reads the number of visits.
func (v *visitor) read(ctx context.Context, on int) bool {
	v.mu.Lock()
	least := v.done
	v.mu.Unlock()
	a := v.send(ctx, on, "GET", "/read")
	v.mu.Lock()
	defer v.mu.Unlock()
	if a.outcome != acknowledged {
		if a.outcome == uncertain {
			v.site.find("a read is uncertain")
		}
		v.failed++
		return false
	}
	v.reads++
	v.loggedIn(a)
	v.within("read", a.visits, least)
	if a.cookies > 0 {
		v.site.find("a read changes the client's cookies")
	}
	return true
}

// loggedIn checks that an answer was for this visitor.
func (v *visitor) loggedIn(a answer) {
	if v.site.Forgets && a.principal == "" {
		return
	}
	if a.principal != v.name {
		v.site.find("a visitor is logged out, or somebody else")
	}
	if a.dropped {
		v.site.find("a change of a visitor was dropped")
	}
}

// within checks a number: at least the counts that were acknowledged before it was asked for, at most all that were not
// refused. The caller holds mu.
func (v *visitor) within(what string, n, least int) {
	switch {
	case n < 0:
	case n < least && !v.site.Forgets:
		v.site.find("a %s misses what was acknowledged before", what)
	case n > v.begun:
		v.site.find("a %s shows more than was sent", what)
	}
}

// check looks at what is left in the end.
func (v *visitor) check(ctx context.Context) {
	lost := 0
	for on := range v.site.servers {
		var a answer
		if !v.site.until(ctx, func() bool {
			a = v.send(ctx, on, "GET", "/read")
			return a.outcome == acknowledged
		}) {
			v.site.find("a session can't be read in the end")
			return
		}
		v.mu.Lock()
		v.loggedIn(a)
		v.within("last read", a.visits, v.done)
		lost = max(lost, v.done-a.visits)
		if a.principal == "" {
			lost = -1
		}
		v.mu.Unlock()
	}
	v.site.mu.Lock()
	defer v.site.mu.Unlock()
	v.site.counts.Sessions++
	switch {
	case lost < 0:
		v.site.counts.Gone++
	case lost > 0:
		v.site.counts.Lost += lost
	}
}
