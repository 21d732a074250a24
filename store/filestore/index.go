package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"

	"github.com/hipflask/session/store"
)

// This file keeps the names of records: the record's own name, and for a record with a principal a second one, the
// entry.
//
// An entry is a hard link to the record's file. It is made before the record is written, and removed before the
// record's own name is removed, both times under the record's lock. So a record with a principal has two links. If it
// has fewer, somebody else has removed the entry: a cleaner, or a copy of the folder that did not keep links. Link and
// file share their times, so a cleaner that goes by age removes both or neither.
//
// A listing of the principal's sessions, perhaps to end them all, may have missed a record without its entry. So a
// listing leaves a stamp before it reads the entries. If a stamp is younger than the record, a lost entry is not
// restored, but the record is removed. The stamp file's lock makes "no stamp, so link" one step.

// openNew opens the file of the record called n, or makes an empty one.
func (s *Store) openNew(r *root, n name) (file, error) {
	var f file
	err := s.inShard(r, path.Dir(n.path()), func() (err error) {
		f, err = r.openRecord(n, modeCreate)
		return err
	})
	return f, err
}

// remakes is how often a writer makes the folder of a shard again that Sweep has removed before the writer's file was
// in it.
const remakes = 100

// inShard calls fn, which makes a name in the folder of a shard. It makes the folder if necessary.
func (s *Store) inShard(r *root, dir string, fn func() error) error {
	for range remakes {
		if err := fn(); err != errAbsent && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.mkdir(r, dir); err != nil {
			return err
		}
	}
	return errors.New("the folder of a shard is removed again and again")
}

// mkdir makes the folder of a shard, and the folder of principals if somebody has removed it. It never makes the folder
// of sessions: if that or the root is gone, it returns errAbsent.
func (s *Store) mkdir(r *root, dir string) error {
	err := r.mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) && path.Dir(dir) == principalsDir {
		if err := s.mkdir(r, principalsDir); err != nil {
			return err
		}
		err = r.mkdir(dir)
	}
	switch {
	case err == nil && s.sync:
		if err := r.syncDir(path.Dir(dir)); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	case err == nil, errors.Is(err, fs.ErrExist):
	case errors.Is(err, fs.ErrNotExist):
		return errAbsent
	default:
		return fmt.Errorf("make a folder: %w", err)
	}
	return nil
}

// unlink removes the names of the file called n, whose lock the caller has. cur is its record, or nil.
func (r *root) unlink(n name, cur *slot) error {
	if cur != nil && len(cur.principal) > 0 {
		t, _ := tagOf(string(cur.principal))
		if err := r.removeQuietly(t.entry(n)); err != nil {
			return err
		}
	}
	return r.removeQuietly(n.path())
}

// clean removes the names of a file that could not be written. Sweep removes what clean can't.
func (r *root) clean(n name, principal string) {
	r.unlink(n, &slot{principal: []byte(principal)})
}

// clear removes a link, a socket or an empty folder that has the name of a record.
func (r *root) clear(n name) error {
	if err := r.removeQuietly(n.path()); err != nil {
		return fmt.Errorf("what is no file of this store: %w", err)
	}
	return nil
}

// removeQuietly removes a file that may be gone already.
func (r *root) removeQuietly(path string) error {
	if err := r.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// linkEntry makes the entry of the record called n, whose lock the caller has. If there is one, which is then a link to
// another file, it takes its place in one step.
func (s *Store) linkEntry(r *root, n name, principal string) error {
	t, _ := tagOf(principal)
	entry := t.entry(n)
	err := s.inShard(r, t.dir(), func() error { return r.link(n.path(), entry) })
	if errors.Is(err, fs.ErrExist) {
		other := entry + spare
		if err = r.remove(other); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = r.link(n.path(), other)
		}
		if err == nil {
			err = r.rename(other, entry)
		}
		// Renaming a link onto one of the same file does nothing at all (POSIX).
		if err == nil {
			if err = r.remove(other); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if s.sync {
		if err := r.syncDir(t.dir()); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}

// spare ends the name under which an entry is made that takes another's place.
const spare = "~"

// parseEntry returns the record's name in an entry of a principal's folder. The spare of an entry counts as one.
func parseEntry(entry string) (t string, n name, ok bool) {
	const tagPart = tagLen - 2
	if len(entry) < tagPart+nameLen || entry[tagPart+nameLen:] != "" && entry[tagPart+nameLen:] != spare {
		return "", n, false
	}
	n, ok = parseName("", entry[tagPart:tagPart+nameLen])
	return entry[:tagPart], n, ok
}

// restore gives the record in f its entry back, or ends it. ErrNotFound: it has ended.
func (s *Store) restore(ctx context.Context, r *root, f file, n name, b *buffers) error {
	if err := f.lock(ctx, true); err != nil {
		return err
	}
	if same, err := r.is(f, n.path()); err != nil {
		return err
	} else if !same {
		return store.ErrNotFound
	}
	cur, _, _, err := b.loadLocked(f)
	if err != nil {
		return err
	}
	if cur == nil || cur.expired(now()) {
		return store.ErrNotFound
	}
	if links, err := f.links(); err != nil || links > 1 {
		return err // another load was faster
	}
	t, stamp := tagOf(string(cur.principal))
	stamps, err := r.lockStamps(ctx)
	if err != nil {
		return err
	}
	defer stamps.close()
	// An entry that is no link to this file is one in a folder that was copied file by file: listings have seen it.
	if !r.exists(t.entry(n)) {
		listed, err := readStamp(stamps, stamp)
		if err != nil {
			return err
		}
		if listed >= cur.born {
			if err := r.unlink(n, cur); err != nil {
				return err
			}
			return store.ErrNotFound
		}
	}
	return s.linkEntry(r, n, string(cur.principal))
}

// The stamps are a file of 65536 times, one for all principals whose hash ends alike: a fixed half megabyte, of which
// only what was written takes space. Behind them is the folder's ID.
func (r *root) lockStamps(ctx context.Context) (file, error) {
	f, err := r.open(stampFile, modeCreate)
	if err != nil {
		return f, fmt.Errorf("open: %w", err)
	}
	if err := f.lock(ctx, true); err != nil {
		f.close()
		return f, err
	}
	return f, nil
}

func readStamp(f file, stamp int) (int64, error) {
	var b [8]byte
	n, err := f.pread(b[:], int64(stamp)*8)
	if err != nil || n < len(b) {
		return 0, err
	}
	return int64(le.Uint64(b[:])), nil
}

// stamp notes that the sessions of the principal are about to be listed.
func (s *Store) stamp(ctx context.Context, r *root, stamp int) error {
	f, err := r.lockStamps(ctx)
	if err != nil {
		return err
	}
	defer f.close()
	var b [8]byte
	le.PutUint64(b[:], uint64(now()))
	if err := f.pwrite(b[:], int64(stamp)*8); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if s.sync {
		if err := f.sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}

// entries returns the names of the records that have an entry under t, each once.
func (r *root) entries(t tag) ([]name, error) {
	var found []name
	for before := -1; before < len(found); {
		before = len(found)
		files, err := r.list(t.dir())
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if tagPart, n, ok := parseEntry(file); ok && tagPart == string(t[2:]) {
				found = append(found, n)
			}
		}
		slices.SortFunc(found, func(a, b name) int { return slices.Compare(a[:], b[:]) })
		found = slices.Compact(found)
		// Apple's file systems can skip names while others are removed (golang.org/issue/20841): read until nothing is
		// new.
		if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
			break
		}
	}
	return found, nil
}

// list returns the names in one of our folders; errAbsent if it isn't there.
func (r *root) list(dir string) ([]string, error) {
	files, err := r.names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errAbsent
	} else if err != nil {
		return nil, fmt.Errorf("read a folder: %w", err)
	}
	return files, nil
}
