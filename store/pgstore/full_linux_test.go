package pgstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/pgstore"
)

// smallDisk returns a folder of the server's user on a file system of its own, and a function that makes room there.
func smallDisk(t *testing.T) (dir string, free func()) {
	t.Helper()
	disk := filepath.Join(server().Dir, sqltest.Table())
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m,mode=755"); err != nil {
		t.Skipf("needs root, to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	info, err := os.Stat(server().Dir)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	dir = filepath.Join(disk, "space")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=8m"); err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk is an error; what was there stays, and can be read, changed and removed when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir, free := smallDisk(t)
	space := sqltest.Table()
	p := pool(t, server().URL, nil)
	if _, err := p.Exec(t.Context(), fmt.Sprintf("CREATE TABLESPACE %s LOCATION '%s'", space, dir)); err != nil {
		t.Fatal(err)
	}
	opts := &pgstore.Options{Table: sqltest.Table()}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, sql := range []string{"DROP TABLE " + opts.Table + ", " + opts.Table + "_schema CASCADE",
			"DROP TABLESPACE " + space} {
			if _, err := p.Exec(ctx, sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	})
	s := open(t, server().URL+"?default_tablespace="+space, opts)
	sqltest.Full(t, s, "53100", free)
}
