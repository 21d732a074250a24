package filestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	needUnix(t)
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string) error
		want    string
	}{
		"group may read": {func(t *testing.T, dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o740)) }, "mode 0740"},
		"group may write": {
			func(t *testing.T, dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o720)) }, "chmod 700",
		},
		"others may enter": {
			func(t *testing.T, dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o701)) }, "chmod 700",
		},
		"world-writable": {
			func(t *testing.T, dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) }, "mode 0777",
		},
		"symbolic link": {func(t *testing.T, dir string) error { return os.Symlink(t.TempDir(), dir) }, "symbolic link"},
		"dangling link": {func(t *testing.T, dir string) error { return os.Symlink(dir+"x", dir) }, "symbolic link"},
		"file":          {func(t *testing.T, dir string) error { return os.WriteFile(dir, nil, 0o600) }, "not a folder"},
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
			if text := err.Error(); !strings.HasPrefix(text, "filestore: ") || !strings.Contains(text, dir) || !strings.Contains(text, c.want) {
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

// When the folder is removed, all sessions are gone, and the store goes on with a new one.
func TestFolderRemoved(t *testing.T) {
	t.Parallel()
	needUnix(t)
	for name, first := range map[string]func(*testing.T, *filestore.Store){
		"Load":   func(t *testing.T, s *filestore.Store) { absent(t, s, "key") },
		"Create": func(t *testing.T, s *filestore.Store) { create(t, s, newRecord("first", "alice")) },
		"Delete": func(t *testing.T, s *filestore.Store) {
			if err := s.Delete(t.Context(), "key"); err != nil {
				t.Fatal(err)
			}
		},
		"Replace": func(t *testing.T, s *filestore.Store) {
			if err := s.Replace(t.Context(), newRecord("key", "alice"), 1); !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Replace: got error %v, want ErrNotFound", err)
			}
		},
		"Principal": func(t *testing.T, s *filestore.Store) { list(t, s.Principal(t.Context(), "alice")) },
		"Sweep": func(t *testing.T, s *filestore.Store) {
			if n, err := s.Sweep(t.Context(), 10); n != 0 || err != nil {
				t.Fatalf("Sweep: got %d removed and error %v", n, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/s"
			s, other := open(t, dir, nil), open(t, dir, nil)
			create(t, s, newRecord("key", "alice"))
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			first(t, s)
			create(t, s, newRecord("new", "alice"))
			load(t, other, "new") // both have found the same new folder
			create(t, other, newRecord("newer", "alice"))
			load(t, s, "newer")
			if got := mode(t, dir); got != 0o700 {
				t.Errorf("mode of the new folder: got %#o", got)
			}
		})
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
	_, err := s.Load(t.Context(), "key")
	for name, err := range map[string]error{"Load": err, "Create": s.Create(t.Context(), newRecord("new", ""))} {
		if err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%s where somebody has put another folder: got error %v", name, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 0 {
		t.Errorf("the other folder has got %d files, error %v", len(files), err)
	}
}

// Folders within the folder are made again as they are needed.
func TestShardsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	for _, sub := range []string{"sessions", "principals", "expiry", filepath.Dir(filestore.PathOf("key")), "listed"} {
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
