package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
)

// traced notes what a Trace is told.
type traced struct {
	mu    sync.Mutex
	loads []session.LoadFigures
	saves []session.SaveFigures
	open  []string // what has begun and not ended
}

type span struct{}

func (l *traced) trace(t *testing.T) *session.Trace {
	begin := func(ctx context.Context, name string) context.Context {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open = append(l.open, name)
		return context.WithValue(ctx, span{}, name)
	}
	end := func(ctx context.Context, name string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if got := ctx.Value(span{}); got != name {
			t.Errorf("%s ends with the context of %v", name, got)
		}
		i := slices.Index(l.open, name)
		if i < 0 {
			t.Fatalf("%s ends, and has not begun", name)
		}
		l.open = slices.Delete(l.open, i, i+1)
	}
	return &session.Trace{
		LoadStart: func(ctx context.Context) context.Context { return begin(ctx, "load") },
		LoadDone: func(ctx context.Context, f session.LoadFigures) {
			end(ctx, "load")
			l.mu.Lock()
			defer l.mu.Unlock()
			l.loads = append(l.loads, f)
		},
		SaveStart: func(ctx context.Context, kind session.SaveKind) context.Context { return begin(ctx, string(kind)) },
		SaveDone: func(ctx context.Context, f session.SaveFigures) {
			end(ctx, string(f.Kind))
			l.mu.Lock()
			defer l.mu.Unlock()
			l.saves = append(l.saves, f)
		},
	}
}

// took returns what was told since the last call, in short.
func (l *traced) took(t *testing.T) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []string{}
	for _, f := range l.loads {
		list = append(list, fmt.Sprintf("load %s%s, %d calls, %d bytes", f.Outcome, string(f.Reason),
			f.Attempts, f.Bytes))
	}
	for _, f := range l.saves {
		list = append(list, fmt.Sprintf("%s %s, %d attempts, %d conflicts, %d bytes", f.Kind, f.Outcome,
			f.Attempts, f.Conflicts, f.Bytes))
	}
	if len(l.open) != 0 {
		t.Errorf("got %q without an end", l.open)
	}
	l.loads, l.saves = nil, nil
	return list
}

// slowLoads takes its time to load.
type slowLoads struct{ store.Store }

func (s slowLoads) Load(ctx context.Context, key string) (store.Record, error) {
	time.Sleep(10 * time.Millisecond)
	return s.Store.Load(ctx, key)
}

func TestLoadDuration(t *testing.T) {
	t.Parallel()
	var l traced
	bubble(t, func(c *session.Config) { c.Store, c.Trace = slowLoads{c.Store}, l.trace(t) },
		func(t *testing.T, b *bench, c *visitor) {
			c.do(b.Manager, fill)
			c.do(b.Manager, read)
			forged := *c.cookie
			forged.Value = "forged"
			(&visitor{t: t, cookie: &forged}).do(b.Manager, read)
			if len(l.loads) != 2 || l.loads[0].Duration != 10*time.Millisecond || l.loads[1].Duration != 0 {
				t.Errorf("got %+v, want one load of 10 ms, and one of a forged cookie", l.loads)
			}
		})
}

// Each load and each save has its figures. A request that doesn't look at its session has none, and one that changes
// nothing has a load alone.
func TestTrace(t *testing.T) {
	t.Parallel()
	var l traced
	bubble(t, func(c *session.Config) { c.Trace, c.IdleTimeout = l.trace(t), time.Hour },
		func(t *testing.T, b *bench, c *visitor) {
			old := &visitor{t: t}
			for _, step := range []struct {
				what string
				do   func(*session.Session)
				fail func(op string) error // before the call
				want []string
			}{
				{"the first change", fill, nil, []string{"create stored, 1 attempts, 0 conflicts, 7 bytes"}},
				{"a request that only reads", read, nil, []string{"load found, 1 calls, 7 bytes"}},
				{"a change", func(s *session.Session) { s.Set("a", 12) }, nil,
					[]string{"load found, 1 calls, 7 bytes", "change stored, 1 attempts, 0 conflicts, 8 bytes"}},
				{"a Set that changes nothing", func(s *session.Session) { s.Set("a", 12) }, nil,
					[]string{"load found, 1 calls, 8 bytes", "change unchanged, 0 attempts, 0 conflicts, 0 bytes"}},
				{"activity", func(s *session.Session) { old.cookie = c.copy().cookie; time.Sleep(30 * minute) }, nil,
					[]string{"load found, 1 calls, 8 bytes", "touch unchanged, 1 attempts, 0 conflicts, 0 bytes"}},
				{"a renewal", (*session.Session).Renew, nil,
					[]string{"load found, 1 calls, 8 bytes", "move stored, 1 attempts, 0 conflicts, 8 bytes"}},
				{"a take", func(s *session.Session) { session.Key[int]("a").Take(t.Context(), s) }, nil,
					[]string{"load found, 1 calls, 8 bytes", "take stored, 1 attempts, 0 conflicts, 2 bytes"}},
				{"a reload", func(s *session.Session) { s.Reload(t.Context()) }, nil,
					[]string{"load found, 1 calls, 2 bytes", "load found, 1 calls, 2 bytes"}},
				{"an outage of loads", read, down("load"), []string{"load unavailable, 1 calls, 0 bytes"}},
				{"an outage of writes", fill, down("replace"), []string{"load found, 1 calls, 2 bytes",
					"change uncertain, 64 attempts, 0 conflicts, 0 bytes"}},
				{"too large", func(s *session.Session) { s.Set("a", string(make([]byte, 2<<20))) }, nil,
					[]string{"load found, 1 calls, 2 bytes", "change failed, 0 attempts, 0 conflicts, 0 bytes"}},
				{"a logout", (*session.Session).Logout, nil,
					[]string{"load found, 1 calls, 2 bytes", "end stored, 0 attempts, 0 conflicts, 0 bytes"}},
			} {
				b.store.fail(step.fail, nil)
				c.try(b.Manager, step.do)
				b.store.fail(nil, nil)
				equal(t, step.what, l.took(t), step.want)
			}
			b.serve(t, old.request(), func(http.ResponseWriter, *http.Request) {})
			equal(t, "a request that doesn't look", l.took(t), []string{})
			old.do(b.Manager, read)
			equal(t, "a cookie that is no longer valid", l.took(t), []string{"load noneended, 2 calls, 0 bytes"})
			b.get(t, "session=x", look)
			equal(t, "a forged cookie", l.took(t), []string{"load nonemalformed, 0 calls, 0 bytes"})
			s, err := b.Load(t.Context(), "")
			is(t, "Load", err, nil)
			equal(t, "a new session", l.took(t), []string{})
			func() {
				defer func() { recover() }()
				fill(s)
				is(t, "Save", s.Save(t.Context()), nil)
				total.Update(s, func(int) int {
					if len(l.open) > 0 {
						panic("in the save")
					}
					return 1
				})
				other, err := b.Load(t.Context(), s.Token())
				is(t, "Load", err, nil)
				other.Set("b", 1)
				is(t, "Save", other.Save(t.Context()), nil)
				l.took(t)
				s.Save(t.Context())
				t.Error("the Update did not panic in the save")
			}()
			equal(t, "a panic in a save", l.took(t), []string{"change failed, 0 attempts, 0 conflicts, 0 bytes"})
		})
}

// The store's calls get the context that the hook returns, and what is asked in vain is counted: saves that wait for
// another one's turn, and those that another server comes before.
func TestTraceOfContention(t *testing.T) {
	t.Parallel()
	var l traced
	var calls sync.Map
	shared := &hookedStore{Store: newSpy()}
	seen := &spanStore{Store: shared, calls: &calls}
	b := newBench(t, func(c *session.Config) {
		c.Store, c.Trace, c.InsecureHTTP, c.SweepInterval = seen, l.trace(t), true, -1
	})
	other := newBench(t, func(c *session.Config) { c.Store, c.InsecureHTTP, c.SweepInterval = shared.Store, true, -1 })
	shared.hook = func(string) error { return nil }
	c := newVisitor(t)
	c.do(b.Manager, fill)
	once := sync.Once{}
	shared.hook = func(op string) error {
		if op == "replace" {
			once.Do(func() { c.copy().do(other.Manager, func(s *session.Session) { s.Set("other", 1) }) })
		}
		return nil
	}
	l.took(t)
	c.do(b.Manager, func(s *session.Session) { total.Update(s, plus(1)) })
	got := l.saves
	if len(got) != 1 || got[0].Conflicts != 1 || got[0].Attempts != 2 || got[0].Outcome != session.OutcomeStored {
		t.Errorf("got %+v, want one save with a conflict and two attempts", got)
	}
	for op, want := range map[string]string{"create": "create", "load": "load", "replace": "change"} {
		if name, _ := calls.Load(op); name != want && op != "load" {
			t.Errorf("%s of the store: got the context of %v, want %s", op, name, want)
		}
	}

	l.took(t)
	entered, release := make(chan struct{}), make(chan struct{})
	first := sync.Once{}
	shared.hook = func(op string) error {
		if op == "replace" {
			first.Do(func() { close(entered); <-release })
		}
		return nil
	}
	v := c.start(b.Manager, func(v *visit, s *session.Session) { v.pause(); s.Set("x", 1) })
	w := c.start(b.Manager, func(v *visit, s *session.Session) { v.pause(); s.Set("y", 1) })
	go v.resume.Do(func() { close(v.resumed) })
	<-entered
	go w.resume.Do(func() { close(w.resumed) })
	for { // until the second one waits
		l.mu.Lock()
		n := len(l.open)
		l.mu.Unlock()
		if n == 2 {
			break
		}
	}
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	v.finish()
	w.finish()
	waited := time.Duration(0)
	for _, f := range l.saves {
		waited = max(waited, f.Waited)
	}
	if waited <= 0 || waited > time.Minute {
		t.Errorf("got saves %+v, want one that waited for its turn", l.saves)
	}
}

// spanStore notes the span in whose context an operation came last.
type spanStore struct {
	store.Store
	calls *sync.Map
}

func (s *spanStore) Create(ctx context.Context, r store.Record) error {
	s.calls.Store("create", ctx.Value(span{}))
	return s.Store.Create(ctx, r)
}

func (s *spanStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	s.calls.Store("replace", ctx.Value(span{}))
	return s.Store.Replace(ctx, r, version)
}

func (s *spanStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.calls.Store("load", ctx.Value(span{}))
	return s.Store.Load(ctx, key)
}

// A Trace has what functions it wants. With a cookie codec there is no store, and figures all the same.
func TestTraceOfCookies(t *testing.T) {
	t.Parallel()
	var l traced
	b := newBench(t, encrypted, func(c *session.Config) { c.Trace = l.trace(t) })
	cookie := b.cookie(t, setPlain)
	equal(t, "a first change", l.took(t), []string{"create stored, 0 attempts, 0 conflicts, 17 bytes"})
	b.get(t, cookie, look)
	equal(t, "a read", l.took(t), []string{"load found, 0 calls, 17 bytes"})
	b = newBench(t, func(c *session.Config) { c.Trace = &session.Trace{} })
	b.get(t, b.cookie(t, setPlain), func(_ http.ResponseWriter, r *http.Request) { session.From(r).Set("a", 1) })
}

// Ping tells an outage from a store that answers, and neither creates nor finds anything.
func TestPing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	is(t, "Ping", b.Ping(t.Context()), nil)
	equal(t, "calls", b.store.took(), []string{"load"})
	is(t, "Ping", b.Ping(t.Context()), nil)
	if keys := b.store.keys; len(keys) != 2 || keys[0] == keys[1] {
		t.Errorf("got keys %q, want two", keys)
	}
	b.store.fail(down(), nil)
	is(t, "Ping in an outage", b.Ping(t.Context()), session.ErrUnavailable)
	equal(t, "events", b.events.took(), []string{})
	cause := errors.New("the probe has given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	is(t, "Ping of a probe that has ended", b.Ping(ctx), cause)
	is(t, "Ping without a store", newBench(t, encrypted).Ping(t.Context()), nil)

	hung := sessiontest.New(t, func(c *session.Config) {
		c.StoreTimeout, c.Store = 10*time.Millisecond, hungStore{newSpy()}
	})
	is(t, "Ping of a store that hangs", hung.Ping(t.Context()), session.ErrUnavailable)
}

// A client that closes its connection is no outage.
func TestTraceOfCanceled(t *testing.T) {
	t.Parallel()
	var l traced
	m := sessiontest.New(t, func(c *session.Config) { c.Trace, c.Store = l.trace(t), hungStore{newSpy()} })
	s, err := m.Load(t.Context(), "")
	is(t, "Load", err, nil)
	fill(s)
	is(t, "Save", s.Save(t.Context()), nil)
	l.took(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Load(ctx, s.Token())
	is(t, "Load", err, session.ErrUnavailable)
	equal(t, "a load", l.took(t), []string{"load canceled, 1 calls, 0 bytes"})
}

type hungStore struct{ store.Store }

func (hungStore) Load(ctx context.Context, _ string) (store.Record, error) {
	<-ctx.Done()
	return store.Record{}, ctx.Err()
}
