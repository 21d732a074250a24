package protocol

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// turns lets one save of a session run at a time in this process, so that a process's own requests don't conflict with
// each other in the store. The save that has the turn applies the changes of those that wait as well: a busy session
// costs the store a write for all of them, not one for each. Nothing but throughput depends on it: the store's
// compare-and-swap decides.
type turns struct {
	seed   maphash.Seed
	shards [64]turnShard
}

type turnShard struct {
	mu     sync.Mutex
	held   map[string][]*waiter // those who wait for a key's turn, in the order in which they came
	passed int                  // turns that have ended
	rivals rivals
}

// waiter is a save that waits. Its turn comes, or the save that has the turn serves it.
type waiter struct {
	c     *Change // what another save may do for it; nil: it needs the turn itself
	came  time.Time
	turn  chan struct{} // closed in either case
	pause time.Duration // with the turn: other processes go first

	// Guarded by the shard's mu.
	taken bool // by the save that has the turn
	sent  bool // its changes are in a record that was sent, or is going to be
	left  bool // it has given up

	// Written before turn is closed.
	served   bool
	view     View
	fate     Fate
	err      error
	panicked any // by a function of an Update
}

func newTurns() *turns {
	t := &turns{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].held, t.shards[i].rivals = map[string][]*waiter{}, rivals{}
	}
	return t
}

func (t *turns) shard(key string) *turnShard {
	return &t.shards[maphash.String(t.seed, key)%uint64(len(t.shards))]
}

// enter waits for key's turn, or until c has been saved by the one who had it: w.served. Without a wait or a pause w is
// nil.
//
// An error means that ctx has ended: errBusy, or errNoTurn if nothing has moved during the whole wait. sent: c may have
// been saved all the same, or may yet be.
func (t *turns) enter(ctx context.Context, key string, c *Change) (w *waiter, sent bool, err error) {
	s := t.shard(key)
	s.mu.Lock()
	waiting, held := s.held[key]
	if !held {
		s.held[key] = nil
		if pause := s.rivals.pause(key); pause > 0 {
			w = &waiter{came: time.Now(), pause: pause}
		}
		s.mu.Unlock()
		return w, false, nil
	}
	w = &waiter{c: c, came: time.Now(), turn: make(chan struct{})}
	s.held[key] = append(waiting, w)
	passed := s.passed
	s.mu.Unlock()
	select {
	case <-w.turn:
		return w, false, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch i := slices.Index(s.held[key], w); {
	case i >= 0:
		s.held[key] = slices.Delete(s.held[key], i, i+1)
	case w.served:
		return w, false, nil // at the last moment
	case w.taken:
		w.left = true
	default:
		s.next(key) // the turn came all the same
		return w, false, errBusy
	}
	if s.passed == passed {
		return w, w.sent, errNoTurn
	}
	return w, w.sent, errBusy
}

// leave gives the turn on. wrote is what the save that had it has written, if anything.
func (t *turns) leave(key string, wrote write) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rivals.note(key, wrote)
	s.next(key)
}

// next gives the turn on. The caller holds mu.
func (s *turnShard) next(key string) {
	s.passed++
	waiting := s.held[key]
	if len(waiting) == 0 {
		delete(s.held, key)
		return
	}
	waiting[0].pause = s.rivals.pause(key)
	close(waiting[0].turn)
	s.held[key] = waiting[1:]
}

// gather takes those who can be served out of the queue. The caller has the turn, and is about to load the record.
func (t *turns) gather(key string, group []*waiter) []*waiter {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.held[key]
	if len(waiting) == 0 {
		return group
	}
	rest := waiting[:0]
	for _, w := range waiting {
		if w.c == nil {
			rest = append(rest, w)
			continue
		}
		w.taken = true
		group = append(group, w)
	}
	clear(waiting[len(rest):])
	s.held[key] = rest
	return group
}

// include leaves out of a group who has given up. What the others want goes into a record that is going to be sent.
func (t *turns) include(key string, group []*waiter) []*waiter {
	if len(group) == 0 {
		return nil
	}
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(group, func(w *waiter) bool {
		w.sent = w.sent || !w.left
		return w.left && !w.sent
	})
}

// putBack puts those who were not served first into the queue.
func (t *turns) putBack(key string, group []*waiter) {
	if len(group) == 0 {
		return
	}
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	group = slices.DeleteFunc(group, func(w *waiter) bool {
		w.taken, w.sent = false, false
		return w.left
	})
	s.held[key] = append(group, s.held[key]...)
}

// serve ends a wait.
func (t *turns) serve(key string, w *waiter) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	w.served = true
	s.passed++
	close(w.turn)
}
