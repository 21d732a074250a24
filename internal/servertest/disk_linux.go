package servertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Disk is a small file system that can be full.
type Disk struct {
	Dir string // an empty folder on it

	root string
}

// NewDisk mounts a file system of a size such as "8m", which needs root. Its folder belongs to the user who runs s;
// nil: the one who runs the tests. It is unmounted when the test ends.
func NewDisk(tb TB, s *Server, size string) *Disk {
	tb.Helper()
	root, err := os.MkdirTemp("", "disk-")
	if err != nil {
		tb.Fatalf("servertest: %v", err)
	}
	tb.Cleanup(func() { os.Remove(root) })
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "mode=755,size="+size); err != nil {
		tb.Fatalf("servertest: mount a small disk, as root: %v", err)
	}
	// Detached: whoever has a file of it open keeps it until then.
	tb.Cleanup(func() { syscall.Unmount(root, syscall.MNT_DETACH) })
	d := &Disk{Dir: filepath.Join(root, "data"), root: root}
	if err := os.Mkdir(d.Dir, 0o700); err != nil {
		tb.Fatalf("servertest: %v", err)
	}
	if s != nil {
		if err := errors.Join(giveTo(d.Dir, s.user), reachable(d.Dir, s.user)); err != nil {
			tb.Fatalf("servertest: %v", err)
		}
	}
	return d
}

func (d *Disk) filler() string { return filepath.Join(d.root, "filler") }

// Fill takes all room that is left.
//
// It keeps this process from starting others meanwhile: a child has all open files of its parent until it executes its
// program, and a file that was removed takes up room as long as anybody has it open. So Free would return before there
// is room. Hold syscall.ForkLock for reading in the same way around any other file whose removal has to make room.
func (d *Disk) Fill() error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("servertest: fill a disk: %w", err)
	}
	return nil
}

// Free gives back what Fill took. When it returns, there is room.
func (d *Disk) Free() error { return os.Remove(d.filler()) }
