package storetest

import (
	"bytes"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

var evictClauses = []clause{{
	name: "EvictionIsReported", about: aboutEviction,
	rule: "a record that is removed before it expires is passed to every function that OnEvict was given, " +
		"without Data, and is gone by then; one that was deleted is not: a login that ends for lack " +
		"of room has to be seen by somebody.",
	run: evictionIsReported,
}, {
	name: "EvictionHoldsNoLock", about: aboutEviction,
	rule: "a function that OnEvict was given may call any method of the store.",
	run:  evictionHoldsNoLock,
}, {
	name: "EvictionReportsEnd", about: aboutEviction,
	rule: "the function that OnEvict returns undoes it, for this function only, and may be called again.",
	run:  evictionReportsEnd,
}}

// overflow is more records of filling than a store that Bounded opens has room for.
const overflow = 1000

// filling returns a record of 1 KiB.
func filling() store.Record {
	rec := newRecord()
	rec.Data = bytes.Repeat([]byte{'e'}, 1<<10)
	return rec
}

// evictions collects what a store reports.
type evictions struct {
	mu   sync.Mutex
	recs map[string]store.Record
}

func (e *evictions) add(rec store.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recs == nil {
		e.recs = map[string]store.Record{}
	}
	e.recs[rec.Key] = rec
}

// of returns how many of recs were evicted.
func (e *evictions) of(recs map[string]store.Record) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key := range recs {
		if _, ok := e.recs[key]; ok {
			n++
		}
	}
	return n
}

// bounded opens a store that evicts, or ends the clause.
func (p *probe) bounded() (store.Store, store.Evicter) {
	p.Helper()
	s := p.open(p.cfg.bounded)
	e, ok := store.As[store.Evicter](s)
	if !ok {
		p.Fatalf("%T is no store.Evicter, but the test has an option Bounded", s)
	}
	return s, e
}

// fill stores records until the store must have evicted some, and returns them.
func (p *probe) fill(s store.Store) map[string]store.Record {
	p.Helper()
	recs := make(map[string]store.Record, overflow)
	for range overflow {
		rec := filling()
		p.ok(s.Create(p.ctx, rec), "Create in a store that has to evict")
		recs[rec.Key] = rec
	}
	return recs
}

// eventually waits until cond holds: a store may report from another goroutine.
func (p *probe) eventually(cond func() bool, what string) {
	p.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(p.cfg.limit / 6); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			p.Fatalf("%s: still not so", what)
		}
	}
}

func evictionIsReported(p *probe, _, _ store.Store) {
	s, e := p.bounded()
	var first, second evictions
	e.OnEvict(first.add)
	e.OnEvict(second.add)
	deleted := filling()
	p.ok(s.Create(p.ctx, deleted), "Create")
	p.ok(s.Delete(p.ctx, deleted.Key), "Delete")
	recs := p.fill(s)
	gone := 0
	for key := range recs {
		if _, err := s.Load(p.ctx, key); err != nil {
			p.want(store.ErrNotFound, err, "Load of a record that may have been evicted")
			gone++
		}
	}
	if gone == 0 {
		p.Fatalf("all of %d records of 1 KiB are there: Bounded opened a store that is not narrow enough", overflow)
	}
	p.eventually(func() bool { return first.of(recs) == gone && second.of(recs) == gone },
		"every evicted record is reported to every function")
	first.mu.Lock()
	defer first.mu.Unlock()
	for key, rec := range first.recs {
		if key == deleted.Key {
			p.Errorf("OnEvict: a record that was deleted was reported as evicted")
			continue
		}
		if d := diff(rec, withoutData(recs[key])); d != "" {
			p.Errorf("OnEvict: %s", d)
		}
	}
}

func evictionHoldsNoLock(p *probe, _, _ store.Store) {
	s, e := p.bounded()
	var seen evictions
	e.OnEvict(func(rec store.Record) {
		_, err := s.Load(p.ctx, rec.Key)
		p.want(store.ErrNotFound, err, "Load of an evicted record by the function that OnEvict was given")
		p.want(nil, s.Delete(p.ctx, rec.Key), "Delete by the function that OnEvict was given")
		seen.add(rec)
	})
	recs := p.fill(s)
	p.eventually(func() bool { return seen.of(recs) > 0 }, "evicted records are reported")
}

func evictionReportsEnd(p *probe, _, _ store.Store) {
	s, e := p.bounded()
	var cancelled, other evictions
	cancel := e.OnEvict(cancelled.add)
	e.OnEvict(other.add)
	cancel()
	cancel()
	recs := p.fill(s)
	p.eventually(func() bool { return other.of(recs) > 0 },
		"evicted records are reported to the function that was not cancelled")
	if n := cancelled.of(recs); n > 0 {
		p.Errorf("OnEvict: %d records were reported to a function after it was cancelled", n)
	}
}
