//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package filestore

import (
	"os"

	"golang.org/x/sys/unix"
)

// sync makes the file's data survive a loss of power. Package os knows how: on macOS fsync alone leaves the data in the
// drive's cache.
func (f file) sync() error {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	g := os.NewFile(uintptr(fd), "")
	defer g.Close()
	return bare(g.Sync())
}

// flush is sync for folders.
func (f file) flush() error { return f.sync() }
