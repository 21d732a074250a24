package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/hipflask/session/store"
)

func now() int64 { return time.Now().UnixMilli() }

// errForeign says that the name of a record leads to something other than a regular file, so there is no record. Every
// other reason why a file can't be opened is an error: a record that this process may not read or write still exists.
var errForeign = errors.New("not a file of this store")

// openRecord opens the file of the record called n.
func (r *root) openRecord(n name, mode openMode) (file, error) {
	f, err := r.open(n.path(), mode)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrNotExist):
		return f, errAbsent
	case r.foreign(n.path(), err):
		return f, errForeign
	}
	return f, fmt.Errorf("open a session's file: %w", err)
}

// Load implements [store.Store]. It takes no lock, and never waits for a writer unless a writer died half-way.
func (s *Store) Load(ctx context.Context, key string) (rec store.Record, err error) {
	if err := check(key); err != nil {
		return store.Record{}, err
	}
	n := nameOf(key)
	err = s.run(ctx, "load", func(r *root) (err error) {
		rec, err = s.view(ctx, r, n, true)
		return err
	})
	if err != nil {
		return store.Record{}, absent(err)
	}
	if rec.Key != key {
		return store.Record{}, store.ErrNotFound // two keys, one hash; or a file under a wrong name
	}
	return rec, nil
}

func absent(err error) error {
	if err == errAbsent {
		return store.ErrNotFound
	}
	return err
}

// view returns the record called n: [store.ErrNotFound] if its file holds no record, errAbsent if there is no file.
func (s *Store) view(ctx context.Context, r *root, n name, wantData bool) (store.Record, error) {
	f, err := r.openRecord(n, modeRead)
	if err == errForeign {
		return store.Record{}, store.ErrNotFound
	} else if err != nil {
		return store.Record{}, err
	}
	defer f.close()
	b := pool.Get().(*buffers)
	defer pool.Put(b)
	cur, data, err := b.load(ctx, f, wantData)
	if err != nil {
		return store.Record{}, err
	}
	if cur == nil {
		return store.Record{}, store.ErrNotFound
	}
	rec := cur.record()
	if cur.expired(now()) {
		return store.Record{}, &store.ExpiredError{Record: rec}
	}
	if wantData && cur.at == 0 {
		data = bytes.Clone(cur.inline)
	}
	rec.Data = data
	if rec.Principal != "" {
		links, err := f.links()
		if err != nil {
			return store.Record{}, fmt.Errorf("read: %w", err)
		}
		if links < 2 {
			if err := s.restore(ctx, r, f, n, b); err != nil {
				return store.Record{}, err
			}
		}
	}
	return rec, nil
}

// Create implements [store.Store].
//
// It opens the file, or makes one, and takes its lock. A file without a record counts as absent: a killed Create leaves
// such a file, and Sweep finds it, because Create queues the name first. The second name of a record with a principal
// is made before the record is written, so no record can be loaded without one.
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	if err := checkRecord(&rec); err != nil {
		return err
	}
	n := nameOf(rec.Key)
	return s.run(ctx, "create", func(r *root) error {
		queued, err := r.enqueue(n, rec.ExpiresAt.UnixMilli())
		if err != nil {
			return err
		}
		for {
			again, err := s.create(ctx, r, n, &rec, queued)
			if !again || err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	})
}

// create tells the caller to do it again if it has lost or cleared the file that it opened.
func (s *Store) create(ctx context.Context, r *root, n name, rec *store.Record, queued int64) (again bool, err error) {
	f, err := s.openNew(r, n)
	if err == errForeign {
		return true, r.clear(n)
	} else if err != nil {
		return false, err
	}
	defer f.close()
	if err := f.lock(ctx, true); err != nil {
		return false, err
	}
	// The lock's last holder may have removed the file. Nobody would find what is written to it then.
	if same, err := r.is(f, n.path()); err != nil || !same {
		return err == nil, err
	}
	b := pool.Get().(*buffers)
	defer pool.Put(b)
	switch size, err := f.size(); {
	case err != nil:
		return false, fmt.Errorf("read: %w", err)
	case size > 0:
		cur, _, _, err := b.loadLocked(f)
		if err != nil {
			return false, err
		}
		if cur != nil && string(cur.key) == rec.Key && !cur.expired(now()) {
			return false, store.ErrExists
		}
		return true, r.unlink(n, cur)
	}
	if rec.Principal != "" {
		err = s.linkEntry(r, n, rec.Principal)
	}
	if err == nil {
		err = b.write(f, nil, nil, rec, now(), queued)
	}
	if err != nil {
		r.clean(n, rec.Principal)
		return false, err
	}
	if s.sync {
		err := f.sync()
		if err == nil {
			err = r.syncDir(path.Dir(n.path()))
		}
		if err != nil {
			return false, fmt.Errorf("sync: %w", err)
		}
	}
	return false, nil
}

// Replace implements [store.Store]. A tombstone overwrites both slots, so that nothing of the session remains in the
// file. Replace refuses a change of the principal, which the contract rules out.
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if err := checkRecord(&rec); err != nil {
		return err
	}
	n := nameOf(rec.Key)
	return absent(s.run(ctx, "replace", func(r *root) error {
		return s.change(ctx, r, n, rec.Key, version, func(b *buffers, f file, cur, older *slot) error {
			if string(cur.principal) != rec.Principal {
				return errors.New("the principal of a record can't change; create another record")
			}
			queued, err := r.requeue(n, cur, rec.ExpiresAt.UnixMilli())
			if err != nil {
				return err
			}
			return b.write(f, cur, older, &rec, cur.born, queued)
		})
	}))
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if err := check(key); err != nil {
		return err
	}
	n := nameOf(key)
	return absent(s.run(ctx, "touch", func(r *root) error {
		return s.change(ctx, r, n, key, version, func(b *buffers, f file, cur, older *slot) error {
			queued, err := r.requeue(n, cur, expires.UnixMilli())
			if err != nil {
				return err
			}
			return b.rewrite(f, cur, older, seen.UnixMilli(), expires.UnixMilli(), queued)
		})
	}))
}

// change calls write with the record of the given version, under its lock.
func (s *Store) change(
	ctx context.Context, r *root, n name, key string, version uint64,
	write func(b *buffers, f file, cur, older *slot) error,
) error {
	f, err := r.openRecord(n, modeWrite)
	if err == errForeign {
		return store.ErrNotFound
	} else if err != nil {
		return err
	}
	defer f.close()
	if err := f.lock(ctx, true); err != nil {
		return err
	}
	b := pool.Get().(*buffers)
	defer pool.Put(b)
	cur, older, _, err := b.loadLocked(f)
	switch {
	case err != nil:
		return err
	case cur == nil || string(cur.key) != key || cur.expired(now()):
		return store.ErrNotFound
	case cur.version != version:
		return store.ErrConflict
	}
	if err := write(b, f, cur, older); err != nil {
		return err
	}
	if s.sync {
		if err := f.sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}

// Delete implements [store.Store].
//
// Under its lock the record is marked as expired before its file is removed. The mark ends the record for processes
// that have the file open, and with Sync it survives a loss of power.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(key); err != nil {
		return err
	}
	n := nameOf(key)
	err := s.run(ctx, "delete", func(r *root) error {
		f, err := r.openRecord(n, modeWrite)
		if err == errForeign {
			return r.clear(n)
		} else if err != nil {
			return err
		}
		defer f.close()
		if err := f.lock(ctx, true); err != nil {
			return err
		}
		if same, err := r.is(f, n.path()); err != nil || !same {
			return err // removed meanwhile
		}
		b := pool.Get().(*buffers)
		defer pool.Put(b)
		cur, older, _, err := b.loadLocked(f)
		if err != nil {
			return err
		}
		if cur != nil && !cur.expired(now()) {
			if err := b.rewrite(f, cur, older, 0, 0, cur.queued); err != nil {
				return err
			}
			if s.sync {
				if err := f.sync(); err != nil {
					return fmt.Errorf("sync: %w", err)
				}
			}
		}
		return r.unlink(n, cur)
	})
	if err == errAbsent {
		return nil
	}
	return err
}
