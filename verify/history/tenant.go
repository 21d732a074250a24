package history

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/hipflask/session/store"
)

// Tenant returns a view of s in which principals are another's than in other views: histories that share a server don't
// log out each other's users. What it hides of a listing is what others have.
func Tenant(s store.Store, name string) store.Store { return &tenant{s, name + "/"} }

type tenant struct {
	store.Store
	prefix string
}

// in is a record as the store has it, out as the tenant has it.
func (t *tenant) in(rec store.Record) store.Record {
	if rec.Principal != "" {
		rec.Principal = t.prefix + rec.Principal
	}
	return rec
}

func (t *tenant) out(rec store.Record) store.Record {
	rec.Principal = strings.TrimPrefix(rec.Principal, t.prefix)
	return rec
}

func (t *tenant) Load(ctx context.Context, key string) (store.Record, error) {
	rec, err := t.Store.Load(ctx, key)
	if expired := (*store.ExpiredError)(nil); errors.As(err, &expired) {
		err = &store.ExpiredError{Record: t.out(expired.Record)}
	}
	return t.out(rec), err
}

func (t *tenant) LoadStale(ctx context.Context, key string) (store.Record, error) {
	l, ok := store.As[store.StaleLoader](t.Store)
	if !ok {
		return store.Record{}, errors.ErrUnsupported
	}
	rec, err := l.LoadStale(ctx, key)
	return t.out(rec), err
}

func (t *tenant) Create(ctx context.Context, rec store.Record) error {
	return t.Store.Create(ctx, t.in(rec))
}

func (t *tenant) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return t.Store.Replace(ctx, t.in(rec), version)
}

func (t *tenant) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return t.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.Principal(ctx, t.prefix+principal) })
}

func (t *tenant) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return t.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.All(ctx) })
}

func (t *tenant) list(records func(store.Lister) iter.Seq2[store.Record, error]) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		l, ok := store.As[store.Lister](t.Store)
		if !ok {
			yield(store.Record{}, errors.ErrUnsupported)
			return
		}
		for rec, err := range records(l) {
			if err == nil && rec.Principal != "" && !strings.HasPrefix(rec.Principal, t.prefix) {
				continue
			}
			if !yield(t.out(rec), err) {
				return
			}
		}
	}
}

func (t *tenant) Sweep(ctx context.Context, limit int) (int, error) {
	if s, ok := store.As[store.Sweeper](t.Store); ok {
		return s.Sweep(ctx, limit)
	}
	return 0, nil
}
