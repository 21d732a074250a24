package sqlitestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hipflask/session/store"
)

// On a full disk the records stay as they are, and can be read. When there is room again everything works.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m,mode=700"); err != nil {
		t.Skipf("needs root, to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		// Detached: a child process that another test is starting may hold a file of it open until it has begun.
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := open(t, filepath.Join(disk, "sessions.db"), nil)
	var kept []store.Record
	var full error
	for range 10_000 {
		rec := newRecord("ann")
		rec.Data = []byte(strings.Repeat(rec.Key, 100))
		if full = s.Create(t.Context(), rec); full != nil {
			break
		}
		kept = append(kept, rec)
	}
	if full == nil || errors.Is(full, store.ErrExists) || !strings.Contains(full.Error(), "full") || len(kept) == 0 {
		t.Fatalf("got error %v after %d records, want that the disk is full", full, len(kept))
	}
	for _, rec := range kept {
		if got, err := s.Load(t.Context(), rec.Key); err != nil || string(got.Data) != string(rec.Data) {
			t.Fatalf("Load on a full disk: %v", err)
		}
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	create(t, s, newRecord("bob"))
	next := kept[0]
	next.Version = store.NewVersion()
	if err := s.Replace(t.Context(), next, kept[0].Version); err != nil {
		t.Errorf("Replace when there is room again: %v", err)
	}
	if _, err := os.Stat(filepath.Join(disk, "sessions.db")); err != nil {
		t.Error(err)
	}
}
