package sqlstore

import (
	"context"
	"iter"

	"github.com/hipflask/session/store"
)

// page is how many records a listing reads at once: a few hundred bytes each, without data.
const page = 500

// Principal implements [store.Lister]. Its cost grows with the number of the principal's records alone.
func (s *Store) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	if principal == "" {
		return func(func(store.Record, error) bool) {}
	}
	return s.list(ctx, s.text.principal, principal)
}

// All implements [store.Lister].
func (s *Store) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return s.list(ctx, s.text.all)
}

// list yields what query finds, in pages that go on after the last key of the one before, so that neither a cursor nor
// a connection is held while the body of the loop runs.
func (s *Store) list(ctx context.Context, query string, args ...any) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		last := "" // before every key
		for {
			found, err := s.page(ctx, query, append(args[:len(args):len(args)], last, int64(page))...)
			if err != nil {
				yield(store.Record{}, err)
				return
			}
			for _, rec := range found {
				if err := s.client.Err(ctx, "list"); err != nil {
					yield(store.Record{}, err)
					return
				}
				if !yield(rec, nil) {
					return
				}
			}
			if len(found) < page {
				return
			}
			last = found[len(found)-1].Key
		}
	}
}

func (s *Store) page(ctx context.Context, query string, args ...any) (found []store.Record, err error) {
	err = s.client.Run(ctx, "list", func() error {
		found = found[:0]
		return s.client.DB.Query(ctx, query, func(scan func(...any) error) error {
			rec, err := scanRecord(scan)
			found = append(found, rec)
			return err
		}, args...)
	})
	return found, err
}

// Sweep implements [store.Sweeper]. It reads the index of deadlines, and no row that has not expired.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	if limit <= 0 {
		return 0, s.client.Err(ctx, "sweep")
	}
	for removed < limit {
		want := min(limit-removed, sweepAtOnce)
		n, err := s.client.Exec(ctx, "sweep", s.text.sweep, int64(want))
		removed += int(n)
		if err != nil || int(n) < want {
			return removed, err
		}
	}
	return removed, nil
}

// sweepAtOnce is how many rows one statement removes, so that nobody waits long for the locks on them.
const sweepAtOnce = 500
