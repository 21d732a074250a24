//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package filestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// This file does the same as sys_unix.go by package os, for Windows. On other systems the package can be built, but
// Open fails because there are no locks. Files that os.Root opens on Windows can be removed and renamed while they are
// open.

type root struct {
	*os.Root
	info fs.FileInfo // which folder it is
	id   string      // the ID in its stamp file
}

type file struct{ *os.File }

type openMode int

const (
	modeRead   openMode = openMode(os.O_RDONLY)
	modeWrite  openMode = openMode(os.O_RDWR)
	modeCreate openMode = openMode(os.O_RDWR | os.O_CREATE)
	modeAppend openMode = openMode(os.O_WRONLY | os.O_CREATE | os.O_APPEND)
)

func openRoot(dir string) (*root, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("can't be examined: %w", bare(err))
	}
	if !info.IsDir() {
		return nil, errors.New("is a symbolic link or not a folder: pass the path of a real folder")
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("can't be opened: %w", bare(err))
	}
	if info, err = r.Stat("."); err != nil {
		r.Close()
		return nil, fmt.Errorf("can't be examined: %w", bare(err))
	}
	return &root{Root: r, info: info}, nil
}

// claim and private have nothing to do: a folder has the access rights of the one it lies in.
func (r *root) claim() error   { return nil }
func (r *root) private() error { return nil }

func (r *root) close() { r.Close() }

func (r *root) keep() {}

func (r *root) at(dir string) bool {
	info, err := os.Lstat(dir)
	return err == nil && os.SameFile(info, r.info)
}

func (r *root) open(path string, mode openMode) (file, error) {
	f, err := r.OpenFile(path, int(mode), 0o600)
	return file{f}, bare(err)
}

func (r *root) foreign(path string, _ error) bool {
	info, statErr := r.Lstat(path)
	return statErr == nil && !info.Mode().IsRegular()
}

func (r *root) exists(path string) bool {
	_, err := r.Lstat(path)
	return err == nil
}

func (r *root) is(f file, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("examine: %w", bare(err))
	}
	b, err := r.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("examine: %w", bare(err))
	}
	return os.SameFile(a, b), nil
}

func (r *root) mkdir(path string) error      { return bare(r.Mkdir(path, 0o700)) }
func (r *root) link(from, to string) error   { return bare(r.Link(from, to)) }
func (r *root) rename(from, to string) error { return bare(r.Rename(from, to)) }
func (r *root) remove(path string) error     { return bare(r.Remove(path)) }
func (r *root) rmdir(path string) error      { return bare(r.Remove(path)) }

func (r *root) names(path string) ([]string, error) {
	f, err := r.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	list, err := f.Readdirnames(-1)
	return list, bare(err)
}

// syncDir does nothing: NTFS keeps changes of names in its journal.
func (r *root) syncDir(string) error { return nil }

func (f file) close() { f.Close() }

func (f file) pread(p []byte, pos int64) (int, error) {
	n, err := f.ReadAt(p, pos)
	if err == io.EOF {
		err = nil
	} else if err != nil {
		if info, statErr := f.Stat(); statErr == nil && !info.Mode().IsRegular() {
			return 0, nil // a folder: nothing of ours
		}
	}
	return n, bare(err)
}

func (f file) pwrite(p []byte, pos int64) error {
	_, err := f.WriteAt(p, pos)
	return bare(err)
}

func (f file) append(p []byte) error {
	_, err := f.Write(p)
	return bare(err)
}

func (f file) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, bare(err)
	}
	return info.Size(), nil
}

func (f file) truncate(size int64) { f.Truncate(size) }

func (f file) sync() error { return bare(f.Sync()) }
