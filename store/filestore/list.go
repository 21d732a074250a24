package filestore

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/hipflask/session/store"
)

// Principal implements [store.Lister]. Its cost grows with the number of the principal's records, and a little with
// that of all: the entries of about a thousandth of all principals are in one folder. Where nothing can be written, on
// a full disk, it looks at all records.
func (s *Store) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		if principal == "" {
			return
		}
		only := func(rec store.Record, err error) bool {
			return err == nil && rec.Principal != principal || yield(rec, err)
		}
		if _, err := s.refresh(); err != nil {
			yield(store.Record{}, err)
			return
		}
		var found []name
		stamped := true
		err := s.run(ctx, "list", func(r *root) (err error) {
			t, stamp := tagOf(principal)
			if err = s.stamp(ctx, r, stamp); err == errAbsent {
				return err
			} else if err != nil {
				// Without a stamp the index does not count. What is found without it, no stamp is needed for.
				stamped = false
				return nil
			}
			found, err = r.entries(t)
			return err
		})
		switch {
		case err != nil:
			yield(store.Record{}, s.gone(err))
		case stamped:
			s.yield(ctx, found, only)
		default:
			s.All(ctx)(only)
		}
	}
}

// All implements [store.Lister]. A page is a shard's folder: about a thousandth of the records.
func (s *Store) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		if _, err := s.refresh(); err != nil {
			yield(store.Record{}, err)
			return
		}
		for i := range shards {
			var found []name
			err := s.run(ctx, "list", func(r *root) (err error) {
				found, err = r.shard(i)
				return err
			})
			if err != nil {
				yield(store.Record{}, err)
				return
			}
			if !s.yield(ctx, found, yield) {
				return
			}
		}
	}
}

// shard returns the names of the records in a shard, in order.
func (r *root) shard(i int) ([]name, error) {
	dir := shardName(i)
	files, err := r.list(sessionsDir + "/" + dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var found []name
	for _, file := range files {
		if n, ok := parseName(dir, file); ok {
			found = append(found, n)
		}
	}
	return found, nil
}

// yield yields the records that have the given names, and tells whether the loop goes on.
func (s *Store) yield(ctx context.Context, found []name, yield func(store.Record, error) bool) bool {
	for _, n := range found {
		var rec store.Record
		err := s.run(ctx, "list", func(r *root) (err error) {
			rec, err = s.view(ctx, r, n, false)
			return err
		})
		switch {
		case err == errAbsent, errors.Is(err, store.ErrNotFound), err == nil && nameOf(rec.Key) != n:
		case err != nil:
			yield(store.Record{}, err)
			return false
		case !yield(rec, nil):
			return false
		}
	}
	return true
}
