//go:build unix

package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// lockFile takes the lock of a record's file, as another process would, and returns the function that gives it back.
func lockFile(t *testing.T, path string) func() {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() { f.Close() })
}

// A process that was stopped with a lock held blocks writers of that record until their contexts end; nobody else.
func TestLockedRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	rec := newRecord("key", "alice")
	create(t, s, rec)
	unlock := lockFile(t, filepath.Join(dir, filestore.PathOf("key")))
	defer unlock()
	for name, call := range map[string]func(context.Context) error{
		"Create":  func(ctx context.Context) error { return s.Create(ctx, rec) },
		"Replace": func(ctx context.Context) error { return s.Replace(ctx, rec, rec.Version) },
		"Touch": func(ctx context.Context) error {
			return s.Touch(ctx, "key", rec.Version, time.Now(), rec.ExpiresAt)
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "key") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := call(ctx)
		if cancel(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s of a locked record: got error %v, want the context's", name, err)
		}
	}
	same(t, load(t, s, "key"), rec)
	if got := list(t, s.Principal(t.Context(), "alice")); len(got) != 1 {
		t.Errorf("Principal: got %d records, want 1", len(got))
	}
	create(t, s, newRecord("other", "alice"))
	done := make(chan error)
	go func() { done <- s.Touch(t.Context(), "key", rec.Version, time.Now(), rec.ExpiresAt) }()
	unlock()
	if err := <-done; err != nil {
		t.Errorf("Touch after the lock was given back: %v", err)
	}
}

// While a writer has half written a slot, the other slot may be outdated: a Load waits for the writer. Once that has
// died, the other slot is the newest.
func TestTornSlot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	first := newRecord("key", "alice")
	create(t, s, first)
	second := replace(t, s, first)
	path := filepath.Join(dir, filestore.PathOf("key"))
	unlock := lockFile(t, path)
	if err := scribble(path, 2048+100); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if rec, err := s.Load(ctx, "key"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Load while a slot is being written: got version %d and error %v, want to wait", rec.Version, err)
	}
	if err := scribble(path, 2048+100); err != nil {
		t.Fatal(err)
	}
	same(t, load(t, s, "key"), second)
	if err := scribble(path, 2048+100); err != nil {
		t.Fatal(err)
	}
	unlock()
	same(t, load(t, s, "key"), first)
	third := first
	third.Version = store.NewVersion()
	if err := s.Replace(t.Context(), third, first.Version); err != nil {
		t.Errorf("Replace of what a dead writer has left: %v", err)
	}
	same(t, load(t, s, "key"), third)
	// The lock of the folder that keeps cleaners away.
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EWOULDBLOCK {
		t.Errorf("lock of an open folder: got error %v, want EWOULDBLOCK", err)
	}
	if err := syscall.Mkfifo(path+"x", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"x", path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "key"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load of a FIFO: got error %v, want ErrNotFound", err)
	}
}

// A record that somebody has locked does not hold up the others, and is not forgotten.
func TestSweepOfLockedRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	for i := range 3 {
		rec := newRecord(fmt.Sprint("key", i), "alice")
		rec.ExpiresAt = time.Now().Add(-time.Minute)
		create(t, s, rec)
	}
	unlock := lockFile(t, filepath.Join(dir, filestore.PathOf("key0")))
	s.WalkFrom("key1")
	sweep(t, s, 10, 2)
	unlock()
	sweep(t, s, 10, 1)
}
