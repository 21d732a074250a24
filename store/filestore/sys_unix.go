//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package filestore

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// This file has the system calls of Unix. They are made directly: an os.File costs twice as much to open, for a poller
// that files don't need, and os.Root three times as much. Nothing can lead out of the folder: paths are relative to its
// descriptor and made of hashes, a link in place of a file is not followed, and only the folder's owner could put a
// link in place of one of its folders.

// root is the open folder of a Store.
type root struct {
	fd int
	st unix.Stat_t // which folder it is
	id string      // the ID in its stamp file
}

// file is an open file.
type file struct{ fd int }

type openMode int

const (
	common = unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK // not to wait for a FIFO that somebody put there

	modeRead   openMode = unix.O_RDONLY | common
	modeWrite  openMode = unix.O_RDWR | common
	modeCreate openMode = unix.O_RDWR | unix.O_CREAT | common
	modeAppend openMode = unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND | common
)

// again repeats a system call that a signal has interrupted, as those of slow file systems are.
func again[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}

// openRoot opens the folder dir. The checks are made on the open folder, so nobody can exchange it between the checks
// and its use. The texts of the errors of openRoot, private and claim continue "folder DIR".
func openRoot(dir string) (*root, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	switch {
	case err == unix.ELOOP, err == unix.EMLINK, err == unix.ENOTDIR:
		return nil, errors.New("is a symbolic link or not a folder: pass the path of a real folder")
	case err != nil:
		var st unix.Stat_t
		if unix.Lstat(dir, &st) == nil && private(&st) != nil {
			err = private(&st) // which tells more
		} else {
			err = fmt.Errorf("can't be opened: %w", err)
		}
		return nil, err
	}
	r := &root{fd: fd}
	if err := r.examine(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return r, nil
}

func (r *root) examine() error {
	if err := unix.Fstat(r.fd, &r.st); err != nil {
		return fmt.Errorf("can't be examined: %w", err)
	}
	return nil
}

// claim makes the folder private if it is empty and belongs to this user. Otherwise it returns what private does.
// Several Opens may claim a folder at once.
func (r *root) claim() error {
	if r.st.Mode&0o777 == privateMode || int(r.st.Uid) != unix.Geteuid() {
		return r.private()
	}
	names, err := r.names(".")
	if err != nil {
		return fmt.Errorf("can't be read: %w", err)
	}
	if len(names) > 0 {
		// Perhaps another Open has claimed it since it was examined.
		return cmp.Or(r.examine(), r.private())
	}
	if err := unix.Fchmod(r.fd, privateMode); err != nil {
		return fmt.Errorf("can't be made private: %w", err)
	}
	// From here on nobody else can make a file there. A file that another user has made before refuses the folder.
	names, err = r.names(".")
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(r.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && int(st.Uid) != unix.Geteuid() {
			unix.Fchmod(r.fd, uint32(r.st.Mode&0o7777))
			return r.private()
		}
	}
	return cmp.Or(err, r.examine())
}

const privateMode = 0o700

// private returns an error that says who else may enter the folder.
func (r *root) private() error { return private(&r.st) }

func private(st *unix.Stat_t) error {
	if uid := unix.Geteuid(); int(st.Uid) != uid {
		return fmt.Errorf("belongs to user %d, and this process runs as %d: pass another folder, or change its owner",
			st.Uid, uid)
	}
	if mode := st.Mode & 0o777; mode&0o077 != 0 {
		return fmt.Errorf("has mode %#o, which lets others in: chmod 700 it, if nobody else could have "+
			"put files there", mode)
	}
	return nil
}

// keep keeps systemd-tmpfiles from cleaning the folder: it passes over one that somebody has locked
// (systemd.io/TEMPORARY_DIRECTORIES). Nobody else takes this lock, and nothing depends on it.
func (r *root) keep() { unix.Flock(r.fd, unix.LOCK_SH|unix.LOCK_NB) }

func (r *root) close() { unix.Close(r.fd) }

// at reports whether dir still leads to r.
func (r *root) at(dir string) bool {
	var st unix.Stat_t
	return unix.Lstat(dir, &st) == nil && st.Dev == r.st.Dev && st.Ino == r.st.Ino
}

func (r *root) open(path string, mode openMode) (file, error) {
	for {
		fd, err := unix.Openat(r.fd, path, int(mode), 0o600)
		if err != unix.EINTR {
			return file{fd}, err
		}
	}
}

// foreign reports whether open has failed because path is no regular file. A file that this process may not open is not
// foreign: it may hold a live record.
func (r *root) foreign(_ string, err error) bool {
	switch err {
	case unix.ELOOP, unix.EMLINK, unix.EISDIR, unix.ENXIO: // a link, a link on FreeBSD, a folder, a socket
		return true
	}
	return false
}

func (r *root) exists(path string) bool {
	var st unix.Stat_t
	return unix.Fstatat(r.fd, path, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// is tells whether path leads to f.
func (r *root) is(f file, path string) (bool, error) {
	var a, b unix.Stat_t
	if err := unix.Fstat(f.fd, &a); err != nil {
		return false, fmt.Errorf("examine: %w", err)
	}
	switch err := unix.Fstatat(r.fd, path, &b, unix.AT_SYMLINK_NOFOLLOW); {
	case err == unix.ENOENT:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("examine: %w", err)
	}
	return a.Dev == b.Dev && a.Ino == b.Ino, nil
}

func (r *root) mkdir(path string) error      { return unix.Mkdirat(r.fd, path, privateMode) }
func (r *root) link(from, to string) error   { return unix.Linkat(r.fd, from, r.fd, to, 0) }
func (r *root) rename(from, to string) error { return unix.Renameat(r.fd, from, r.fd, to) }

// remove removes a file, a link or an empty folder.
func (r *root) remove(path string) error {
	err := unix.Unlinkat(r.fd, path, 0)
	if err == unix.EISDIR || err == unix.EPERM { // what Linux, and what POSIX says of a folder
		if dirErr := unix.Unlinkat(r.fd, path, unix.AT_REMOVEDIR); dirErr != unix.ENOTDIR {
			return dirErr
		}
	}
	return err
}

// rmdir removes a folder if it is empty.
func (r *root) rmdir(path string) error { return unix.Unlinkat(r.fd, path, unix.AT_REMOVEDIR) }

// names returns the names in a folder, in no order.
func (r *root) names(path string) ([]string, error) {
	fd, err := again(func() (int, error) {
		return unix.Openat(r.fd, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	list, err := f.Readdirnames(-1)
	if err != nil {
		return nil, bare(err)
	}
	return list, nil
}

// syncDir makes the names in a folder survive a loss of power.
func (r *root) syncDir(path string) error {
	f, err := r.open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer f.close()
	return f.flush()
}

func (f file) close() { unix.Close(f.fd) }

// pread reads from the position on, until p is full or the file ends.
func (f file) pread(p []byte, pos int64) (int, error) {
	for read := 0; ; {
		n, err := unix.Pread(f.fd, p[read:], pos+int64(read))
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EISDIR, err == unix.ESPIPE:
			return 0, nil // a folder or a FIFO: nothing of ours
		case err != nil:
			return read, err
		}
		// Most files end within the page, and a second call, which returns nothing, would cost as much as the first.
		if read += n; n == 0 || read == len(p) || len(p) == pageSize {
			return read, nil
		}
	}
}

func (f file) pwrite(p []byte, pos int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(f.fd, p, pos)
		if err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		p, pos = p[n:], pos+int64(n)
	}
	return nil
}

// append writes p at the end of a file opened with modeAppend, in one piece.
func (f file) append(p []byte) error {
	n, err := again(func() (int, error) { return unix.Write(f.fd, p) })
	if err == nil && n < len(p) {
		return unix.ENOSPC
	}
	return err
}

// tryLock takes the lock if nobody has it, or if those who have it share it. It belongs to this opening of the file.
func (f file) tryLock(exclusive bool) (bool, error) {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	_, err := again(func() (struct{}, error) { return struct{}{}, unix.Flock(f.fd, how|unix.LOCK_NB) })
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

func (f file) stat() (st unix.Stat_t, err error) {
	err = unix.Fstat(f.fd, &st)
	return st, err
}

func (f file) size() (int64, error) {
	st, err := f.stat()
	return st.Size, err
}

// links returns how many names the file has.
func (f file) links() (int, error) {
	st, err := f.stat()
	return int(st.Nlink), err
}

// truncate may fail: it only gives space back.
func (f file) truncate(size int64) { unix.Ftruncate(f.fd, size) }
