package protocol

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// timeout is context.WithTimeout for one load or save, but sets its timer only when Done is called. Stores in memory
// and files mostly don't wait, and to set and stop a timer costs half as much as the rest of a request.
type timeout struct {
	context.Context      // the parent
	detached        bool // only the parent's values count, as in context.WithoutCancel
	deadline        time.Time

	over  atomic.Bool
	timed atomic.Pointer[timed] // nil until Done is called, or Err after the end
	mu    sync.Mutex            // held to set timed
}

type timed struct {
	context.Context
	stop context.CancelFunc
}

// forLoad sets t to bound one load.
func (t *timeout) forLoad(parent context.Context, deadline time.Time) {
	t.Context, t.deadline = parent, deadline
}

// forSave sets t to bound one save, which must not end because the client hung up.
func (t *timeout) forSave(parent context.Context, deadline time.Time) {
	t.Context, t.deadline, t.detached = parent, deadline, true
}

// cancel ends the context.
func (t *timeout) cancel() {
	t.over.Store(true)
	if timed := t.timed.Load(); timed != nil {
		timed.stop()
	}
}

func (t *timeout) Deadline() (time.Time, bool) {
	if d, ok := t.Context.Deadline(); ok && !t.detached && d.Before(t.deadline) {
		return d, true
	}
	return t.deadline, true
}

func (t *timeout) Done() <-chan struct{} { return t.start().Done() }

func (t *timeout) Err() error {
	if t.timed.Load() == nil && !t.over.Load() && (t.detached || t.Context.Err() == nil) && time.Until(t.deadline) > 0 {
		return nil
	}
	return t.start().Err()
}

func (t *timeout) start() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if timed := t.timed.Load(); timed != nil {
		return timed
	}
	parent := t.Context
	if t.detached {
		parent = context.WithoutCancel(parent)
	}
	n := &timed{}
	n.Context, n.stop = context.WithDeadline(parent, t.deadline)
	t.timed.Store(n)
	if t.over.Load() { // checked after timed was set: so cancel or this call stops the timer
		n.stop()
	}
	return n
}

// Value asks the context with the timer first, so that package context finds the context that Done belongs to.
func (t *timeout) Value(key any) any {
	if timed := t.timed.Load(); timed != nil {
		return timed.Value(key)
	}
	return t.Context.Value(key)
}
