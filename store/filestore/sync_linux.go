package filestore

import "golang.org/x/sys/unix"

// sync makes the file's data survive a loss of power. fdatasync writes the size too, but not the file's times, and so
// needs no commit of the file system's journal.
func (f file) sync() error {
	_, err := again(func() (struct{}, error) { return struct{}{}, unix.Fdatasync(f.fd) })
	return err
}

// flush is sync for folders.
func (f file) flush() error {
	_, err := again(func() (struct{}, error) { return struct{}{}, unix.Fsync(f.fd) })
	return err
}
