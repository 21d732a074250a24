package history

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/storetest"
)

// traced stands between a Manager and its faulty store. It counts what a request's save sends, and keeps the log.
type traced struct {
	run *run
	*storetest.Faulty
	server int
}

func (t *traced) note(ctx context.Context, what, key string, began time.Duration, err error) {
	v := visitOf(ctx)
	if v != nil && !strings.HasPrefix(what, "Load") {
		v.mu.Lock()
		v.writes++
		if !answered(err) {
			v.unsure++
			v.run.unsure[v.req.Manager].Add(1)
		}
		v.mu.Unlock()
	}
	if !t.run.Verbose {
		return
	}
	by := 0
	if v != nil {
		by = v.req.ID
	}
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	t.run.logLocked("r%d:     %s K%d (from %v): %v", by, what, t.run.keys[key], began.Round(time.Microsecond), err)
}

func (t *traced) Load(ctx context.Context, key string) (store.Record, error) {
	began := t.run.now()
	done := t.contact(key)
	rec, err := t.Faulty.Load(ctx, key)
	done(err)
	t.note(ctx, "Load", key, began, err)
	if v := visitOf(ctx); v != nil && err == nil {
		v.mu.Lock()
		if rec.Kind == store.Live { // at a tombstone a load goes on
			v.loads++
		}
		v.cached = v.cached && v.s != nil // else this is the load of From, which did not trust the cache
		v.met = v.met || rec.Kind == store.Replaced
		v.crossed = v.met && rec.Kind == store.Live
		v.mu.Unlock()
	}
	return rec, err
}

// contact begins a call past the cache. What it returns is called with the error.
func (t *traced) contact(key string) func(error) {
	if t.run.Stale == 0 {
		return func(error) {}
	}
	c := contact{began: t.run.tick()}
	return func(err error) {
		if !answered(err) {
			return
		}
		c.answered = t.run.tick()
		t.run.mu.Lock()
		defer t.run.mu.Unlock()
		if id, ok := t.run.keys[key]; ok {
			p := place{t.server, id}
			t.run.contacts[p] = append(t.run.contacts[p], c)
		}
	}
}

func answered(err error) bool {
	return err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) ||
		errors.Is(err, store.ErrExists)
}

func (t *traced) LoadStale(ctx context.Context, key string) (store.Record, error) {
	began := t.run.now()
	rec, err := t.Faulty.LoadStale(ctx, key)
	if errors.Is(err, errors.ErrUnsupported) {
		return rec, err
	}
	t.note(ctx, "LoadStale", key, began, err)
	if v := visitOf(ctx); v != nil {
		v.mu.Lock()
		v.cached = err == nil && rec.Kind == store.Live
		v.mu.Unlock()
	}
	return rec, err
}

func (t *traced) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	done := t.contact(key)
	err := t.Faulty.Touch(ctx, key, version, seen, expires)
	done(err)
	if v := visitOf(ctx); v != nil && err == nil {
		v.mu.Lock()
		v.cached = false // it would have met a conflict
		v.mu.Unlock()
	}
	return err
}

func (t *traced) Create(ctx context.Context, rec store.Record) error {
	began := t.run.now()
	if v := visitOf(ctx); v != nil {
		v.mu.Lock()
		v.created = rec.Key
		v.mu.Unlock()
	}
	done := t.contact(rec.Key)
	err := t.Faulty.Create(ctx, rec)
	done(err)
	t.note(ctx, "Create", rec.Key, began, err)
	return err
}

func (t *traced) Replace(ctx context.Context, rec store.Record, version uint64) error {
	began := t.run.now()
	done := t.contact(rec.Key)
	err := t.Faulty.Replace(ctx, rec, version)
	done(err)
	t.note(ctx, "Replace by "+rec.Kind.String(), rec.Key, began, err)
	return err
}

// SlowListing returns a store that lists as slowly as the contract allows: it takes the keys in the beginning, in an
// order that is the same in every replay, and reads each record when its turn comes, after a pause.
func SlowListing(s store.Store, pause time.Duration) store.Store { return &scanned{s, pause} }

type scanned struct {
	store.Store
	pause time.Duration
}

func (s *scanned) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return s.scan(ctx, s.Store.(store.Lister).Principal(ctx, principal))
}

func (s *scanned) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return s.scan(ctx, s.Store.(store.Lister).All(ctx))
}

func (s *scanned) scan(ctx context.Context, records iter.Seq2[store.Record, error]) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		var keys []string
		for rec, err := range records {
			if err != nil {
				yield(store.Record{}, err)
				return
			}
			keys = append(keys, rec.Key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			time.Sleep(s.pause)
			rec, err := s.Load(ctx, key)
			rec.Data = nil
			if !errors.Is(err, store.ErrNotFound) && (!yield(rec, err) || err != nil) {
				return
			}
		}
	}
}

func (s *scanned) Sweep(ctx context.Context, limit int) (int, error) {
	return s.Store.(store.Sweeper).Sweep(ctx, limit)
}
