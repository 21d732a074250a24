package filestore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// expired makes a Store with n expired records of as many principals, and one that lives.
func expired(b *testing.B, n int) (s *filestore.Store, dir string, live store.Record) {
	b.Helper()
	dir = b.TempDir() + "/s"
	s = open(b, dir, nil)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				rec := newRecord(fmt.Sprint("dead", i), fmt.Sprint("user", i))
				rec.ExpiresAt = time.Now().Add(-time.Second)
				if err := s.Create(b.Context(), rec); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	live = newRecord("live", "")
	create(b, s, live)
	return s, dir, live
}

// BenchmarkSweepExpired removes n expired records in batches of 500, as a Manager does, beside bare unlinks of as many
// files with two names, in as many folders; and measures Loads and Replaces of another session meanwhile.
func BenchmarkSweepExpired(b *testing.B) {
	const n = 20_000
	b.Run("op=sweep/floor", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			_, dir, _ := expired(b, n)
			var names []string
			for _, sub := range []string{"principals", "sessions"} {
				files, err := filepath.Glob(filepath.Join(dir, sub, "*", "*"))
				if err != nil {
					b.Fatal(err)
				}
				names = append(names, files...)
			}
			b.StartTimer()
			began := time.Now()
			for _, name := range names {
				if err := os.Remove(name); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(n/time.Since(began).Seconds(), "records/s")
		}
	})
	for _, busy := range []bool{false, true} {
		b.Run(fmt.Sprintf("op=sweep/requests=%t", busy), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s, _, live := expired(b, n)
				var done atomic.Bool
				var took []time.Duration
				var wg sync.WaitGroup
				request := func() {
					rec, err := s.Load(b.Context(), live.Key)
					if err == nil {
						err = s.Touch(b.Context(), live.Key, rec.Version, time.Now(), rec.ExpiresAt)
					}
					if err != nil {
						b.Error(err)
					}
				}
				if busy {
					wg.Go(func() {
						for !done.Load() {
							began := time.Now()
							request()
							took = append(took, time.Since(began))
							time.Sleep(100 * time.Microsecond)
						}
					})
				}
				runtime.GC()
				b.StartTimer()
				began := time.Now()
				for removed := 0; removed < n; {
					got, err := s.Sweep(context.Background(), 500)
					if err != nil || got == 0 {
						b.Fatal(removed, got, err)
					}
					removed += got
				}
				b.ReportMetric(n/time.Since(began).Seconds(), "records/s")
				done.Store(true)
				wg.Wait()
				if busy {
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
				}
			}
		})
	}
}
