package session

import (
	"context"
	"sync"
	"time"
)

// timeout is context.WithTimeout for one load or save, but sets no timer before somebody asks for Done: most stores in
// memory and files never wait, and a timer that is set and stopped costs half as much as all the rest of a request.
type timeout struct {
	context.Context // without the end
	deadline        time.Time

	mu    sync.Mutex
	timed context.Context // nil until Done is called, or Err after the end
	stop  context.CancelFunc
	over  bool
}

func newTimeout(parent context.Context, now time.Time, d time.Duration) *timeout {
	return &timeout{Context: parent, deadline: now.Add(d)}
}

// cancel ends the context, for whoever kept it.
func (t *timeout) cancel() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.stop != nil {
		t.stop()
	}
}

func (t *timeout) Deadline() (time.Time, bool) {
	if d, ok := t.Context.Deadline(); ok && d.Before(t.deadline) {
		return d, true
	}
	return t.deadline, true
}

func (t *timeout) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.start().Done()
}

func (t *timeout) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timed == nil && !t.over && t.Context.Err() == nil && time.Until(t.deadline) > 0 {
		return nil
	}
	return t.start().Err()
}

func (t *timeout) start() context.Context {
	if t.timed == nil {
		t.timed, t.stop = context.WithDeadline(t.Context, t.deadline)
		if t.over {
			t.stop()
		}
	}
	return t.timed
}

// Value asks the context with the timer first, so that contexts made from this one find in it what Done belongs to.
func (t *timeout) Value(key any) any {
	t.mu.Lock()
	timed := t.timed
	t.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return t.Context.Value(key)
}
