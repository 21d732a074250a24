package memstore

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/store"
)

// class says how early a record is evicted: lower classes first, and within a class what was used least recently.
type class uint8

const (
	anonymous class = iota // live, without a principal
	retired                // a tombstone without a principal
	loggedIn               // with a principal: live sessions and their tombstones
	classes
)

func classOf(rec *store.Record) class {
	switch {
	case rec.Principal != "":
		return loggedIn
	case rec.Kind != store.Live:
		return retired
	}
	return anonymous
}

// room counts what is stored against the bounds. Only writes that change the counts touch it.
type room struct {
	maxRecords, maxBytes int64
	all, users           count // users: class loggedIn
}

type count struct{ records, bytes atomic.Int64 }

// take reserves room or gives it back (negative numbers, always true). What is stored never exceeds the bounds.
func (r *room) take(records, bytes int64) bool {
	if !addUpTo(&r.all.records, records, r.maxRecords) {
		return false
	}
	if !addUpTo(&r.all.bytes, bytes, r.maxBytes) {
		r.all.records.Add(-records)
		return false
	}
	return true
}

// note counts records of class c that come (1) or go (-1), and their bytes.
func (r *room) note(c class, records, bytes int64) {
	if c == loggedIn {
		r.users.records.Add(records)
		r.users.bytes.Add(bytes)
	}
}

// fits reports whether there is room for e if everything goes that may go for it.
func (r *room) fits(e *entry) bool {
	if e.class == loggedIn {
		return true // pack has compared it with maxBytes
	}
	return r.users.records.Load() < r.maxRecords && r.users.bytes.Load() <= r.maxBytes-e.cost()
}

func addUpTo(count *atomic.Int64, n, limit int64) bool {
	for n > 0 {
		old := count.Load()
		if n > limit-old {
			return false
		}
		if count.CompareAndSwap(old, old+n) {
			return true
		}
	}
	if n < 0 {
		count.Add(n)
	}
	return true
}

// list links the records of one class in a shard, in the order of their last use.
type list struct{ oldest, newest uint32 }

// link puts the record in slot last: it was used just now.
func (sh *shard) link(slot uint32) {
	e := sh.entries.at(slot)
	l := &sh.lists[e.class]
	e.older, e.newer = l.newest, 0
	if l.newest != 0 {
		sh.entries.at(l.newest).newer = slot
	} else {
		l.oldest = slot
		sh.stale = true
	}
	l.newest = slot
}

func (sh *shard) unlink(slot uint32) {
	e := sh.entries.at(slot)
	l := &sh.lists[e.class]
	if e.older != 0 {
		sh.entries.at(e.older).newer = e.newer
	} else {
		l.oldest = e.newer
		sh.stale = true
	}
	if e.newer != 0 {
		sh.entries.at(e.newer).older = e.older
	} else {
		l.newest = e.older
	}
}

// use notes that the record in slot was written or loaded now.
func (sh *shard) use(slot uint32, now time.Duration) {
	sh.entries.at(slot).used = now
	sh.unlink(slot)
	sh.link(slot)
}

// makeRoom removes one record, so that e can be stored: an expired one if there is any, else the least recently used
// one of the lowest class. The record in spare, a slot of own, stays; 0: none. No lock may be held. Without an error
// there may be room; other writers may have taken it, so that the caller tries until it succeeds.
func (s *Store) makeRoom(ctx context.Context, e *entry, own *shard, spare uint32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.room.fits(e) {
		return fmt.Errorf("memstore: no room: users who are logged in take up MaxSessions %d or MaxBytes %d: raise it",
			s.room.maxRecords, s.room.maxBytes)
	}
	if !s.removeOne(e.class, own, spare) {
		runtime.Gosched() // what may go is just being written, or gone
	}
	return nil
}

// removeOne returns false if it found nothing that may go for a record of class c.
func (s *Store) removeOne(c class, own *shard, spare uint32) bool {
	now := s.now()
	for i := range s.shards {
		if s.shards[i].sweep(now) {
			return true
		}
	}
	return s.evict(anonymous, own, spare) || s.evict(retired, own, spare) ||
		c == loggedIn && s.evict(loggedIn, own, spare)
}

// evict removes the least recently used record of class c but the one to spare. It returns false if there is none, and
// true without removing any if another goroutine was faster: what was the least recently used record is it no more.
func (s *Store) evict(c class, own *shard, spare uint32) bool {
	var skip *shard
	for {
		sh, used := s.oldest(c, skip)
		if sh == nil {
			return false
		}
		sh.mu.Lock()
		slot := sh.lists[c].oldest
		if slot == 0 || sh.entries.at(slot).used != used {
			sh.unlock()
			return true
		}
		if sh == own && slot == spare {
			slot = sh.entries.at(slot).newer
		}
		if slot == 0 { // the one to spare is alone in its shard
			sh.unlock()
			skip = sh
			continue
		}
		e := sh.remove(slot)
		sh.unlock()
		s.evicted(&e)
		return true
	}
}

// oldest returns the shard with the least recently used record of class c, and when that was used; nil: there is none.
// It looks at the hints only and leaves skip out.
func (s *Store) oldest(c class, skip *shard) (oldest *shard, used time.Duration) {
	used = none
	for i := range s.shards {
		sh := &s.shards[i]
		if u := time.Duration(sh.oldest[c].Load()); u < used && sh != skip {
			oldest, used = sh, u
		}
	}
	return oldest, used
}

// evictions are the functions to be told. The slice is replaced, never changed: an eviction takes no lock to read it.
type evictions struct {
	mu  sync.Mutex
	fns atomic.Pointer[[]*func(store.Record)]
}

func (ev *evictions) change(f func([]*func(store.Record)) []*func(store.Record)) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	var fns []*func(store.Record)
	if old := ev.fns.Load(); old != nil {
		fns = slices.Clone(*old)
	}
	fns = f(fns)
	ev.fns.Store(&fns)
}

// OnEvict implements [store.Evicter]. fn is called by the goroutine whose write made the eviction necessary, before
// that write is done; several calls may run at the same time. It may call any method of the store. A call that has
// begun may go on after cancel. Records that expired are not reported.
func (s *Store) OnEvict(fn func(store.Record)) (cancel func()) {
	s.evictions.change(func(fns []*func(store.Record)) []*func(store.Record) { return append(fns, &fn) })
	return func() {
		s.evictions.change(func(fns []*func(store.Record)) []*func(store.Record) {
			return slices.DeleteFunc(fns, func(f *func(store.Record)) bool { return f == &fn })
		})
	}
}

func (s *Store) evicted(e *entry) {
	fns := s.evictions.fns.Load()
	if fns == nil {
		return
	}
	for _, fn := range *fns {
		(*fn)(e.unpack(false)) // each gets a Public of its own
	}
}
