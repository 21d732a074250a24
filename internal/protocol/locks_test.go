package protocol

import (
	"context"
	"testing"
)

// lateContext ends in the moment of the turn.
type lateContext struct {
	context.Context
	turn func()
}

func (c lateContext) Done() <-chan struct{} {
	c.turn()
	return c.Context.Done()
}

// TestTurnOfOneWhoGaveUp is in this package, since from outside that moment can't be met.
func TestTurnOfOneWhoGaveUp(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l := newKeyLocks()
	gaveUp := 0
	for range 100 {
		if _, err := l.lock(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.lock(lateContext{ended, func() { l.unlock("key") }}, "key"); err == nil {
			l.unlock("key")
		} else {
			gaveUp++
		}
		if len(l.shard("key").held) > 0 {
			t.Fatal("nobody has the lock, yet it is held")
		}
	}
	if gaveUp == 0 || gaveUp == 100 {
		t.Errorf("%d of 100 gave up, want some", gaveUp)
	}
}
