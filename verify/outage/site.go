package outage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// Options says what a Site is made of.
type Options struct {
	// Stores has one store for each server of the application, on the same data.
	Stores []store.Store

	// StoreTimeout is that of the Managers. Zero: one second.
	StoreTimeout time.Duration

	// Margin is how much longer than the Managers' timeouts an answer may take, on a busy machine. Zero: 5 seconds.
	Margin time.Duration

	// Patience is how long the clients wait for what has to come: failures in an outage, and the end of it. Zero: a
	// minute.
	Patience time.Duration

	// Forgets says that the outage takes away what was stored: sessions may be gone, and counts may be those of before.
	// What was lost is counted, and is no finding.
	Forgets bool

	// NoIndex says that the store has no index of principals: nobody is revoked.
	NoIndex bool

	// Configure changes what a Manager is made from.
	Configure func(*session.Config)
}

// Site is an application on several servers, and the clients that use it.
type Site struct {
	Options
	key      string
	servers  []*server
	visitors []*visitor
	leaver   *leaver
	requests atomic.Int64
	fates    sync.Map

	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	findings map[string]int
	counts   Counts
}

// Counts is what the clients were told, in how many answers.
type Counts struct {
	OK        int           // done
	Refused   int           // 503, nothing was changed
	Uncertain int           // 503, may have been changed
	Longest   time.Duration // wait for an answer

	Sessions int // that were looked at in the end
	Ended    int // of those, ended by an answer
	Gone     int // lost: live sessions
	Lost     int // lost: changes that were answered as done
	Revived  int // lost: the ends of sessions
}

func (c Counts) String() string {
	text := fmt.Sprintf("%d answers, %d refused, %d uncertain, longest wait %v; %d sessions, %d ended", c.OK, c.Refused,
		c.Uncertain,
		c.Longest.Round(time.Millisecond), c.Sessions, c.Ended)
	if c.Gone+c.Lost+c.Revived > 0 {
		text += fmt.Sprintf("; LOST: %d live sessions, %d acknowledged changes, %d ends", c.Gone, c.Lost, c.Revived)
	}
	return text
}

// stayers is the number of visitors that stay logged in, tabs how many requests each of them has under way.
const (
	stayers = 3
	tabs    = 2
)

// Open starts the servers, logs the visitors in, and lets them go on with requests until Close or Check.
func Open(ctx context.Context, o Options) (*Site, error) {
	if o.StoreTimeout == 0 {
		o.StoreTimeout = time.Second
	}
	if o.Margin == 0 {
		o.Margin = 5 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	s := &Site{Options: o, key: session.NewSecretKey(), findings: map[string]int{}}
	for _, st := range o.Stores {
		srv, err := s.serve(st)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.servers = append(s.servers, srv)
	}
	ctx, s.stop = context.WithCancel(ctx)
	for i := range stayers {
		v := s.visitor(fmt.Sprintf("stayer%d", i))
		v.renews = i == 0
		s.visitors = append(s.visitors, v)
		if !s.until(ctx, func() bool { return v.send(ctx, 0, "POST", "/login?as="+v.name).outcome == acknowledged }) {
			s.Close()
			return nil, errors.New("outage: nobody can log in")
		}
	}
	for _, v := range s.visitors {
		n := tabs
		if v.renews {
			n = 1 // of parallel requests that change the cookie, the last to arrive wins
		}
		for range n {
			s.running.Go(func() { v.browse(ctx) })
		}
	}
	s.leaver = &leaver{site: s}
	s.running.Go(func() { s.leaver.browse(ctx) })
	return s, nil
}

// halt ends the clients' requests.
func (s *Site) halt() {
	if s.stop != nil {
		s.stop()
	}
	s.running.Wait()
}

// Close stops the clients and the servers. The stores stay the caller's.
func (s *Site) Close() {
	s.halt()
	for _, srv := range s.servers {
		srv.http.Close()
		srv.manager.Close()
	}
	for _, v := range s.visitors {
		v.client.CloseIdleConnections()
	}
}

// bound is how long an answer may take: a load, a save that the handler asks for, the one of the first byte, and the
// end of a session, with StoreTimeout for each.
func (s *Site) bound() time.Duration { return 4*s.StoreTimeout + s.Margin }

func (s *Site) inTime(what string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Longest = max(s.counts.Longest, took)
	if took > s.bound() {
		s.findLocked("an answer to %s took longer than it may", what)
	}
}

func (s *Site) find(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findLocked(format, args...)
}

func (s *Site) findLocked(format string, args ...any) { s.findings[fmt.Sprintf(format, args...)]++ }

// Used waits until each visitor's session was changed n more times.
func (s *Site) Used(ctx context.Context, n int) {
	s.more(ctx, n, func(t told) int { return t.done }, "the application is not of use when its store is")
}

// Read waits until each visitor's session was read n more times.
func (s *Site) Read(ctx context.Context, n int) {
	s.more(ctx, n, func(t told) int { return t.reads }, "the application can't read, though its store can")
}

// Failed waits until each visitor was told n more times that it did not work.
func (s *Site) Failed(ctx context.Context, n int) {
	s.more(ctx, n, func(t told) int { return t.failed }, "the store is away, and clients are told that all is well")
}

// more waits until a number has grown by n for each visitor; if it doesn't, that is a finding.
func (s *Site) more(ctx context.Context, n int, number func(told) int, finding string) {
	before := map[*visitor]int{}
	for _, v := range s.visitors {
		before[v] = number(v.told())
	}
	if !s.until(ctx, func() bool {
		return !slices.ContainsFunc(s.visitors, func(v *visitor) bool { return number(v.told()) < before[v]+n })
	}) {
		s.find("%s", finding)
	}
}

// until waits for something to hold.
func (s *Site) until(ctx context.Context, holds func() bool) bool {
	for deadline := time.Now().Add(s.Patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return false
		}
	}
	return true
}

// Failures is how many answers were 503 so far.
func (s *Site) Failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.Refused + s.counts.Uncertain
}

// Check stops the clients, looks at every session that there was, on every server, and returns what is wrong, each
// finding with how often it was met. The stores have to be reachable.
func (s *Site) Check(ctx context.Context) (Counts, []string) {
	s.halt()
	for _, v := range s.visitors {
		v.check(ctx)
	}
	s.leaver.check(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, text := range slices.Sorted(maps.Keys(s.findings)) {
		list = append(list, fmt.Sprintf("%s (%d times)", text, s.findings[text]))
	}
	return s.counts, list
}
