package storetest

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store"
)

// A clause is one rule of the contract, with the test that tells whether a store keeps it.
type clause struct {
	name     string // the subtest's; Except names it, so it stays as it is
	rule     string // what the contract says, and what goes wrong for users without it
	run      func(p *probe, a, b store.Store)
	about    topic
	alone    bool // counts what other subtests would change, or needs the processors for itself
	waits    bool // for a record to expire, and does little besides
	twoOpens bool // holds between two opens of the same data as well: then b is another store than a
	realTime bool // can't run in a bubble
}

// A topic is a part of the contract that a store may declare not to have.
type topic int

const (
	aboutEverything topic = iota
	aboutIndex
	aboutSweeping
	aboutEviction
	aboutMaxData
	aboutReopening
	aboutWrapping
)

// clauses is the whole suite.
var clauses = slices.Concat(
	declarationClauses, createClauses, replaceClauses, batchClauses, touchClauses, deleteClauses,
	fieldClauses, textClauses, publicClauses, dataClauses, keyClauses,
	expiryClauses, raceClauses, contextClauses, errorClauses,
	listClauses, indexClauses, loopClauses, sweepClauses, evictClauses, staleClauses, closeClauses, wrapperClauses,
	promiseClauses,
)

// reporter is where the findings of a clause go: a subtest, or a list when the suite itself is under test.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// A probe is what a clause works with: the stores it may open and the place where it reports. Its reporting methods may
// be called from any goroutine.
type probe struct {
	reporter
	t      *testing.T // of the subtest, for open; findings go to the reporter
	opener func(testing.TB) store.Store
	cfg    *config
	ctx    context.Context
	opens  chan openRequest

	mu    sync.Mutex
	made  []made
	found int
	ended bool
}

// made is a record to delete when the clause has ended.
type made struct {
	s   store.Store
	key string
}

type openRequest struct {
	open  func(testing.TB) store.Store
	reply chan store.Store
}

// check runs c on stores that open returns.
func (cfg *config) check(t *testing.T, c clause, open func(testing.TB) store.Store, stores int) {
	if cfg.bubble && !c.realTime {
		synctest.Test(t, func(t *testing.T) { cfg.supervise(t, c, open, stores) })
		return
	}
	cfg.supervise(t, c, open, stores)
}

// supervise runs c in a goroutine of its own, so that a store that hangs fails one clause and not the whole test. Calls
// of open stay in the test's goroutine, where they may call FailNow.
func (cfg *config) supervise(t *testing.T, c clause, open func(testing.TB) store.Store, stores int) {
	ctx, cancel := context.WithTimeout(t.Context(), cfg.limit)
	defer cancel()
	var out reporter = t
	if cfg.out != nil {
		out = cfg.out
	}
	p := &probe{reporter: out, t: t, opener: open, cfg: cfg, ctx: ctx, opens: make(chan openRequest)}
	defer p.end(c)
	a := open(t)
	b := a
	if stores > 1 {
		b = open(t)
	}
	done := make(chan struct{})
	go pprof.Do(ctx, pprof.Labels("storetest", t.Name()), func(context.Context) {
		defer close(done)
		defer p.deleteMade()
		defer p.recover()
		c.run(p, a, b)
	})
	// The context ends first: a store that hangs but heeds it gets the chance to say where.
	hung := time.NewTimer(cfg.limit + cfg.limit/4)
	defer hung.Stop()
	for {
		select {
		case <-done:
			return
		case r := <-p.opens:
			r.reply <- r.open(t)
		case <-hung.C:
			p.Errorf("a method hangs, or holds a lock that another one needs: not done after %v in\n%s",
				cfg.limit, goroutines("storetest", t.Name()))
			return
		}
	}
}

// end closes the probe: what a goroutine of a clause that hangs reports from here on is dropped.
func (p *probe) end(c clause) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found > 0 {
		p.reporter.Errorf("the rule %s: %s", c.name, c.rule)
	}
	p.ended = true
}

func (p *probe) recover() {
	if r := recover(); r != nil {
		p.Errorf("panic: %v\n%s", r, debug.Stack())
	}
}

// Errorf reports a finding; the clause goes on.
func (p *probe) Errorf(format string, args ...any) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.found++
		p.reporter.Errorf(format, args...)
	}
}

// Fatalf reports a finding and ends the calling goroutine.
func (p *probe) Fatalf(format string, args ...any) {
	p.Helper()
	p.Errorf(format, args...)
	runtime.Goexit()
}

// open opens another store in the middle of a clause.
func (p *probe) open(open func(testing.TB) store.Store) store.Store {
	r := openRequest{open, make(chan store.Store, 1)}
	select {
	case p.opens <- r:
	case <-p.ctx.Done():
		runtime.Goexit()
	}
	select {
	case s := <-r.reply:
		return s
	case <-p.ctx.Done(): // open called FailNow
		runtime.Goexit()
	}
	return nil
}

// each calls f with 0 to n-1, each in a goroutine of its own, all started at once, and waits for them.
func (p *probe) each(n int, f func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			defer p.recover()
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// workers is how many calls the set-up of a clause has in flight: enough to hide the way to a server.
const workers = 8

// spread calls f with 0 to n-1 from a few goroutines.
func (p *probe) spread(n int, f func(i int)) {
	p.each(min(n, workers), func(w int) {
		for i := w; i < n; i += workers {
			f(i)
		}
	})
}

// deletes has the record deleted when the clause has ended.
func (p *probe) deletes(s store.Store, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = append(p.made, made{s, key})
}

func (p *probe) deleteMade() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), p.cfg.limit/4)
	defer cancel()
	p.spread(len(p.made), func(i int) {
		_ = p.made[i].s.Delete(ctx, p.made[i].key) // it may be gone, or its store closed
	})
}

// goroutines returns the stacks of the goroutines with that profiler label, which a goroutine inherits from the one
// that started it.
func goroutines(label, value string) string {
	var all strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
	mark := `"` + label + `":"` + value + `"`
	var found []string
	for block := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(block, mark) {
			found = append(found, block)
		}
	}
	return strings.Join(found, "\n\n")
}
