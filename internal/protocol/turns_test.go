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
	l := newTurns()
	gaveUp := 0
	for range 100 {
		if _, _, err := l.enter(t.Context(), "key", nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.enter(lateContext{ended, func() { l.leave("key", write{}) }}, "key", nil); err == nil {
			l.leave("key", write{})
		} else {
			gaveUp++
		}
		if len(l.shard("key").held) > 0 {
			t.Fatal("nobody has the turn, yet it is taken")
		}
	}
	if gaveUp == 0 || gaveUp == 100 {
		t.Errorf("%d of 100 gave up, want some", gaveUp)
	}
}

// One who gave up when a save had already taken the changes along is told whether they may have been saved; one whose
// changes were not sent yet takes them back.
func TestGiveUpWithinAGroup(t *testing.T) {
	t.Parallel()
	for _, sent := range []bool{false, true} {
		l := newTurns()
		if _, _, err := l.enter(t.Context(), "key", nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var group []*waiter
		_, maybe, err := l.enter(lateContext{ctx, func() {
			if group = l.gather("key", nil); len(group) != 1 {
				t.Errorf("got a group of %d, want 1", len(group))
			}
			if sent {
				group = l.include("key", group)
			}
			cancel()
		}}, "key", &Change{})
		if err == nil || maybe != sent {
			t.Errorf("sent %v: got %v, %v, want an error, and that it may have been saved: %v", sent, maybe, err, sent)
		}
		group = l.include("key", group)
		if len(group) != map[bool]int{true: 1}[sent] {
			t.Errorf("sent %v: %d are left in the group", sent, len(group))
		}
		l.putBack("key", group)
		l.leave("key", write{})
		if len(l.shard("key").held) > 0 {
			t.Errorf("sent %v: nobody has the turn, yet it is taken", sent)
		}
	}
}
