//go:build unix

package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkOwner refuses a database whose files belong to somebody else, or lie in a folder where somebody else may replace
// them: whoever can do that can log in as anybody. Links are followed where SQLite follows them.
func checkOwner(path string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	folder := filepath.Dir(path)
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	// In a sticky folder only its owner can replace a file of ours: /tmp, which is root's, will do.
	sticky := info.Mode()&os.ModeSticky != 0
	if err := owned(info); err != nil && !(sticky && ownerOf(info) == 0) {
		return fmt.Errorf("folder %s %w", folder, err)
	} else if info.Mode()&0o002 != 0 && !sticky {
		return fmt.Errorf("folder %s has mode %#o, which lets others replace the file: chmod 700 it, "+
			"or pass another path",
			folder, info.Mode().Perm())
	}
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		info, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := owned(info); err != nil {
			return fmt.Errorf("file %s %w", name, err)
		}
		if mode := info.Mode(); mode.IsRegular() && mode&0o002 != 0 {
			return fmt.Errorf("file %s has mode %#o, which lets others write to it: chmod 600 it, if nobody has",
				name, mode.Perm())
		}
	}
	return nil
}

// owned returns an error that reads on from the name of a file, if the file belongs to another user.
func owned(info fs.FileInfo) error {
	if owner, uid := ownerOf(info), os.Geteuid(); owner != uid {
		return fmt.Errorf("belongs to user %d, and this process runs as %d: pass another path, or change its owner",
			owner, uid)
	}
	return nil
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
