//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package filestore

import (
	"errors"
	"fmt"
)

var errNoLocks = fmt.Errorf("there are no file locks for Go on this system: use another store: %w",
	errors.ErrUnsupported)

func (f file) tryLock(bool) (bool, error) { return false, errNoLocks }

func (f file) links() (int, error) { return 0, errNoLocks }
