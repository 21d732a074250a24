package redisstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// This file waits for replicas. A write counts when they have it. What is on the master alone must not count by being
// read either: whoever got no answer to a write looks at the record, and whoever logs out again finds the tombstone of
// the first try. So a Load confirms what it returns, that is, it waits until the replicas have it, where there is
// doubt: after a write of this Store that did not count, and of every tombstone, which another process may have
// written.
//
// WAIT is about the writes of its own connection, and about everything that the server did before those: replication
// keeps the order. So there is one connection to each master for such scripts alone, a lane. It sends all scripts that
// wait by then, and one WAIT behind them: see lanes.

// mostWait is how long a call waits for replicas where its context has no deadline.
const mostWait = 5 * time.Second

// runAndWait runs a script and waits until enough replicas have what it wrote, or the context ends.
func (s *Store) runAndWait(ctx context.Context, sc *script, keys, args []string) (answer, error) {
	slot := s.slot(keys[0])
	resolve := s.doubts.resolver(slot)
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	a, err := s.lanes.run(ctx, s, &waiting{ctx: ctx, script: sc, slot: slot, keys: keys,
		args: args, done: make(chan outcome, 1)})
	switch {
	case err == nil && a.code == answerDone:
		resolve()
	case !rueidis.IsRedisNil(err):
		s.doubts.raise(slot) // by a conflict too: perhaps with a write of ours that arrived late
	}
	return a, err
}

// confirm returns the value of a key when enough replicas have it, a nil of Redis when they know that there is none.
func (s *Store) confirm(ctx context.Context, key string) ([]byte, error) {
	a, err := s.runAndWait(ctx, &confirmScript, []string{key}, nil)
	return []byte(a.text(0)), err
}

// Doubts are about writes that may be on the master alone. On a cluster each slot has its own: the others may be on
// another master.
type doubts [slots]struct{ raised, resolved atomic.Uint64 }

func (d *doubts) raise(slot int) { d[slot].raised.Add(1) }

func (d *doubts) any(slot int) bool { return d[slot].raised.Load() > d[slot].resolved.Load() }

// resolver returns a function that resolves the doubts which there are now, to be called when replicas have a write
// that is sent after now.
func (d *doubts) resolver(slot int) func() {
	raised := d[slot].raised.Load()
	return func() {
		for {
			resolved := d[slot].resolved.Load()
			if resolved >= raised || d[slot].resolved.CompareAndSwap(resolved, raised) {
				return
			}
		}
	}
}

func (s *Store) slot(key string) int {
	if s.client.Mode() != rueidis.ClientModeCluster {
		return 0
	}
	command := s.client.B().Get().Key(key).Build()
	return int(command.Slot()) % slots
}
