package mysqlstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
)

// smallDatabase makes a database whose tables lie on a file system of its own, and returns its name and a function that
// makes room there.
func smallDatabase(t *testing.T) (name string, free func()) {
	t.Helper()
	name = table()
	run(t, "CREATE DATABASE "+name)
	dir := filepath.Join(server().Dir, "data", name)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Skipf("needs root, to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	return name, func() {
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=32m"); err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk is an error; what was there stays, and can be read, changed and removed when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	name, free := smallDatabase(t)
	s := open(t, server().URL, &mysqlstore.Options{Table: name + ".sessions"})
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
	if full == nil || !strings.Contains(full.Error(), "error 1114") || len(kept) == 0 {
		t.Fatalf("got error %v after %d records, want that the table is full", full, len(kept))
	}
	for _, rec := range kept {
		if got, err := s.Load(t.Context(), rec.Key); err != nil || string(got.Data) != string(rec.Data) {
			t.Fatalf("Load on a full disk: %v", err)
		}
	}
	free()
	for _, rec := range kept {
		next := rec
		next.Version, next.Data = store.NewVersion(), append(rec.Data, rec.Data...)
		if err := s.Replace(t.Context(), next, rec.Version); err != nil {
			t.Fatalf("Replace when there is room again: %v", err)
		}
	}
	create(t, s, newRecord("bob"))
	run(t, "DROP TABLE "+name+".sessions, "+name+".sessions_schema") // before the disk goes
}
