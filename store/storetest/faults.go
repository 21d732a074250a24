package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

// Faults says how often the calls of a [Faulty] store go wrong, and how. Each share is a probability from 0 to 1, and
// what is left of 1 goes right; of shares that exceed 1 together the later ones are cut. The zero value harms nothing.
//
// A write is a Create, Replace, Touch, Delete or Sweep, a read a Load or a listing.
type Faults struct {
	// Seed decides everything that is random here; 0 is a seed like any other.
	Seed uint64

	// Refused is the share of calls that fail before anything has happened.
	Refused float64

	// Lost is the share of calls whose answer is lost: a write is applied, and the caller gets an error.
	Lost float64

	// Late is the share of writes that arrive up to MaxDelay after the call, while the caller gets an error or waits
	// until its context ends. A read is answered late, or when its context ends with an error.
	Late float64

	// Hung is the share of calls that do nothing and return when their context ends, with its error. Under a context
	// that never ends they return at Close.
	Hung float64

	// MaxDelay bounds how late a write arrives. 0: one second. Negative: at once, in another goroutine.
	MaxDelay time.Duration

	// MaxLatency bounds the time that a call takes on its way to the store, and as much again on its way back. If the
	// context ends on the way to the store, nothing happens; on the way back, the answer is lost. 0: no time passes.
	MaxLatency time.Duration
}

// FaultCounts says how many calls of a [Faulty] store went how.
type FaultCounts struct{ Undisturbed, Refused, Lost, Late, Hung int }

type fault uint8

const (
	none fault = iota
	refused
	lost
	late
	hung
	faults
)

const defaultMaxDelay = time.Second

// ErrInjected is the error of calls that a [Faulty] store made fail. To its callers it is an error like any other that
// is not named in the contract: the write may have been applied, or may be later.
var ErrInjected = errors.New("storetest: injected fault")

// errNoLister is the error of listings if the store behind is no Lister.
var errNoLister = fmt.Errorf("storetest: the store behind lists no sessions (if the store wraps another "+
	"one, give it Unwrap): %w", errors.ErrUnsupported)

// Faulty is a store that fails as the contract of package store allows: writes are applied at most once, but the answer
// may be an error although they were, or will be. A session.Manager keeps its promises on it.
//
// It forwards [store.Lister], [store.Sweeper], [store.Evicter], [store.BatchReplacer] and [store.StaleLoader]. If the
// store behind it is no Lister, its listings end with [errors.ErrUnsupported]; if it is no Sweeper or Evicter, there is
// never anything to remove or to tell.
//
// The faults depend on the seed and on the order of calls: see [WithSource] for calls whose order is not known. In a
// bubble of [testing/synctest] delays cost no time.
type Faulty struct {
	store store.Store
	plan  Faults

	mu      sync.Mutex
	sources map[uint64]*rand.Rand
	count   [faults]int
	late    int // writes under way
	arrived sync.Cond
	closed  chan struct{}
	close   sync.Once
}

// NewFaulty returns a store that does what s does, unless f disturbs it. The data is that of s: several Faulty stores
// on one, or on several that share data, are servers with a bad connection each. It starts no goroutine but for writes
// that are late; call [Faulty.Close] to wait for those.
func NewFaulty(s store.Store, f Faults) *Faulty {
	if f.MaxDelay == 0 {
		f.MaxDelay = defaultMaxDelay
	}
	faulty := &Faulty{store: s, plan: f, sources: map[uint64]*rand.Rand{}, closed: make(chan struct{})}
	faulty.arrived.L = &faulty.mu
	return faulty
}

type (
	sourceKey struct{}
	calmKey   struct{}
)

// WithSource returns a context whose calls have a sequence of faults of their own, which depends on the seed and on n
// alone. Where each request has a source, what happens to one does not depend on the order in which others run: a
// history can be replayed, and is still itself when parts of it are left out. Calls without a source share one, as if
// they had n = 0.
func WithSource(ctx context.Context, n uint64) context.Context {
	return context.WithValue(ctx, sourceKey{}, n)
}

// WithoutFaults returns a context whose calls always go right and take no time: to set a test up, and to look at what
// it left behind. They take nothing from the sequence of faults.
func WithoutFaults(ctx context.Context) context.Context {
	return context.WithValue(ctx, calmKey{}, true)
}

// Counts returns what happened so far, calls under [WithoutFaults] left out. A test that counts none of the faults that
// it is about has shown nothing.
func (f *Faulty) Counts() FaultCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FaultCounts{f.count[none], f.count[refused], f.count[lost], f.count[late], f.count[hung]}
}

// Wait returns when no write is late any more.
func (f *Faulty) Wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.late > 0 {
		f.arrived.Wait()
	}
}

// Close makes calls that hang return and late writes arrive, and waits for those. Calls after it work, but nothing
// takes time any more. It does not close the store behind. Closing twice is fine.
func (f *Faulty) Close() error {
	f.close.Do(func() { close(f.closed) })
	f.Wait()
	return nil
}

// fate is what will happen to one call.
type fate struct {
	fault       fault
	there, back time.Duration // latencies
	delay       time.Duration // of a late write
	waits       bool          // the caller of a disturbed write gets no error before its context ends
	after       int           // records that a listing yields before it is disturbed
}

// draw takes the next fate of the context's source.
func (f *Faulty) draw(ctx context.Context) fate {
	if ctx.Value(calmKey{}) != nil {
		return fate{}
	}
	n, _ := ctx.Value(sourceKey{}).(uint64)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.sources[n]
	if r == nil {
		r = rand.New(rand.NewPCG(f.plan.Seed, n))
		r.Uint64() // near seeds have near beginnings
		f.sources[n] = r
	}
	// The same number of draws for every call, so that another share of faults keeps the rest as it is.
	share, there, back, delay := r.Float64(), r.Float64(), r.Float64(), r.Float64()
	d := fate{waits: r.IntN(2) == 0, after: r.IntN(3)}
	d.there = time.Duration(there * float64(f.plan.MaxLatency))
	d.back = time.Duration(back * float64(f.plan.MaxLatency))
	d.delay = time.Duration(delay * float64(f.plan.MaxDelay))
	for kind, s := range [faults]float64{refused: f.plan.Refused, lost: f.plan.Lost, late: f.plan.Late,
		hung: f.plan.Hung} {
		if share < s {
			d.fault = fault(kind)
			break
		}
		share -= max(s, 0)
	}
	f.count[d.fault]++
	return d
}

// pause waits for d, but not longer than ctx or until Close.
func (f *Faulty) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-f.closed:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hang waits for the end of ctx, or Close.
func (f *Faulty) hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.closed:
		return ErrInjected
	}
}

// read lets a read happen, or what its fate has in store for it. Its result counts only if there is no error.
func (f *Faulty) read(ctx context.Context, d fate, do func() error) error {
	if err := f.pause(ctx, d.there); err != nil {
		return err
	}
	switch d.fault {
	case refused, lost:
		return ErrInjected
	case hung:
		return f.hang(ctx)
	case late:
		if err := f.pause(ctx, d.delay); err != nil {
			return err
		}
	}
	err := do()
	if ended := f.pause(ctx, d.back); ended != nil {
		return ended
	}
	return err
}

// write lets a write happen, or what its fate has in store for it.
func (f *Faulty) write(ctx context.Context, do func(context.Context) error) error {
	d := f.draw(ctx)
	if err := f.pause(ctx, d.there); err != nil {
		return err
	}
	switch d.fault {
	case refused:
		return ErrInjected
	case hung:
		return f.hang(ctx)
	case lost:
		_ = do(ctx) // whatever the answer is, it gets lost
		return f.disturbed(ctx, d)
	case late:
		f.later(context.WithoutCancel(ctx), d.delay, do)
		return f.disturbed(ctx, d)
	}
	err := do(ctx)
	if ended := f.pause(ctx, d.back); ended != nil {
		return ended
	}
	return err
}

// later lets a write arrive after its caller has been answered.
func (f *Faulty) later(ctx context.Context, delay time.Duration, do func(context.Context) error) {
	f.mu.Lock()
	f.late++
	f.mu.Unlock()
	go func() {
		_ = f.pause(ctx, delay)
		_ = do(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.late--
		f.arrived.Broadcast()
	}()
}

// disturbed is the answer to a write that was, or will be, applied all the same.
func (f *Faulty) disturbed(ctx context.Context, d fate) error {
	if d.waits {
		return f.hang(ctx)
	}
	return ErrInjected
}

// Load is [store.Store]'s.
func (f *Faulty) Load(ctx context.Context, key string) (rec store.Record, err error) {
	err = f.read(ctx, f.draw(ctx), func() error {
		rec, err = f.store.Load(ctx, key)
		return err
	})
	if err != nil {
		return store.Record{}, err
	}
	return rec, nil
}

// LoadStale is [store.StaleLoader]'s. Without one behind it returns [errors.ErrUnsupported].
func (f *Faulty) LoadStale(ctx context.Context, key string) (rec store.Record, err error) {
	l, ok := store.As[store.StaleLoader](f.store)
	if !ok {
		return rec, errors.ErrUnsupported
	}
	err = f.read(ctx, f.draw(ctx), func() error {
		rec, err = l.LoadStale(ctx, key)
		return err
	})
	if err != nil {
		return store.Record{}, err
	}
	return rec, nil
}

// Create is [store.Store]'s.
func (f *Faulty) Create(ctx context.Context, rec store.Record) error {
	rec = cloned(rec) // a late write outlives the call
	return f.write(ctx, func(ctx context.Context) error { return f.store.Create(ctx, rec) })
}

// Replace is [store.Store]'s.
func (f *Faulty) Replace(ctx context.Context, rec store.Record, version uint64) error {
	rec = cloned(rec)
	return f.write(ctx, func(ctx context.Context) error { return f.store.Replace(ctx, rec, version) })
}

// ReplaceBatch is [store.BatchReplacer]'s, and fails if the store behind is none. It is disturbed as one write.
func (f *Faulty) ReplaceBatch(ctx context.Context, recs []store.Record, versions []uint64) ([]bool, error) {
	b, ok := store.As[store.BatchReplacer](f.store)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	copies := make([]store.Record, len(recs))
	for i := range recs {
		copies[i] = cloned(recs[i])
	}
	versions = slices.Clone(versions)
	answer := make(chan []bool, 1)
	err := f.write(ctx, func(ctx context.Context) error {
		replaced, err := b.ReplaceBatch(ctx, copies, versions)
		answer <- replaced
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

// Touch is [store.Store]'s.
func (f *Faulty) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return f.write(ctx, func(ctx context.Context) error { return f.store.Touch(ctx, key, version, seen, expires) })
}

// Delete is [store.Store]'s.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.write(ctx, func(ctx context.Context) error { return f.store.Delete(ctx, key) })
}

// Sweep is [store.Sweeper]'s.
func (f *Faulty) Sweep(ctx context.Context, limit int) (removed int, err error) {
	s, ok := store.As[store.Sweeper](f.store)
	if !ok {
		return 0, nil
	}
	// A late Sweep outlives the call and must not write to its results.
	answer := make(chan int, 1)
	err = f.write(ctx, func(ctx context.Context) error {
		n, err := s.Sweep(ctx, limit)
		answer <- n
		return err
	})
	if err == nil {
		removed = <-answer
	}
	return removed, err
}

// Principal is [store.Lister]'s. A disturbed listing ends with an error, at its beginning or after some records.
func (f *Faulty) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return f.list(ctx, func(l store.Lister) iter.Seq2[store.Record, error] { return l.Principal(ctx, principal) })
}

// All is [store.Lister]'s, disturbed as Principal is.
func (f *Faulty) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return f.list(ctx, func(l store.Lister) iter.Seq2[store.Record, error] { return l.All(ctx) })
}

func (f *Faulty) list(ctx context.Context,
	records func(store.Lister) iter.Seq2[store.Record, error]) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		l, ok := store.As[store.Lister](f.store)
		if !ok {
			yield(store.Record{}, errNoLister)
			return
		}
		d := f.draw(ctx)
		nothing := func() error { return nil }
		if d.fault == none || d.after == 0 {
			if err := f.read(ctx, d, nothing); err != nil {
				yield(store.Record{}, err)
				return
			}
		}
		yielded := 0
		for rec, err := range records(l) {
			if err == nil && d.fault != none && yielded > 0 && yielded == d.after {
				err = f.read(ctx, d, nothing)
			}
			if err != nil {
				yield(store.Record{}, err)
				return
			}
			if !yield(rec, nil) {
				return
			}
			yielded++
		}
	}
}

// OnEvict is [store.Evicter]'s. It is never disturbed.
func (f *Faulty) OnEvict(fn func(store.Record)) (cancel func()) {
	if e, ok := store.As[store.Evicter](f.store); ok {
		return e.OnEvict(fn)
	}
	return func() {}
}
