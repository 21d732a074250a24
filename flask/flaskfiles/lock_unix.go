//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package flaskfiles

import (
	"os"
	"syscall"
)

// tryLock takes the lock if nobody has it. The lock belongs to this opening of the file.
func tryLock(f *os.File) (bool, error) {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return false, nil
		default:
			return err == nil, err
		}
	}
}
