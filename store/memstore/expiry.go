package memstore

import (
	"context"
	"time"
)

// shard.queue is a heap of the records' deadlines, the first on top. An item is a deadline, in milliseconds since
// Store.start, above the slot of the record: items compare as numbers. Each node has four children, which share a cache
// line more often than not.
const (
	slotBits    = 24
	maxDeadline = 1<<(64-slotBits) - 1 // 34 years; what expires later than that does not expire
)

func deadlineOf(item uint64) int64 { return int64(item >> slotBits) }
func slotOf(item uint64) uint32    { return uint32(item & (1<<slotBits - 1)) }

// deadline turns the time left until expires, by the wall clock or whatever clock the caller took expires from, into a
// time of the monotonic clock. From then on a step of the wall clock changes nothing.
func (s *Store) deadline(expires, now time.Time) int64 {
	// Sub saturates; so bounded, the sum can't overflow
	left := min(max(0, expires.Sub(now)), maxDeadline*time.Millisecond)
	return min(millis(now.Sub(s.start)+left), maxDeadline)
}

func millis(now time.Duration) int64 { return int64(now / time.Millisecond) }

func (sh *shard) expired(slot uint32, now time.Duration) bool {
	return deadlineOf(sh.queue[sh.entries.at(slot).place]) <= millis(now)
}

func (sh *shard) enqueue(slot uint32, deadline int64) {
	sh.queue = append(sh.queue, 0)
	sh.sift(uint32(len(sh.queue)-1), uint64(deadline)<<slotBits|uint64(slot))
}

func (sh *shard) requeue(slot uint32, deadline int64) {
	sh.sift(sh.entries.at(slot).place, uint64(deadline)<<slotBits|uint64(slot))
}

func (sh *shard) dequeue(place uint32) {
	end := len(sh.queue) - 1
	last := sh.queue[end]
	if sh.queue = sh.queue[:end]; int(place) < end {
		sh.sift(place, last)
	}
	sh.stale = sh.stale || place == 0
}

// sift puts item where it belongs, starting from place, whose former item is overwritten.
func (sh *shard) sift(place uint32, item uint64) {
	from, end := place, uint32(len(sh.queue))
	for place > 0 {
		parent := (place - 1) / 4
		above := sh.queue[parent]
		if above <= item {
			break
		}
		sh.put(place, above)
		place = parent
	}
	for child := 4*place + 1; child < end; child = 4*place + 1 {
		least, below := child, sh.queue[child]
		for child++; child <= 4*place+4 && child < end; child++ {
			if other := sh.queue[child]; other < below {
				least, below = child, other
			}
		}
		if item <= below {
			break
		}
		sh.put(place, below)
		place = least
	}
	sh.put(place, item)
	sh.stale = sh.stale || from == 0 || place == 0
}

func (sh *shard) put(place uint32, item uint64) {
	sh.queue[place] = item
	sh.entries.at(slotOf(item)).place = place
}

// Sweep implements [store.Sweeper]. The work is proportional to the number of records removed, and each is removed
// under a hold of its shard's lock of its own: Sweep may run at any time and as often as one likes. It removes nothing
// if limit is not positive. The error is that of ctx, with what was removed until then.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	// Another shard comes first each time, so that small limits reach all of them.
	first := int(s.turn.Add(1) % shards)
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		more = false
		now := s.now()
		// One record of each shard, then the next round: who waits for a lock gets it before the sweep comes back to
		// it.
		for i := range s.shards {
			if removed >= limit {
				return removed, nil
			}
			if s.shards[(first+i)%shards].sweep(now) {
				removed++
				more = true
			}
		}
	}
	return removed, nil
}

// sweep removes one expired record, or returns false if there is none.
func (sh *shard) sweep(now time.Duration) bool {
	if sh.due.Load() > millis(now) {
		return false
	}
	sh.mu.Lock()
	defer sh.unlock()
	if len(sh.queue) == 0 || deadlineOf(sh.queue[0]) > millis(now) {
		return false
	}
	sh.remove(slotOf(sh.queue[0]))
	return true
}
