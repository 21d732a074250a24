//go:build unix

package filestore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// Each operation stands beside its floor: the bare system calls that it can't do without, on a file as large, as deep
// in the same file system. Read the ratio, not the nanoseconds:
//
//	go test -run '^$' -bench 'Load|Replace' -count 10 ./store/filestore

// floorFile returns the path of a file of the size that a record's file has.
func floorFile(b *testing.B, size int) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "sessions", "ab")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, strings.Repeat("c", 30))
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func BenchmarkLoad(b *testing.B) {
	b.Run("op=load/floor", func(b *testing.B) {
		path, page := floorFile(b, 4096), make([]byte, 4096)
		b.ReportAllocs()
		for b.Loop() {
			fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := syscall.Pread(fd, page, 0); n != len(page) || err != nil {
				b.Fatal(n, err)
			}
			syscall.Close(fd)
		}
	})
	for _, principal := range []string{"", "alice"} {
		b.Run(fmt.Sprintf("op=load/principal=%t", principal != ""), func(b *testing.B) {
			s := open(b, b.TempDir()+"/s", nil)
			rec := newRecord("key", principal)
			create(b, s, rec)
			rec = replace(b, s, rec) // so that both slots are written
			b.ReportAllocs()
			for b.Loop() {
				got, err := s.Load(b.Context(), "key")
				if err != nil || len(got.Data) != len(rec.Data) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReplace(b *testing.B) {
	b.Run("op=replace/floor", func(b *testing.B) {
		path, page := floorFile(b, 4096), make([]byte, 4096)
		b.ReportAllocs()
		for b.Loop() {
			fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
				b.Fatal(err)
			}
			if n, err := syscall.Pread(fd, page, 0); n != len(page) || err != nil {
				b.Fatal(n, err)
			}
			if n, err := syscall.Pwrite(fd, page[:400], 2048); n != 400 || err != nil {
				b.Fatal(n, err)
			}
			syscall.Close(fd)
		}
	})
	for _, op := range []string{"replace", "touch"} {
		b.Run("op="+op, func(b *testing.B) {
			s := open(b, b.TempDir()+"/s", nil)
			rec := newRecord("key", "alice")
			create(b, s, rec)
			b.ReportAllocs()
			for b.Loop() {
				if op == "touch" {
					if err := s.Touch(b.Context(), "key", rec.Version, rec.LastSeenAt, rec.ExpiresAt); err != nil {
						b.Fatal(err)
					}
					continue
				}
				version := rec.Version
				rec.Version++
				if err := s.Replace(b.Context(), rec, version); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCreate stands beside a file that is made, written and closed.
func BenchmarkCreate(b *testing.B) {
	b.Run("op=create/floor", func(b *testing.B) {
		path, data := floorFile(b, 0), make([]byte, 400)
		for i := 0; b.Loop(); i++ {
			fd, err := syscall.Open(path+fmt.Sprint(i),
				syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o600)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := syscall.Pwrite(fd, data, 0); err != nil {
				b.Fatal(err)
			}
			syscall.Close(fd)
		}
	})
	for _, principal := range []string{"", "alice"} {
		b.Run(fmt.Sprintf("op=create/principal=%t", principal != ""), func(b *testing.B) {
			s := open(b, b.TempDir()+"/s", nil)
			for i := 0; b.Loop(); i++ {
				create(b, s, newRecord(fmt.Sprint("key", i), principal))
			}
		})
	}
}

// BenchmarkParallel has as many writers of sessions of their own as there are processors.
func BenchmarkParallel(b *testing.B) {
	s := open(b, b.TempDir()+"/s", nil)
	var writers atomic.Int64
	b.Run("op=replace/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			rec := newRecord(fmt.Sprint("key", writers.Add(1)), "")
			create(b, s, rec)
			for pb.Next() {
				version := rec.Version
				rec.Version++
				if err := s.Replace(b.Context(), rec, version); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkSweep removes ten expired records from among n others.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("op=sweep10/live=%d", n), func(b *testing.B) {
			s := open(b, b.TempDir()+"/s", nil)
			for i := range n {
				create(b, s, newRecord(fmt.Sprint("live", i), fmt.Sprint("user", i)))
			}
			for b.Loop() {
				b.StopTimer()
				for i := range 10 {
					rec := newRecord(fmt.Sprint("dead", i), "alice")
					rec.ExpiresAt = time.Now().Add(-time.Second)
					create(b, s, rec)
				}
				b.StartTimer()
				if removed, err := s.Sweep(b.Context(), 100); removed != 10 || err != nil {
					b.Fatal(removed, err)
				}
			}
		})
	}
}

func BenchmarkPrincipal(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("op=list3/live=%d", n), func(b *testing.B) {
			s := open(b, b.TempDir()+"/s", nil)
			for i := range n {
				create(b, s, newRecord(fmt.Sprint("key", i), fmt.Sprint("user", i/3)))
			}
			for b.Loop() {
				if got := len(list(b, s.Principal(b.Context(), "user7"))); got != 3 {
					b.Fatalf("got %d records, want 3", got)
				}
			}
		})
	}
}

var _ store.Store = (*filestore.Store)(nil)
