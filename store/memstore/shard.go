package memstore

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shard is a part of the records, chosen by the hash of their keys, and everything that is known about them. All fields
// but the hints belong to whoever holds mu.
type shard struct {
	mu sync.Mutex

	// A record keeps its slot, its index in entries, as long as it exists: that is what listing relies on.
	entries    pages[entry]
	free       uint32        // first of the free slots
	keys       table         // all records
	principals table         // the first record of each principal
	queue      pages[uint64] // see expiry.go
	lists      [classes]list // see evict.go

	// Hints tell other goroutines where to look without taking the lock. They are set before it is released.
	stale  bool                  // the hints have to be set
	due    atomic.Int64          // the first deadline, in milliseconds since Store.start
	oldest [classes]atomic.Int64 // entry.used of the first of each list

	seed maphash.Seed
	room *room

	_ [64]byte // keeps the neighbour's lock in another cache line
}

// none is the hint for an empty queue or list.
const none = math.MaxInt64

func (sh *shard) init(seed maphash.Seed, r *room) {
	sh.seed, sh.room = seed, r
	sh.setHints()
}

func (sh *shard) unlock() {
	if sh.stale {
		sh.setHints()
	}
	sh.mu.Unlock()
}

func (sh *shard) setHints() {
	sh.stale = false
	due := int64(none)
	if sh.queue.n > 0 {
		due = deadlineOf(*sh.queue.at(0))
	}
	sh.due.Store(due)
	// Later classes first, removeOne looks in the other direction: it can't miss a session that becomes a tombstone.
	for c, l := range slices.Backward(sh.lists[:]) {
		used := int64(none)
		if l.oldest != 0 {
			used = int64(sh.entries.at(l.oldest).used)
		}
		sh.oldest[c].Store(used)
	}
}

// find returns the slot of the record under key, expired or not; 0: none.
func (sh *shard) find(hash uint32, key string) uint32 {
	slot := sh.keys.head(hash)
	for slot != 0 {
		e := sh.entries.at(slot)
		if e.hash == hash && e.key() == key {
			break
		}
		slot = e.next
	}
	return slot
}

func (sh *shard) keyChain(slot uint32) (next *uint32, hash uint32) {
	e := sh.entries.at(slot)
	return &e.next, e.hash
}

// insert stores e, whose hash is set. Its key is not in the shard.
func (sh *shard) insert(e entry, deadline int64, now time.Duration) {
	slot := sh.takeSlot()
	e.used = now
	*sh.entries.at(slot) = e
	sh.keys.insert(slot, sh.keyChain)
	sh.enqueue(slot, deadline)
	sh.link(slot)
	sh.relate(slot)
	sh.room.note(e.class, 1, e.cost())
}

func (sh *shard) takeSlot() uint32 {
	if slot := sh.free; slot != 0 {
		sh.free = sh.entries.at(slot).next
		return slot
	}
	if sh.entries.n == 0 {
		sh.entries.push() // slot 0
	}
	return sh.entries.push()
}

// replace stores e in place of the record in slot, under the same key.
func (sh *shard) replace(slot uint32, e entry, deadline int64, now time.Duration) {
	old := sh.entries.at(slot)
	sh.room.note(old.class, -1, -old.cost())
	sh.room.note(e.class, 1, e.cost())
	e.hash, e.next, e.place = old.hash, old.next, old.place
	e.left, e.right = old.left, old.right
	e.used = now
	// The principal of a key never changes, so its links can stay. A caller that breaks this rule must not break the
	// index.
	changed := old.principal() != e.principal()
	if changed {
		sh.unrelate(slot)
	}
	sh.unlink(slot)
	*old = e
	sh.link(slot)
	if changed {
		sh.relate(slot)
	}
	sh.requeue(slot, deadline)
}

// remove takes the record in slot out of the shard and returns it.
func (sh *shard) remove(slot uint32) entry {
	e := sh.entries.at(slot)
	sh.unrelate(slot)
	sh.unlink(slot)
	sh.dequeue(e.place)
	sh.keys.remove(slot, sh.keyChain)
	removed := *e
	*e = entry{next: sh.free}
	sh.free = slot
	sh.room.note(removed.class, -1, -removed.cost())
	sh.room.take(-1, -removed.cost())
	return removed
}

func (sh *shard) hashPrincipal(principal string) uint32 {
	return uint32(maphash.String(sh.seed, principal))
}

// first returns the slot of the first record of a principal; 0: none.
func (sh *shard) first(principal string) uint32 {
	slot := sh.principals.head(sh.hashPrincipal(principal))
	for slot != 0 {
		e := sh.entries.at(slot)
		if e.principal() == principal {
			break
		}
		slot = e.left
	}
	return slot
}

// principalChain links the first records of principals by their left fields: these have no left neighbour.
func (sh *shard) principalChain(slot uint32) (next *uint32, hash uint32) {
	e := sh.entries.at(slot)
	return &e.left, sh.hashPrincipal(e.principal())
}

// relate puts the record in slot into the index of principals. Only first records are in the table, so that a principal
// with very many sessions makes no chain longer.
func (sh *shard) relate(slot uint32) {
	e := sh.entries.at(slot)
	e.left, e.right = 0, 0
	if e.class != loggedIn {
		return
	}
	first := sh.first(e.principal())
	if first == 0 {
		sh.principals.insert(slot, sh.principalChain)
		return
	}
	f := sh.entries.at(first)
	e.left, e.right, f.right = first, f.right, slot
	if e.right != 0 {
		sh.entries.at(e.right).left = slot
	}
}

func (sh *shard) unrelate(slot uint32) {
	e := sh.entries.at(slot)
	if e.class != loggedIn {
		return
	}
	if sh.principals.remove(slot, sh.principalChain) {
		if e.right != 0 {
			sh.principals.insert(e.right, sh.principalChain)
		}
		return
	}
	sh.entries.at(e.left).right = e.right
	if e.right != 0 {
		sh.entries.at(e.right).left = e.left
	}
}
