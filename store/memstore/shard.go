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

	// A record keeps its slot, its index in entries, as long as it exists: that is what listing relies on. The two maps
	// lead from a hash to the first slot of a chain. They map from hashes and not from texts because that takes a third
	// of the memory, and because the slots have no pointers for the garbage collector to follow. A Go map of any size
	// grows in steps of at most 1024 items.
	entries    pages
	free       uint32            // first of the free slots
	keys       map[uint32]uint32 // all records, linked by next
	principals map[uint32]uint32 // those of principals, linked by left and right
	queue      []uint64          // see expiry.go
	lists      [classes]list     // see evict.go

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
	sh.keys, sh.principals = map[uint32]uint32{}, map[uint32]uint32{}
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
	if len(sh.queue) > 0 {
		due = deadlineOf(sh.queue[0])
	}
	setHint(&sh.due, due)
	// Later classes first, removeOne looks in the other direction: it can't miss a session that becomes a tombstone.
	for c, l := range slices.Backward(sh.lists[:]) {
		used := int64(none)
		if l.oldest != 0 {
			used = int64(sh.entries.at(l.oldest).used)
		}
		setHint(&sh.oldest[c], used)
	}
}

// setHint is Store, which takes several times as long as a look: most hints stay as they were.
func setHint(hint *atomic.Int64, value int64) {
	if hint.Load() != value {
		hint.Store(value)
	}
}

// hash is that of both maps. The seed is secret and random, so nobody can choose texts that meet in one chain.
func (sh *shard) hash(text string) uint32 { return uint32(maphash.String(sh.seed, text)) }

// find returns the slot of the record under key, expired or not; 0: none. hash is that of key.
func (sh *shard) find(hash uint32, key string) uint32 {
	slot := sh.keys[hash]
	for slot != 0 && sh.entries.at(slot).key() != key {
		slot = sh.entries.at(slot).next
	}
	return slot
}

// insert stores e. Its key, which has that hash, is not in the shard.
func (sh *shard) insert(hash uint32, e entry, deadline int64, now time.Duration) {
	slot := sh.takeSlot()
	e.used = now
	e.next, sh.keys[hash] = sh.keys[hash], slot
	*sh.entries.at(slot) = e
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
	e.next, e.place = old.next, old.place
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
	sh.unchain(slot)
	removed := *e
	*e = entry{next: sh.free}
	sh.free = slot
	sh.room.note(removed.class, -1, -removed.cost())
	sh.room.take(-1, -removed.cost())
	return removed
}

// unchain takes the record in slot out of the chain of its key.
func (sh *shard) unchain(slot uint32) {
	e := sh.entries.at(slot)
	hash := sh.hash(e.key())
	switch first := sh.keys[hash]; {
	case first != slot:
		before := sh.entries.at(first)
		for before.next != slot {
			before = sh.entries.at(before.next)
		}
		before.next = e.next
	case e.next != 0:
		sh.keys[hash] = e.next
	default:
		delete(sh.keys, hash)
	}
}

// relate puts the record in slot first into the chain of its principal.
func (sh *shard) relate(slot uint32) {
	e := sh.entries.at(slot)
	e.left, e.right = 0, 0
	if e.class != loggedIn {
		return
	}
	hash := sh.hash(e.principal())
	if e.right = sh.principals[hash]; e.right != 0 {
		sh.entries.at(e.right).left = slot
	}
	sh.principals[hash] = slot
}

func (sh *shard) unrelate(slot uint32) {
	e := sh.entries.at(slot)
	if e.class != loggedIn {
		return
	}
	if e.right != 0 {
		sh.entries.at(e.right).left = e.left
	}
	switch {
	case e.left != 0:
		sh.entries.at(e.left).right = e.right
	case e.right != 0:
		sh.principals[sh.hash(e.principal())] = e.right
	default:
		delete(sh.principals, sh.hash(e.principal()))
	}
}
