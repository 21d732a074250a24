package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// This file bounds calls by their contexts. rueidis asks each context for its Done channel, for which one with a
// deadline sets a timer and takes a place in the list of its parent: a seventh of the time of a read, for a command
// that is answered long before. So rueidis gets another channel, from a pool, and a timer from there looks at the
// context.

// look is how often that is, and how long after its context a call ends at the latest.
const look = 20 * time.Millisecond

// watched is a context that ends when somebody looks.
type watched struct {
	context.Context
	ended <-chan struct{}
}

func (w *watched) Done() <-chan struct{} { return w.ended }

// A watch is for one call at a time.
type watch struct {
	ended chan struct{}
	timer *time.Timer

	mu    sync.Mutex
	ctx   context.Context // nil between two calls
	spent bool            // ended is closed
}

var watches = sync.Pool{New: func() any {
	w := &watch{ended: make(chan struct{})}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop() // until a call begins
	return w
}}

// do sends a command. While the server does not answer, rueidis makes new connections, and a call that needs one waits
// for that whatever its context says. So from the first call without an answer to the next one with, calls run apart.
func (s *Store) do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	if !s.silent.Load() {
		return s.send(ctx, command)
	}
	res, err := apart(ctx, s, func() rueidis.RedisResult { return s.send(ctx, command) })
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	return res
}

func (s *Store) send(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	w := watches.Get().(*watch)
	defer w.stop()
	res := s.client.Do(w.start(ctx), command)
	if silent := res.NonRedisError() != nil; silent != s.silent.Load() {
		s.silent.Store(silent)
	}
	return res
}

// apart runs f in a goroutine of its own, and returns without it when the context ends.
func apart[T any](ctx context.Context, s *Store, f func() T) (result T, err error) {
	done := make(chan T, 1)
	s.background(func() { done <- f() })
	select {
	case result = <-done:
		return result, nil
	case <-ctx.Done():
	}
	select {
	case result = <-done:
		return result, nil
	default:
		return result, ctx.Err()
	}
}

func (w *watch) start(ctx context.Context) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = ctx
	w.timer.Reset(look)
	return &watched{ctx, w.ended}
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ctx == nil || w.spent:
	case w.ctx.Err() != nil:
		close(w.ended)
		w.spent = true
	default:
		w.timer.Reset(look)
	}
}

// stop gives the watch back, unless its channel is closed, or its timer went off and look is about to find no context.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = nil
	if w.timer.Stop() && !w.spent {
		watches.Put(w)
	}
}
