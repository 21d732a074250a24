package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hipflask/session/verify/benchmarks/measure"
)

// hmacFloor checks a signature as a signed cookie of 43 bytes needs it, with a key schedule for each.
func hmacFloor() measure.Subject {
	key, id, want := make([]byte, 32), make([]byte, 43), make([]byte, 32)
	return measure.Subject{Name: "HMAC-SHA256 alone", Run: func(n int) {
		for range n {
			mac := hmac.New(sha256.New, key)
			mac.Write(id)
			hmac.Equal(mac.Sum(want[:0]), want)
		}
	}}
}

// pageSize is as much as a session's file has.
const pageSize = 4096

// fileFloors are the system calls that a file of a session can't do without, on as many files, as deep in the same file
// system: to read one, and to change it where other processes may do the same.
func fileFloors(dir string, files int) (read, change measure.Subject, err error) {
	paths := make([]string, files)
	for i := range paths {
		paths[i] = filepath.Join(dir, "floor", fmt.Sprintf("%02x", i%256), fmt.Sprintf("%030d", i))
		if err := os.MkdirAll(filepath.Dir(paths[i]), 0o700); err != nil {
			return read, change, err
		}
		if err := os.WriteFile(paths[i], make([]byte, pageSize), 0o600); err != nil {
			return read, change, err
		}
	}
	page := make([]byte, pageSize)
	reads, changes := 0, 0
	read = measure.Subject{Name: "open, pread, close", Run: repeat(func() error {
		reads++
		fd, err := syscall.Open(paths[reads%files], syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = syscall.Pread(fd, page, 0)
		return errors.Join(err, syscall.Close(fd))
	})}
	change = measure.Subject{Name: "open, flock, pread, pwrite, close", Run: repeat(func() error {
		changes++
		fd, err := syscall.Open(paths[changes%files], syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err = syscall.Flock(fd, syscall.LOCK_EX); err == nil {
			_, err = syscall.Pread(fd, page, 0)
		}
		if err == nil {
			_, err = syscall.Pwrite(fd, page[:400], 2048)
		}
		return errors.Join(err, syscall.Close(fd))
	})}
	return read, change, nil
}

// repeat returns a Run that stops the program if op fails: what is measured must not.
func repeat(op func() error) func(n int) {
	return func(n int) {
		for range n {
			if err := op(); err != nil {
				panic(err)
			}
		}
	}
}
