package protocol

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
)

// keyLocks lets one save of a session run at a time in this process, so that a process's own requests don't conflict
// with each other in the store. Nothing depends on it: the store's compare-and-swap decides.
type keyLocks struct {
	seed   maphash.Seed
	shards [64]lockShard
}

type lockShard struct {
	mu   sync.Mutex
	held map[string][]chan struct{} // those who wait for a key's turn, in the order in which they came
}

func newKeyLocks() *keyLocks {
	l := &keyLocks{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].held = map[string][]chan struct{}{}
	}
	return l
}

func (l *keyLocks) shard(key string) *lockShard {
	return &l.shards[maphash.String(l.seed, key)%uint64(len(l.shards))]
}

// lock waits for key's turn, or for the end of ctx.
func (l *keyLocks) lock(ctx context.Context, key string) (waited bool, err error) {
	s := l.shard(key)
	s.mu.Lock()
	waiting, held := s.held[key]
	if !held {
		s.held[key] = nil
		s.mu.Unlock()
		return false, nil
	}
	turn := make(chan struct{})
	s.held[key] = append(waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return true, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.held[key], turn); i >= 0 {
		s.held[key] = slices.Delete(s.held[key], i, i+1)
	} else {
		s.next(key) // the turn came all the same
	}
	return true, context.Cause(ctx)
}

func (l *keyLocks) unlock(key string) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next(key)
}

// next gives the turn on. The caller holds mu.
func (s *lockShard) next(key string) {
	waiting := s.held[key]
	if len(waiting) == 0 {
		delete(s.held, key)
		return
	}
	close(waiting[0])
	s.held[key] = waiting[1:]
}
