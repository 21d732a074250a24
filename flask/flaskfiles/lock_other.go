//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package flaskfiles

import (
	"errors"
	"fmt"
	"os"
)

func tryLock(*os.File) (bool, error) {
	return false, fmt.Errorf("there are no file locks for Go on this system: use another store: %w",
		errors.ErrUnsupported)
}
