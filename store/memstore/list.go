package memstore

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/hipflask/session/store"
)

// listPage is how many records are read under one hold of a shard's lock.
const listPage = 32

// Principal implements part of [store.Lister]. The index is kept with the records, under the same locks: it never
// misses one. The call looks into each shard, which takes some microseconds, however many records other principals
// have.
//
// The texts of a yielded record keep all of it in memory, data included: clone what is kept for long.
func (s *Store) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		if principal == "" {
			return
		}
		l := lister{ctx: ctx, store: s, yield: yield}
		var slots []uint32
		for i := range s.shards {
			if !l.alive() {
				return
			}
			sh := &s.shards[i]
			slots = sh.related(principal, slots[:0])
			if !l.list(sh, slots, principal) {
				return
			}
		}
	}
}

// All implements part of [store.Lister]. Records come in no particular order, in pages of 32.
//
// The texts of a yielded record keep all of it in memory, data included: clone what is kept for long.
func (s *Store) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		l := lister{ctx: ctx, store: s, yield: yield}
		var slots []uint32
		for i := range s.shards {
			if !l.alive() {
				return
			}
			sh := &s.shards[i]
			// A record that is there from the beginning stays in its slot, below the number of slots that there are
			// now.
			n := sh.slots()
			for next := uint32(1); next < n; {
				slots = slots[:0]
				for ; next < n && len(slots) < listPage; next++ {
					slots = append(slots, next)
				}
				if !l.list(sh, slots, "") {
					return
				}
			}
		}
	}
}

// lister is one loop over records.
type lister struct {
	ctx   context.Context
	store *Store
	yield func(store.Record, error) bool
	page  []entry
}

// list yields what is in slots, of one principal or "" for all. It returns false when the loop is over.
func (l *lister) list(sh *shard, slots []uint32, principal string) bool {
	for slots := range slices.Chunk(slots, listPage) {
		l.page = sh.read(slots, principal, l.store.now(), l.page[:0])
		for i := range l.page {
			if !l.alive() {
				return false
			}
			if !l.yield(l.page[i].unpack(false), nil) {
				return false
			}
		}
	}
	return true
}

// alive returns false, and yields the error, when the context has ended.
func (l *lister) alive() bool {
	err := l.ctx.Err()
	if err != nil {
		l.yield(store.Record{}, err)
	}
	return err == nil
}

func (sh *shard) slots() uint32 {
	sh.mu.Lock()
	defer sh.unlock()
	return sh.entries.n
}

// related appends the slots of the principal's records, and of others with the same hash: in one go, because a list may
// change between two. The lock is held for long only if one principal has hundreds of thousands of sessions, 1/128 of
// them here.
func (sh *shard) related(principal string, slots []uint32) []uint32 {
	hash := sh.hash(principal)
	sh.mu.Lock()
	defer sh.unlock()
	for slot := sh.principals[hash]; slot != 0; slot = sh.entries.at(slot).right {
		slots = append(slots, slot)
	}
	return slots
}

// read appends the records in slots that are there, not expired, and the principal's; "": anybody's.
func (sh *shard) read(slots []uint32, principal string, now time.Duration, page []entry) []entry {
	sh.mu.Lock()
	defer sh.unlock()
	for _, slot := range slots {
		e := sh.entries.at(slot)
		if e.packed == "" || sh.expired(slot, now) || principal != "" && e.principal() != principal {
			continue
		}
		page = append(page, *e)
	}
	return page
}
