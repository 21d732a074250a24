package filestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// smallDisk returns a folder on a file system of its own, and functions that fill it and make room again.
func smallDisk(t *testing.T, options string) (dir string, fill, free func()) {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, options); err != nil {
		t.Skipf("needs root, to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		// Detached: a child process that another test is starting may hold a file of it open until it has begun.
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(disk, "filler")
	fill = func() {
		// A child has all open files of its parent until it executes its program, and a removed file takes up room as
		// long as anybody has it open.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: got error %v, want ENOSPC", err)
		}
	}
	free = func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(disk, "s"), fill, free
}

// On a full disk the records stay as they are: they can be read, changed within their room, and removed.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir, fill, free := smallDisk(t, "size=1m,mode=700")
	s := open(t, dir, nil)
	small, large := newRecord("small", "alice"), newRecord("large", "alice")
	large.Data = bytes.Repeat([]byte("1"), 20_000)
	create(t, s, small)
	create(t, s, large)
	for i := range 3 {
		dead := newRecord(fmt.Sprint("dead", i), "alice")
		dead.ExpiresAt = time.Now().Add(-time.Second)
		create(t, s, dead)
	}
	before := len(files(t, dir))
	room := size(t, dir, "large")
	// Where there is room for a part of the data only, it is given back.
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "later"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	fill()
	if err := os.Remove(filepath.Join(filepath.Dir(dir), "later")); err != nil {
		t.Fatal(err)
	}
	bigger := large
	bigger.Version, bigger.Data = store.NewVersion(), make([]byte, 300_000)
	if err := s.Replace(t.Context(), bigger, large.Version); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Replace by more: got error %v, want ENOSPC", err)
	}
	if got := size(t, dir, "large"); got != room {
		t.Errorf("after a Replace that failed: got a file of %d bytes, want %d as before", got, room)
	}
	free()
	fill()
	replace(t, s, small)
	for range 3 {
		bigger := large
		bigger.Version, bigger.Data = store.NewVersion(), bytes.Repeat([]byte("2"), 300_000)
		if err := s.Replace(t.Context(), bigger, large.Version); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Replace by more: got error %v, want ENOSPC", err)
		}
		same(t, load(t, s, "large"), large)
		for _, data := range [][]byte{nil, make([]byte, 20_000)} {
			rec := newRecord("new", "alice")
			rec.Data = data
			// A Create of little may find a page that the queue or another file has.
			if err := s.Create(t.Context(), rec); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Create: got error %v, want ENOSPC", err)
			}
		}
		absent(t, s, "new")
		if got := len(list(t, s.Principal(t.Context(), "alice"))); got != 2 {
			t.Fatalf("Principal: got %d records, want 2", got)
		}
	}
	if got := len(files(t, dir)); got > before {
		t.Errorf("failed writes have left %d files", got-before)
	}
	sweep(t, s, 10, 3)
	if err := s.Delete(t.Context(), "small"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	free()
	create(t, s, newRecord("new", "alice"))
	large = replace(t, s, large)
	same(t, load(t, s, "large"), large)
}

// The same where there is room, but for no more files.
func TestNoMoreInodes(t *testing.T) {
	t.Parallel()
	dir, _, _ := smallDisk(t, "size=1m,mode=700,nr_inodes=20")
	s := open(t, dir, nil)
	created := 0
	for i := range 20 {
		key := fmt.Sprint("key", i)
		switch err := s.Create(t.Context(), newRecord(key, "")); {
		case err == nil:
			created++
			load(t, s, key)
		case errors.Is(err, syscall.ENOSPC):
			absent(t, s, key)
		default:
			t.Fatalf("Create: got error %v, want ENOSPC", err)
		}
	}
	if got := len(list(t, s.All(t.Context()))); got != created || created == 20 {
		t.Errorf("got %d records after %d were created", got, created)
	}
}

// On a file system that was mounted read-only, what there is can be read.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir, _, _ := smallDisk(t, "size=1m,mode=700")
	s := open(t, dir, nil)
	rec := newRecord("key", "alice")
	create(t, s, rec)
	if err := syscall.Mount("", filepath.Dir(dir), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("needs root, to mount a file system read-only: %v", err)
	}
	same(t, load(t, s, "key"), rec)
	if got := len(list(t, s.All(t.Context()))); got != 1 {
		t.Errorf("All: got %d records, want 1", got)
	}
	if got := len(list(t, s.Principal(t.Context(), "alice"))); got != 1 {
		t.Errorf("Principal: got %d records, want 1", got)
	}
	_, openErr := filestore.Open(dir, nil)
	for name, err := range map[string]error{
		"Create": s.Create(t.Context(), newRecord("new", "")), "Replace": s.Replace(t.Context(), rec, rec.Version),
		"Touch":  s.Touch(t.Context(), "key", rec.Version, time.Now(), rec.ExpiresAt),
		"Delete": s.Delete(t.Context(), "key"),
		"Open":   openErr,
	} {
		if !errors.Is(err, syscall.EROFS) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: got error %v, want EROFS", name, err)
		}
	}
}
