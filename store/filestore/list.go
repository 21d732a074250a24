package filestore

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
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
		var found []name
		stamped := true
		err := s.run(ctx, "list", func(r *root) (err error) {
			t, stamp := tagOf(principal)
			if s.stamp(ctx, r, stamp) != nil {
				// Without a stamp the index can't be used. A listing of all records needs no stamp.
				stamped = false
				return nil
			}
			found, err = r.entries(t)
			return err
		})
		switch {
		case err != nil && err != errAbsent: // absent: no entry in that shard
			yield(store.Record{}, err)
		case stamped:
			l := lister{s, ctx, only, nil}
			if l.records(found) {
				l.end()
			}
		default:
			s.All(ctx)(only)
		}
	}
}

// All implements [store.Lister]. A page is a shard's folder: about a thousandth of the records.
func (s *Store) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		l := lister{s, ctx, yield, nil}
		for i := range shards {
			var found []name
			err := s.run(ctx, "list", func(r *root) (err error) {
				found, err = r.shard(i)
				return err
			})
			if err != nil && err != errAbsent {
				yield(store.Record{}, err)
				return
			}
			if !l.records(found) {
				return
			}
		}
		l.end()
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

// lister is one listing.
type lister struct {
	*Store
	ctx   context.Context
	yield func(store.Record, error) bool

	// denied is the first error of a record that this process may not open. It is yielded last, so that a caller who
	// ends all sessions reaches all others first, and still learns that one is left.
	denied error
}

// records yields the records that have the given names, and reports whether the loop goes on.
func (l *lister) records(found []name) bool {
	for _, n := range found {
		var rec store.Record
		err := l.run(l.ctx, "list", func(r *root) (err error) {
			rec, err = l.view(l.ctx, r, n, false)
			return err
		})
		switch {
		case err == errAbsent, errors.Is(err, store.ErrNotFound), err == nil && nameOf(rec.Key) != n:
		case errors.Is(err, fs.ErrPermission):
			l.denied = cmp.Or(l.denied, err)
		case err != nil:
			l.yield(store.Record{}, err)
			return false
		case !l.yield(rec, nil):
			return false
		}
	}
	return true
}

func (l *lister) end() {
	if l.denied != nil {
		l.yield(store.Record{}, l.denied)
	}
}
