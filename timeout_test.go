package session_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// contextStore shows the context of each call.
type contextStore struct {
	store.Store
	call func(context.Context)
}

func (s contextStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.call(ctx)
	return s.Store.Load(ctx, key)
}

func (s contextStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	s.call(ctx)
	return s.Store.Replace(ctx, r, version)
}

type contextKey struct{}

// during loads and saves a session in a bubble. What is called sees the contexts that the store gets for that, the second
// one detached from cancel.
func during(t *testing.T, load, save func(t *testing.T, ctx context.Context, cancel func())) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the client hung up")
		parent, stop := context.WithCancelCause(context.WithValue(t.Context(), contextKey{}, "value"))
		cancel := func() { stop(cause) }
		defer cancel()
		s := contextStore{memstore.New(nil), func(context.Context) {}}
		spy := &s
		m, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: spy, StoreTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		first, _ := m.Load(parent, "")
		first.Set("a", 1)
		if err := first.Save(parent); err != nil {
			t.Fatal(err)
		}
		var last context.Context
		show := func(f func(*testing.T, context.Context, func())) {
			spy.call = func(ctx context.Context) {
				last = ctx
				if ctx.Value(contextKey{}) != "value" {
					t.Error("the context has lost its values")
				}
				f(t, ctx, cancel)
			}
		}
		ended := func(what string) {
			if last.Err() == nil {
				t.Errorf("the context of a %s goes on after it", what)
			}
			alike(t, last, last.Err())
		}
		show(load)
		second, err := m.Load(parent, first.Token())
		ended("load")
		if err != nil {
			second = first // it was cut short
		}
		show(save)
		second.Set("a", 2)
		second.Save(parent)
		ended("save")
	})
}

func passive(*testing.T, context.Context, func()) {}

// alike checks that a context and one made from it agree.
func alike(t *testing.T, ctx context.Context, want error) {
	t.Helper()
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	synctest.Wait()
	ended := func(ctx context.Context) bool {
		select {
		case <-ctx.Done():
			return true
		default:
			return false
		}
	}
	for _, c := range []context.Context{ctx, child} {
		if !errors.Is(c.Err(), want) || ended(c) != (want != nil) {
			t.Errorf("got Err %v and Done %v, want %v", c.Err(), ended(c), want)
		}
	}
}

func TestStoreTimeoutWithoutDone(t *testing.T) {
	t.Parallel()
	poll := func(t *testing.T, ctx context.Context, cancel func()) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != time.Second || ctx.Err() != nil {
			t.Errorf("got the deadline %v, %v and Err %v, want one in a second and nil", deadline, ok, ctx.Err())
		}
		time.Sleep(time.Second) // fake time
		if err := ctx.Err(); err != context.DeadlineExceeded {
			t.Errorf("got %v at the deadline, want DeadlineExceeded", err)
		}
		cancel()
		if cause := context.Cause(ctx); cause != context.DeadlineExceeded {
			t.Errorf("got the cause %v, want DeadlineExceeded, which came first", cause)
		}
		alike(t, ctx, context.DeadlineExceeded)
	}
	during(t, poll, passive)
	during(t, passive, poll)
}

func TestStoreTimeoutByDone(t *testing.T) {
	t.Parallel()
	wait := func(t *testing.T, ctx context.Context, _ func()) {
		alike(t, ctx, nil)
		began := time.Now()
		<-ctx.Done()
		if took := time.Since(began); took != time.Second {
			t.Errorf("Done after %v, want a second", took)
		}
		alike(t, ctx, context.DeadlineExceeded)
	}
	during(t, wait, passive)
	during(t, passive, wait)
}

// TestStoreContextFollowsClient: a load ends with its request, a save does not.
func TestStoreContextFollowsClient(t *testing.T) {
	t.Parallel()
	check := func(first bool, want error) func(*testing.T, context.Context, func()) {
		return func(t *testing.T, ctx context.Context, cancel func()) {
			if first {
				ctx.Done()
			}
			cancel()
			if err := ctx.Err(); err != want {
				t.Errorf("got %v, want %v", err, want)
			}
			if cause := context.Cause(ctx); (cause != nil) != (want != nil) {
				t.Errorf("got the cause %v, want one: %v", cause, want != nil)
			}
			alike(t, ctx, want)
		}
	}
	for _, first := range []bool{false, true} {
		during(t, check(first, context.Canceled), passive)
		during(t, passive, check(first, nil))
	}
}
