package filestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// bad are ways in which what lies under a record's name can be no record.
var bad = map[string]func(t *testing.T, path string) error{
	"empty": func(t *testing.T, path string) error { return os.WriteFile(path, nil, 0o600) },
	"zeros": func(t *testing.T, path string) error { return os.WriteFile(path, make([]byte, 4096), 0o600) },
	"garbage": func(t *testing.T, path string) error {
		return os.WriteFile(path, bytes.Repeat([]byte("x"), 10_000), 0o600)
	},
	"cut":  func(t *testing.T, path string) error { return os.Truncate(path, 90) },
	"half": func(t *testing.T, path string) error { return os.Truncate(path, 200) },
	"torn": func(t *testing.T, path string) error { return errors.Join(scribble(path, 60), scribble(path, 2048+60)) },
	"link": func(t *testing.T, path string) error {
		target := filepath.Join(t.TempDir(), "target")
		return errors.Join(os.Rename(path, target), os.Symlink(target, path))
	},
	"folder": func(t *testing.T, path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	"another": func(t *testing.T, path string) error {
		dir := t.TempDir() + "/other"
		create(t, open(t, dir, nil), newRecord("other", "bob"))
		return os.Rename(filepath.Join(dir, filestore.PathOf("other")), path)
	},
}

// scribble changes a byte of a file.
func scribble(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}

// Bad data is one session's problem: it counts as none, and its place can be taken.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	needUnix(t)
	for name, damage := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asOwner(t, func() {
				dir := t.TempDir() + "/s"
				s := open(t, dir, nil)
				rec := newRecord("key", "alice")
				create(t, s, rec)
				rec = replace(t, s, rec)
				neighbour := newRecord("neighbour", "alice")
				create(t, s, neighbour)
				if err := damage(t, filepath.Join(dir, filestore.PathOf("key"))); err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Load(t.Context(), "key"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Load: got error %v, want ErrNotFound", err)
				}
				if err := s.Replace(t.Context(), rec, rec.Version); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Replace: got error %v, want ErrNotFound", err)
				}
				if err := s.Touch(t.Context(), "key", rec.Version, rec.LastSeenAt, rec.ExpiresAt); !errors.Is(err,
					store.ErrNotFound) {
					t.Errorf("Touch: got error %v, want ErrNotFound", err)
				}
				for name, got := range map[string][]store.Record{
					"Principal": list(t, s.Principal(t.Context(), "alice")), "All": list(t, s.All(t.Context())),
				} {
					if len(got) != 1 || got[0].Key != "neighbour" {
						t.Errorf("%s: got %d records, want the neighbour", name, len(got))
					}
				}
				if err := s.Create(t.Context(), rec); err != nil {
					t.Errorf("Create: %v", err)
					return
				}
				same(t, load(t, s, "key"), rec)
				if got := list(t, s.Principal(t.Context(), "alice")); len(got) != 2 {
					t.Errorf("Principal after Create: got %d records, want 2", len(got))
				}
				same(t, load(t, s, "neighbour"), neighbour)
			})
		})
	}
}

// Delete and Sweep get rid of what is no record, except what is no regular file: Sweep leaves that alone.
func TestBadFilesAreRemoved(t *testing.T) {
	t.Parallel()
	needUnix(t)
	for name, damage := range bad {
		for _, by := range []string{"Delete", "Sweep"} {
			foreign := name == "link" || name == "folder"
			t.Run(by+"/"+name, func(t *testing.T) {
				t.Parallel()
				asOwner(t, func() {
					dir := t.TempDir() + "/s"
					s := open(t, dir, nil)
					create(t, s, newRecord("key", "alice"))
					replaceKey(t, s)
					path := filepath.Join(dir, filestore.PathOf("key"))
					if err := damage(t, path); err != nil {
						t.Error(err)
						return
					}
					switch by {
					case "Delete":
						if err := s.Delete(t.Context(), "key"); err != nil {
							t.Errorf("Delete: %v", err)
						}
					case "Sweep":
						s.WalkFrom("key")
						if n, err := s.Sweep(t.Context(), 10); n != 0 || err != nil {
							t.Errorf("Sweep: got %d removed and error %v, want 0: it was no record", n, err)
						}
					}
					if _, err := os.Lstat(path); (err == nil) != (foreign && by == "Sweep") {
						t.Errorf("looking for the file afterwards: got error %v", err)
					}
				})
			})
		}
	}
}

func replaceKey(t *testing.T, s *filestore.Store) {
	t.Helper()
	replace(t, s, load(t, s, "key"))
}

// A file may be cut off anywhere: then it holds the state before the last one, or none, and never half of one.
func TestTruncatedAnywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	first := newRecord("key", "")
	first.Data = bytes.Repeat([]byte("1"), 3000)
	create(t, s, first)
	second := first
	second.Data = bytes.Repeat([]byte("2"), 3000)
	second = replace(t, s, second)
	path := filepath.Join(dir, filestore.PathOf("key"))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for n := len(raw); n >= 0; n -= 7 {
		if err := os.WriteFile(path, raw[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load(t.Context(), "key")
		switch {
		case errors.Is(err, store.ErrNotFound):
			seen["none"]++
		case err != nil:
			t.Fatalf("Load of a file cut to %d bytes: %v", n, err)
		case got.Version == first.Version:
			same(t, got, first)
			seen["first"]++
		default:
			same(t, got, second)
			seen["second"]++
		}
	}
	if len(seen) != 3 {
		t.Errorf("got states %v, want all three", seen)
	}
}

// Wherever a byte of the newest state is damaged, the state before it stands, for readers and for writers; never an
// error.
func TestDamageFallsBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	for _, size := range []int{100, 2500} {
		key := fmt.Sprint("key", size)
		first := newRecord(key, "alice")
		first.Data = bytes.Repeat([]byte("1"), size)
		create(t, s, first)
		second := first
		second.Data = bytes.Repeat([]byte("2"), size)
		second = replace(t, s, second)
		path := filepath.Join(dir, filestore.PathOf(key))
		at := []int64{2048, 2052, 2056, 2064, 2072, 2130, 2148, 2160}
		if size > 2048 {
			at = append(at, 8192, 8192+2499) // in the extent
		}
		for _, at := range at {
			if err := scribble(path, at); err != nil {
				t.Fatal(err)
			}
			same(t, load(t, s, key), first)
			if err := s.Replace(t.Context(), second, second.Version); !errors.Is(err, store.ErrConflict) {
				t.Fatalf("Replace of the damaged version: got error %v, want ErrConflict", err)
			}
			if err := scribble(path, at); err != nil {
				t.Fatal(err)
			}
			same(t, load(t, s, key), second)
		}
		if err := scribble(path, at[3]); err != nil {
			t.Fatal(err)
		}
		replace(t, s, first)
	}
}

// Errors that come from the system name files, whose names are made of keys. They stay inside.
func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	needUnix(t)
	asOwner(t, func() {
		dir := t.TempDir() + "/s"
		s := open(t, dir, nil)
		rec := newRecord("the-key", "the-principal")
		create(t, s, rec)
		shard := filepath.Join(dir, filepath.Dir(filestore.PathOf("the-key")))
		if err := errors.Join(os.Chmod(shard, 0), os.Chmod(filepath.Join(dir, "principals"), 0)); err != nil {
			t.Error(err)
			return
		}
		defer os.Chmod(shard, 0o700)
		defer os.Chmod(filepath.Join(dir, "principals"), 0o700)
		_, loadErr := s.Load(t.Context(), "the-key")
		s.WalkFrom("the-key")
		_, sweepErr := s.Sweep(t.Context(), 10)
		var listErr, allErr error
		for _, err := range s.Principal(t.Context(), "the-principal") {
			listErr = err
		}
		for _, err := range s.All(t.Context()) {
			allErr = err
		}
		for name, err := range map[string]error{
			"Load": loadErr, "Create": s.Create(t.Context(), rec), "Replace": s.Replace(t.Context(), rec, 1),
			"Touch":  s.Touch(t.Context(), "the-key", 1, rec.LastSeenAt, rec.ExpiresAt),
			"Delete": s.Delete(t.Context(), "the-key"),
			"Sweep":  sweepErr, "Principal": listErr, "All": allErr,
		} {
			if err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s in a folder that can't be entered: got error %v: an outage must not look "+
					"like a logout", name, err)
				continue
			}
			if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: got error %q, want one that tells the folder and the cause", name, err)
			}
			for _, secret := range []string{"the-key", "the-principal", filepath.Base(filestore.PathOf("the-key"))} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: the error %q shows %q", name, err, secret)
				}
			}
		}
	})
}

// What a read-only folder still can do, it does; the rest says why not.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	needUnix(t)
	asOwner(t, func() {
		dir := t.TempDir() + "/s"
		s := open(t, dir, nil)
		rec := newRecord("key", "alice")
		create(t, s, rec)
		for _, sub := range []string{"", "sessions", "principals", "expiry", filepath.Dir(filestore.PathOf("key"))} {
			if err := os.Chmod(filepath.Join(dir, sub), 0o500); err != nil {
				t.Error(err)
				return
			}
			defer os.Chmod(filepath.Join(dir, sub), 0o700)
		}
		same(t, load(t, s, "key"), rec)
		for name, err := range map[string]error{
			"Create": s.Create(t.Context(), newRecord("new", "alice")), "Delete": s.Delete(t.Context(), "key"),
		} {
			if !errors.Is(err, os.ErrPermission) {
				t.Errorf("%s: got error %v, want one of permission", name, err)
			}
		}
	})
}
