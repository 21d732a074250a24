package session

import (
	"context"
	"hash/maphash"
	"sync"
)

// keyLocks lets one save of a session run at a time in this process, so that a process's own requests don't conflict
// with each other in the store. Nothing depends on it: the store's compare-and-swap decides.
type keyLocks struct {
	seed   maphash.Seed
	shards [64]struct {
		mu   sync.Mutex
		held map[string]*keyLock
	}
}

type keyLock struct {
	turn    chan struct{} // holds a token while the lock is free
	waiting int           // holder included
}

func newKeyLocks() *keyLocks {
	l := &keyLocks{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].held = map[string]*keyLock{}
	}
	return l
}

// lock waits for key's turn, or for the end of ctx. The result gives it on.
func (l *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	s := &l.shards[maphash.String(l.seed, key)%uint64(len(l.shards))]
	s.mu.Lock()
	k := s.held[key]
	if k == nil {
		k = &keyLock{turn: make(chan struct{}, 1)}
		k.turn <- struct{}{}
		s.held[key] = k
	}
	k.waiting++
	s.mu.Unlock()

	leave := func() {
		s.mu.Lock()
		if k.waiting--; k.waiting == 0 {
			delete(s.held, key)
		}
		s.mu.Unlock()
	}
	select {
	case <-k.turn:
		return func() { k.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
