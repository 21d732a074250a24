package sqlitestore_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hipflask/session/store/internal/sqltest"
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
	sqltest.Full(t, s, "full", func() {
		if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=16m"); err != nil {
			t.Fatal(err)
		}
	})
}
