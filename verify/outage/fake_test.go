package outage_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

var errAway = errors.New("away")

// fake is a server in memory that can be taken away.
type fake struct {
	*memstore.Store

	mu    sync.Mutex
	state state
	back  chan struct{} // closed when the pause ends
	calls int
	late  sync.WaitGroup
}

type state int

const (
	up state = iota
	down
	paused // what is sent arrives when the pause ends
	losing // every third answer
)

func newFake() *fake { return &fake{Store: memstore.New(nil)} }

func (f *fake) turn(s state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == paused {
		close(f.back)
	}
	f.state = s
	if s == paused {
		f.back = make(chan struct{})
	}
}

func (f *fake) call(ctx context.Context, do func(context.Context) error) error {
	f.mu.Lock()
	s, back := f.state, f.back
	f.calls++
	lose := s == losing && f.calls%3 == 0
	f.mu.Unlock()
	switch {
	case s == down:
		return errAway
	case s == paused:
		answered := make(chan error, 1)
		f.late.Go(func() {
			<-back
			answered <- do(context.WithoutCancel(ctx))
		})
		select {
		case err := <-answered:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := do(ctx)
	if lose {
		return errAway
	}
	time.Sleep(time.Millisecond) // the way back: others come in between
	return err
}

func (f *fake) Load(ctx context.Context, key string) (store.Record, error) {
	got := make(chan store.Record, 1)
	err := f.call(ctx, func(ctx context.Context) error {
		rec, err := f.Store.Load(ctx, key)
		got <- rec
		return err
	})
	if err != nil {
		return store.Record{}, err
	}
	return <-got, nil
}

func (f *fake) Create(ctx context.Context, rec store.Record) error {
	rec.Data = slices.Clone(rec.Data)
	return f.call(ctx, func(ctx context.Context) error { return f.Store.Create(ctx, rec) })
}

func (f *fake) Replace(ctx context.Context, rec store.Record, version uint64) error {
	rec.Data = slices.Clone(rec.Data)
	return f.call(ctx, func(ctx context.Context) error { return f.Store.Replace(ctx, rec, version) })
}

func (f *fake) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return f.call(ctx, func(ctx context.Context) error { return f.Store.Touch(ctx, key, version, seen, expires) })
}

func (f *fake) Delete(ctx context.Context, key string) error {
	return f.call(ctx, func(ctx context.Context) error { return f.Store.Delete(ctx, key) })
}

func (f *fake) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		if err := f.call(ctx, func(context.Context) error { return nil }); err != nil {
			yield(store.Record{}, err)
			return
		}
		f.Store.Principal(ctx, principal)(yield)
	}
}

// service is the fake as the outages see it.
func (f *fake) service(wrap func(*fake) store.Store) *service {
	return &service{
		open:   func() (store.Store, func()) { return wrap(f), f.late.Wait },
		kill:   func() { f.turn(down) },
		start:  func() { f.turn(up) },
		pause:  func() { f.turn(paused) },
		resume: func() { f.turn(up) },
		lose:   func(loses bool) { f.turn(map[bool]state{true: losing, false: up}[loses]) },
	}
}
