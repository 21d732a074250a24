package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

func needUnix(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes and owners of this kind")
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOpenCreatesThePrivateFolder(t *testing.T) {
	t.Parallel()
	needUnix(t)
	dir := filepath.Join(t.TempDir(), "a", "b", "sessions")
	create(t, open(t, dir, nil), newRecord("key", "alice"))
	for _, d := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if got := mode(t, d); got != 0o700 {
			t.Errorf("mode of %s: got %#o, want 0700", d, got)
		}
	}
}

// usedFolder makes a folder with a file in it.
func usedFolder(dir string, mode os.FileMode) error {
	return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600),
		os.Chmod(dir, mode))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	needUnix(t)
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string) error
		want    string
	}{
		"group may read": {func(t *testing.T, dir string) error { return usedFolder(dir, 0o740) }, "mode 0740"},
		"group may write": {
			func(t *testing.T, dir string) error { return usedFolder(dir, 0o720) }, "chmod 700",
		},
		"others may enter": {
			func(t *testing.T, dir string) error { return usedFolder(dir, 0o701) }, "chmod 700",
		},
		"world-writable": {
			func(t *testing.T, dir string) error { return usedFolder(dir, 0o777) }, "mode 0777",
		},
		"symbolic link": {func(t *testing.T, dir string) error {
			return os.Symlink(t.TempDir(), dir)
		}, "symbolic link"},
		"dangling link": {func(t *testing.T, dir string) error { return os.Symlink(dir+"x", dir) }, "symbolic link"},
		"file": {func(t *testing.T, dir string) error {
			return os.WriteFile(dir, nil, 0o600)
		}, "not a folder"},
		"somebody else's": {func(t *testing.T, dir string) error {
			if os.Geteuid() != 0 {
				t.Skip("needs root, to give a folder away")
			}
			return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 65534, 65534))
		}, "belongs to user 65534"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "s")
			if err := c.prepare(t, dir); err != nil {
				t.Fatal(err)
			}
			s, err := filestore.Open(dir, nil)
			if err == nil {
				s.Close()
				t.Fatal("Open: got no error")
			}
			if text := err.Error(); !strings.HasPrefix(text, "filestore: ") || !strings.Contains(text, dir) ||
				!strings.Contains(text, c.want) {
				t.Errorf("Open: got error %q, want one with %q and %q", text, dir, c.want)
			}
		})
	}
	if _, err := filestore.Open("", nil); err == nil {
		t.Error(`Open(""): got no error`)
	}
}

// A parent that is a link is the administrator's choice: /tmp is one on macOS.
func TestOpenFollowsParents(t *testing.T) {
	t.Parallel()
	needUnix(t)
	real, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	create(t, open(t, filepath.Join(link, "s"), nil), newRecord("key", ""))
	load(t, open(t, filepath.Join(real, "s"), nil), "key")
}

// Open takes a folder that has been in use, also one that a killed Open has left.
func TestOpenAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	create(t, s, newRecord("key", "alice"))
	if err := os.Link(filepath.Join(dir, "listed"), filepath.Join(dir, "try")); err != nil {
		t.Fatal(err)
	}
	load(t, open(t, dir, nil), "key")
	if _, err := os.Lstat(filepath.Join(dir, "try")); err == nil {
		t.Error("what Open tries links with is still there")
	}
}

// calls are all methods on the record of a key, whose principal is alice.
func calls(s *filestore.Store, rec store.Record) map[string]func(context.Context) error {
	drain := func(seq iter.Seq2[store.Record, error]) (err error) {
		for _, err = range seq {
			if err != nil {
				break
			}
		}
		return err
	}
	return map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx, rec.Key); return err },
		"Create":  func(ctx context.Context) error { return s.Create(ctx, rec) },
		"Replace": func(ctx context.Context) error { return s.Replace(ctx, rec, rec.Version) },
		"Touch": func(ctx context.Context) error {
			return s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		},
		"Delete":    func(ctx context.Context) error { return s.Delete(ctx, rec.Key) },
		"Sweep":     func(ctx context.Context) error { _, err := s.Sweep(ctx, 10); return err },
		"All":       func(ctx context.Context) error { return drain(s.All(ctx)) },
		"Principal": func(ctx context.Context) error { return drain(s.Principal(ctx, rec.Principal)) },
	}
}

// outage checks that an error says that the store is out of order, and nothing about a record.
func outage(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) ||
		errors.Is(err, store.ErrConflict) {
		t.Errorf("%s: got error %v, want one that is no answer about the record", name, err)
	}
}

// away are ways in which the folder of an open store can disappear, and come back.
var away = map[string]struct{ leave, back func(dir string) error }{
	"renamed": {
		func(dir string) error { return os.Rename(dir, dir+"-away") },
		func(dir string) error { return os.Rename(dir+"-away", dir) },
	},
	"its parent renamed": {
		func(dir string) error { return os.Rename(filepath.Dir(dir), filepath.Dir(dir)+"-away") },
		func(dir string) error { return os.Rename(filepath.Dir(dir)+"-away", filepath.Dir(dir)) },
	},
	"its sessions renamed": {
		func(dir string) error { return os.Rename(dir+"/sessions", dir+"/away") },
		func(dir string) error { return os.Rename(dir+"/away", dir+"/sessions") },
	},
	"removed, restored from a copy": {
		func(dir string) error { return errors.Join(os.CopyFS(dir+"-copy", os.DirFS(dir)), os.RemoveAll(dir)) },
		func(dir string) error {
			os.RemoveAll(dir)
			return errors.Join(os.Rename(dir+"-copy", dir), os.Chmod(dir, 0o700))
		},
	},
	"replaced by an empty one": {
		func(dir string) error { return errors.Join(os.Rename(dir, dir+"-away"), os.Mkdir(dir, 0o700)) },
		func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Rename(dir+"-away", dir)) },
	},
	"replaced by a link to it": {
		func(dir string) error { return errors.Join(os.Rename(dir, dir+"-away"), os.Symlink(dir+"-away", dir)) },
		func(dir string) error { return errors.Join(os.Remove(dir), os.Rename(dir+"-away", dir)) },
	},
	"replaced by a file": {
		func(dir string) error { return errors.Join(os.Rename(dir, dir+"-away"), os.WriteFile(dir, nil, 0o600)) },
		func(dir string) error { return errors.Join(os.Remove(dir), os.Rename(dir+"-away", dir)) },
	},
	"replaced by another program's": {
		func(dir string) error {
			s, err := filestore.Open(dir+"-new", nil)
			if err == nil {
				s.Close()
			}
			return errors.Join(err, os.Rename(dir, dir+"-away"), os.Rename(dir+"-new", dir))
		},
		func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Rename(dir+"-away", dir)) },
	},
}

// While the folder of an open store is away, every call is an error, nothing is made in its place, and no file is made
// where it went. When it is back, everything is as before.
func TestFolderAway(t *testing.T) {
	t.Parallel()
	needUnix(t)
	for name, way := range away {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := filepath.Join(t.TempDir(), "parent")
			dir := filepath.Join(parent, "s")
			s := open(t, dir, nil)
			testAway(t, s, dir, func() error { return way.leave(dir) }, func() error { return way.back(dir) })
		})
	}
}

func testAway(t *testing.T, s *filestore.Store, dir string, leave, back func() error) {
	t.Helper()
	rec := newRecord("key", "alice")
	create(t, s, rec)
	if err := leave(); err != nil {
		t.Fatal(err)
	}
	before := tree(t, filepath.Dir(filepath.Dir(dir)))
	unknown := newRecord("unknown", "bob")
	for range 2 {
		for _, rec := range []store.Record{rec, unknown} {
			for name, call := range calls(s, rec) {
				outage(t, name+" of "+rec.Key, call(t.Context()))
			}
		}
	}
	if after := tree(t, filepath.Dir(filepath.Dir(dir))); after != before {
		t.Errorf("while the folder was away, the files became\n%s\nand had been\n%s", after, before)
	}
	if err := back(); err != nil {
		t.Fatal(err)
	}
	same(t, load(t, s, "key"), rec)
	rec = replace(t, s, rec)
	same(t, load(t, open(t, dir, nil), "key"), rec)
	create(t, s, newRecord("new", "alice"))
	if got := list(t, s.Principal(t.Context(), "alice")); len(got) != 2 {
		t.Errorf("Principal: got %d records, want 2", len(got))
	}
	absent(t, s, "unknown")
}

// tree describes all files and folders under dir, if that is there.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// An empty folder of this user is made private, whatever its mode; several Opens may do so at once.
func TestOpenClaimsAnEmptyFolder(t *testing.T) {
	t.Parallel()
	needUnix(t)
	load := func(t *testing.T, dir string) {
		s := open(t, dir, nil)
		create(t, s, newRecord("key", "alice"))
		if got := mode(t, dir); got != 0o700 {
			t.Errorf("mode of the folder: got %#o, want 0700", got)
		}
	}
	load(t, t.TempDir())
	for _, m := range []os.FileMode{0o755, 0o777, 0o750, 0o500, 0o711, 0o777 | os.ModeSticky, 0o770 | os.ModeSetgid} {
		dir := filepath.Join(t.TempDir(), "s")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, m)); err != nil {
			t.Fatal(err)
		}
		load(t, dir)
	}
	for range 30 {
		dir := filepath.Join(t.TempDir(), "s")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := filestore.Open(dir, nil)
				if err != nil {
					t.Errorf("Open of an empty folder among others: %v", err)
					return
				}
				s.Close()
			})
		}
		wg.Wait()
		if got := mode(t, dir); got != 0o700 {
			t.Fatalf("mode of the folder: got %#o, want 0700", got)
		}
	}
}

// In /tmp anybody can make a folder of the name of one that was removed. It is not used.
func TestFolderReplacedByAnother(t *testing.T) {
	t.Parallel()
	needUnix(t)
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	create(t, s, newRecord("key", "alice"))
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s, newRecord("key", "alice")) {
		err := call(t.Context())
		outage(t, name, err)
		if err != nil && (!strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "chmod")) {
			t.Errorf("%s where somebody has put another folder: got error %v", name, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 0 {
		t.Errorf("the other folder has got %d files, error %v", len(files), err)
	}
	if got := mode(t, dir); got != 0o777 {
		t.Errorf("mode of the other folder: got %#o, want 0777 as before", got)
	}
}

// What can be made again from the records is made again as it is needed.
func TestShardsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	for _, sub := range []string{"principals", "expiry", filepath.Dir(filestore.PathOf("key")), "listed"} {
		if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
			t.Fatal(err)
		}
		s.Delete(t.Context(), "key")
		rec := newRecord("key", "alice")
		create(t, s, rec)
		same(t, load(t, s, "key"), rec)
		if got := list(t, s.Principal(t.Context(), "alice")); len(got) != 1 {
			t.Errorf("after %s was removed, Principal: got %d records, want 1", sub, len(got))
		}
		if got := list(t, s.All(t.Context())); len(got) != 1 {
			t.Errorf("after %s was removed, All: got %d records, want 1", sub, len(got))
		}
	}
}
