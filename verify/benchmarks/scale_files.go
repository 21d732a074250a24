package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hipflask/session/store/filestore"
)

// scaleFiles fills up a file store, and measures at each size what requests and a sweep take.
func (b *bench) scaleFiles() error {
	sizes := b.sizes(1_000_000)
	dir := filepath.Join(b.dir, "scale")
	defer os.RemoveAll(dir)
	s, err := filestore.Open(dir, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := context.Background()
	t := table{head: []string{"files", "open the store", "create", "load", "change",
		"list a user", "sweep, for each expired", "bytes on disk"}}
	lines := []series{{name: "create"}, {name: "load"}, {name: "change"}, {name: "list a user's three"},
		{name: "sweep one of 200"}}
	have := 0
	for _, n := range sizes {
		create, err := timed(n-have, func(i int) error {
			return s.Create(ctx, record(have+i, dataSize, fmt.Sprintf("user-%d", (have+i)/3)))
		})
		if err != nil {
			return err
		}
		have = n
		r, err := filesAt(dir, s, n)
		if err != nil {
			return err
		}
		values := []float64{create, r.load, r.change, r.list, r.sweep}
		line := []string{thousands(n), nanoseconds(r.open)}
		for i, v := range values {
			lines[i].add(n, v)
			line = append(line, nanoseconds(v))
		}
		t.add(append(line, fmt.Sprintf("%.0f", r.bytes))...)
	}
	if err := b.draw("files.svg", chart{
		title: "The file store as it grows", x: "sessions in files", y: "time of one operation", format: nanoseconds,
		series: lines,
	}); err != nil {
		return err
	}
	return b.publish("scale-files", "Sessions in files", t)
}

// filesResult is in nanoseconds and bytes.
type filesResult struct{ open, load, change, list, sweep, bytes float64 }

// filesAt measures a store of n sessions, any of them, and leaves it as it was.
func filesAt(dir string, s *filestore.Store, n int) (r filesResult, err error) {
	ctx := context.Background()
	if r.open, err = timed(1, func(int) error {
		other, err := filestore.Open(dir, nil)
		if err != nil {
			return err
		}
		return other.Close()
	}); err != nil {
		return r, err
	}
	const calls = 2000
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	if r.load, err = timed(calls, func(int) error {
		got, err := s.Load(ctx, recordKey(rnd.IntN(n)))
		if err == nil && len(got.Data) != dataSize {
			err = errLost
		}
		return err
	}); err != nil {
		return r, err
	}
	if r.change, err = timed(calls, func(int) error {
		i := rnd.IntN(n)
		return s.Replace(ctx, record(i, dataSize, fmt.Sprintf("user-%d", i/3)), 1)
	}); err != nil {
		return r, err
	}
	if r.list, err = timed(calls/10, func(int) error {
		found := 0
		for _, err := range s.Principal(ctx, fmt.Sprintf("user-%d", rnd.IntN(n/3))) {
			if err != nil {
				return err
			}
			found++
		}
		if found != 3 {
			return errLost
		}
		return nil
	}); err != nil {
		return r, err
	}
	if r.sweep, err = sweepFiles(s, 200); err != nil {
		return r, err
	}
	r.bytes, err = onDisk(dir)
	return r, err
}

// sweepFiles adds sessions that have expired and returns what it takes to remove one of them.
func sweepFiles(s *filestore.Store, expired int) (float64, error) {
	ctx := context.Background()
	for i := range expired {
		rec := record(-1-i, dataSize, "")
		rec.ExpiresAt = time.Now().Add(-time.Second)
		if err := s.Create(ctx, rec); err != nil {
			return 0, err
		}
	}
	took, err := timed(1, func(int) error {
		for removed := 0; removed < expired; {
			n, err := s.Sweep(ctx, 500)
			if err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("swept %d of %d", removed, expired)
			}
			removed += n
		}
		return nil
	})
	return took / float64(expired), err
}

// onDisk returns the bytes that the file system gives to a session's file, of so many that the walk is short.
func onDisk(dir string) (float64, error) {
	var blocks int64
	seen := map[uint64]bool{} // a session of a user has two names
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if len(seen) == 20_000 {
			return filepath.SkipAll
		}
		var stat syscall.Stat_t
		if err := syscall.Lstat(path, &stat); err != nil {
			return err
		}
		if !seen[stat.Ino] {
			seen[stat.Ino] = true
			blocks += stat.Blocks
		}
		return nil
	})
	return float64(blocks) * 512 / float64(len(seen)), err
}
