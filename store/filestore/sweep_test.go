package filestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store/filestore"
)

func sweep(t *testing.T, s *filestore.Store, limit, want int) {
	t.Helper()
	if got, err := s.Sweep(t.Context(), limit); got != want || err != nil {
		t.Fatalf("Sweep: got %d removed and error %v, want %d", got, err, want)
	}
}

// files returns the files in the folder, without the stamps.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "listed" {
			got = append(got, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// lines returns how many lines the queue has.
func lines(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	for _, path := range files(t, filepath.Join(dir, filestore.QueueDir)) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		n += int(info.Size() / 32)
	}
	return n
}

// The work of Sweep is counted, not timed: it looks at what has expired, and at a thousandth of the rest.
func TestSweepLooksAtWhatHasExpired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		const live = 1500
		for i := range live {
			create(t, s, newRecord(fmt.Sprint("live", i), fmt.Sprint("user", i)))
		}
		for i := range 10 {
			rec := newRecord(fmt.Sprint("dead", i), "alice")
			rec.ExpiresAt = time.Now().Add(time.Minute)
			create(t, s, rec)
		}
		time.Sleep(time.Minute)
		before := s.Looks()
		sweep(t, s, 100, 10)
		sweep(t, s, 100, 0)
		sweep(t, s, 100, 0)
		// The walk has been through three shards: a record and an entry or two in each, by chance a few more.
		if got := s.Looks() - before; got > 60 {
			t.Errorf("three calls of Sweep have looked at %d files, to find 10", got)
		}
	})
}

// A session that is in use costs a look in each idle timeout, however often it is touched; and one line in the queue.
func TestSweepLooksOncePerIdleTimeout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		rec := newRecord("key", "alice")
		rec.ExpiresAt = time.Now().Add(2 * time.Hour)
		create(t, s, rec)
		looks := 0
		for i := range 60 * 24 {
			time.Sleep(time.Minute)
			if err := s.Touch(t.Context(), "key", rec.Version, time.Now(), time.Now().Add(2*time.Hour)); err != nil {
				t.Fatal(err)
			}
			before := s.Looks()
			sweep(t, s, 10, 0)
			if looks += s.Looks() - before; lines(t, dir) > 2 {
				t.Fatalf("after %d minutes the queue has %d lines", i, lines(t, dir))
			}
		}
		// Twelve by the queue, and by chance a few of the walk.
		if looks < 12 || looks > 18 {
			t.Errorf("in a day: got %d looks, want 12", looks)
		}
		time.Sleep(2*time.Hour - time.Millisecond)
		sweep(t, s, 10, 0)
		time.Sleep(time.Millisecond)
		sweep(t, s, 10, 1)
		time.Sleep(time.Hour)
		sweep(t, s, 10, 0)
		if got := files(t, dir); len(got) != 0 {
			t.Errorf("files that are left: %v", got)
		}
	})
}

// Lives longer than the queue's horizon, and for ever, are queued again and again; what is deleted early leaves a line
// for two days, no longer.
func TestSweepHorizon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		long, eternal, deleted := newRecord("long", "alice"), newRecord("eternal", ""), newRecord("deleted", "alice")
		long.ExpiresAt = time.Now().Add(30 * 24 * time.Hour)
		eternal.ExpiresAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		deleted.ExpiresAt = eternal.ExpiresAt
		create(t, s, long)
		create(t, s, eternal)
		create(t, s, deleted)
		if err := s.Delete(t.Context(), "deleted"); err != nil {
			t.Fatal(err)
		}
		for range 29 * 4 {
			time.Sleep(6 * time.Hour)
			sweep(t, s, 10, 0)
		}
		if got := lines(t, dir); got != 2 {
			t.Errorf("after 29 days: got %d lines in the queue, want 2", got)
		}
		load(t, s, "long")
		time.Sleep(24 * time.Hour)
		sweep(t, s, 10, 1)
		load(t, s, "eternal")
	})
}

// A life that was made shorter is noticed at its end, however often it is made shorter and longer.
func TestSweepOfShortenedLives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		rec := newRecord("key", "alice")
		create(t, s, rec)
		for range 50 {
			for _, life := range []time.Duration{10 * time.Minute, 20 * time.Hour} {
				if err := s.Touch(t.Context(), "key", rec.Version, time.Now(), time.Now().Add(life)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := lines(t, dir); got != 2 {
			t.Errorf("got %d lines in the queue, want 2", got)
		}
		rec.ExpiresAt = time.Now().Add(2 * time.Minute)
		replace(t, s, rec)
		time.Sleep(2 * time.Minute)
		sweep(t, s, 10, 1)
		time.Sleep(25 * time.Hour)
		sweep(t, s, 10, 0)
		if got := files(t, dir); len(got) != 0 {
			t.Errorf("files that are left: %v", got)
		}
	})
}

// However the limit cuts the work into pieces, all of it is done, once.
func TestSweepLimit(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{time.Minute, time.Hour} { // the span is under way, and is over
		dir := t.TempDir() + "/s"
		synctest.Test(t, func(t *testing.T) {
			s := open(t, dir, nil)
			const n = 300
			for i := range n {
				rec := newRecord(fmt.Sprint("key", i), "alice")
				rec.ExpiresAt = time.Now().Add(time.Minute)
				create(t, s, rec)
			}
			time.Sleep(wait)
			before, removed := s.Looks(), 0
			for calls := 0; ; calls++ {
				got, err := s.Sweep(t.Context(), 7)
				if err != nil || got > 7 {
					t.Fatalf("Sweep: got %d removed and error %v", got, err)
				}
				if removed += got; got < 7 {
					break
				}
			}
			if looks := s.Looks() - before; removed != n || looks > n+10 {
				t.Errorf("after %v: got %d removed by %d looks, want %d by as many", wait, removed, looks, n)
			}
		})
	}
}

// Sweeps at the same time, of several processes, do no harm and don't multiply the lines of the queue.
func TestSweepsAtTheSameTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		stores := []*filestore.Store{open(t, dir, nil), open(t, dir, nil), open(t, dir, nil)}
		const n = 40
		for i := range 2 * n {
			rec := newRecord(fmt.Sprint("key", i), "alice")
			if i < n {
				rec.ExpiresAt = time.Now().Add(time.Hour)
			} else {
				rec.ExpiresAt = time.Now().Add(200 * time.Hour)
			}
			create(t, stores[0], rec)
		}
		total := 0
		for range 5 {
			time.Sleep(30 * time.Hour)
			var mu sync.Mutex
			var wg sync.WaitGroup
			for _, s := range stores {
				wg.Go(func() {
					removed, err := s.Sweep(t.Context(), 1000)
					if err != nil {
						t.Errorf("Sweep: %v", err)
					}
					mu.Lock()
					total += removed
					mu.Unlock()
				})
			}
			wg.Wait()
		}
		if total != n {
			t.Errorf("got %d removed, want %d", total, n)
		}
		if got := lines(t, dir); got > 2*n {
			t.Errorf("got %d lines in the queue for %d records", got, n)
		}
		if got := list(t, stores[0].Principal(t.Context(), "alice")); len(got) != n {
			t.Errorf("got %d records that live, want %d", len(got), n)
		}
	})
}

// What the queue has lost, the walk finds.
func TestSweepWithoutQueue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		for i := range 20 {
			rec := newRecord(fmt.Sprint("key", i), "alice")
			rec.ExpiresAt = time.Now().Add(time.Minute)
			create(t, s, rec)
		}
		create(t, s, newRecord("live", "alice"))
		if err := os.RemoveAll(filepath.Join(dir, filestore.QueueDir)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		removed := 0
		for range filestore.Shards {
			n, err := s.Sweep(t.Context(), 100)
			if err != nil {
				t.Fatal(err)
			}
			removed += n
		}
		if removed != 20 {
			t.Errorf("a walk through all shards: got %d removed, want 20", removed)
		}
		load(t, s, "live")
	})
}

// A queue that somebody has damaged is read as far as it goes.
func TestSweepOfDamagedQueue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		for i := range 200 {
			rec := newRecord(fmt.Sprint("key", i), "alice")
			rec.ExpiresAt = time.Now().Add(time.Minute)
			create(t, s, rec)
		}
		path := files(t, filepath.Join(dir, filestore.QueueDir))[0]
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.Join([][]byte{[]byte("x"), raw[:32*100+5], raw[32*110:], []byte("rubbish")}, nil)
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "readme"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		got, err := s.Sweep(t.Context(), 1000)
		if err != nil || got < 190 || got > 200 {
			t.Errorf("Sweep of a queue without 10 of 200 lines: got %d removed and error %v", got, err)
		}
	})
}

func TestSweepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/s", nil)
	rec := newRecord("key", "alice")
	rec.ExpiresAt = time.Now().Add(-time.Minute)
	create(t, s, rec)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := s.Sweep(ctx, 10); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Sweep: got %d removed and error %v, want 0 and the context's", n, err)
	}
}

// Files that are not the store's stay, wherever they are.
func TestSweepLeavesOtherFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s := open(t, dir, nil)
	create(t, s, newRecord("key", "alice"))
	var others []string
	for _, name := range []string{
		".DS_Store", "README", "expiry/.DS_Store", filepath.Dir(filestore.PathOf("key")) + "/._x",
		filepath.Dir(filestore.EntryOf("alice", "key")) + "/.nfs0000", filestore.PathOf("key") + ".bak",
		filepath.Dir(filestore.PathOf("key")) + "/" + strings.Repeat("X", 30),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		others = append(others, path)
	}
	s.WalkFrom("key")
	sweep(t, s, 10, 0)
	s.WalkFromPrincipal("alice")
	sweep(t, s, 10, 0)
	for _, path := range others {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if got := list(t, s.All(t.Context())); len(got) != 1 {
		t.Errorf("All: got %d records, want 1", len(got))
	}
}

// folders returns the folders of shards.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	var got []string
	for _, sub := range []string{"sessions", "principals"} {
		found, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, found...)
	}
	return got
}

// When the last expired record is removed, no empty folder is left, however the limit cuts the work into pieces. What
// Delete leaves is found by the walk, and by the record's line.
func TestSweepLeavesNoEmptyFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, nil)
		live := newRecord("live", "alice")
		live.ExpiresAt = time.Now().Add(1000 * time.Hour)
		create(t, s, live)
		for i := range 700 {
			rec := newRecord(fmt.Sprint("key", i), fmt.Sprint("user", i))
			rec.ExpiresAt = time.Now().Add(time.Minute)
			create(t, s, rec)
		}
		deleted := newRecord("deleted", "bob")
		create(t, s, deleted)
		if err := s.Delete(t.Context(), "deleted"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for got := 300; got == 300; {
			var err error
			if got, err = s.Sweep(t.Context(), 300); err != nil {
				t.Fatal(err)
			}
		}
		s.WalkFromPrincipal("bob")
		sweep(t, s, 10, 0)
		time.Sleep(25 * time.Hour)
		sweep(t, s, 10, 0)
		if got := folders(t, dir); len(got) != 2 {
			t.Errorf("folders that are left: %v, want the two of the session that lives", got)
		}
		same(t, load(t, s, "live"), live)
	})
}

// A writer whose folder is removed because it is empty, between the steps of the writer, makes it again.
func TestSweepBesideWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	s, other := open(t, dir, nil), open(t, dir, nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			other.WalkFrom("key")
			_, err := other.Sweep(context.Background(), 10)
			other.WalkFromPrincipal("alice")
			if _, err2 := other.Sweep(context.Background(), 10); err != nil || err2 != nil {
				t.Errorf("Sweep beside a writer: %v", errors.Join(err, err2))
				return
			}
		}
	})
	for range 1000 {
		create(t, s, newRecord("key", "alice"))
		load(t, s, "key")
		if err := s.Delete(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}
