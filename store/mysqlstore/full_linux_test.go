package mysqlstore_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/mysqlstore"
)

// smallDatabase makes a database whose tables lie on a file system of its own, and returns its name and a function that
// makes room there.
func smallDatabase(t *testing.T) (name string, free func()) {
	t.Helper()
	name = sqltest.Table()
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
	sqltest.Full(t, s, "error 1114", free)
	run(t, "DROP TABLE "+name+".sessions, "+name+".sessions_schema") // before the disk goes
}
