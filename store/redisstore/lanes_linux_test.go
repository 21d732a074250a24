package redisstore_test

import (
	"context"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// footprint is what a process has open.
type footprint struct{ heap, descriptors, goroutines int }

func footprintNow(t *testing.T) footprint {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return footprint{int(m.HeapInuse), len(files), runtime.NumGoroutine()}
}

// Writes that wait for replicas take little more than writes that wait for the server: not a connection each.
func TestReplicasTakeFewConnections(t *testing.T) { // not parallel: it counts what the process has
	const writes = 120
	master, replica := servertest.Redis(t, "--repl-diskless-sync-delay", "0"), servertest.Redis(t)
	follow(t, master, replica)
	without := inFlight120(t, master.URL, master, 0)
	with := inFlight120(t, master.URL, replica, 1)
	t.Logf("%d writes in flight: %+v without Replicas, %+v with", writes, without, with)
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"heap", with.heap, without.heap}, {"descriptors", with.descriptors, without.descriptors},
		{"goroutines", with.goroutines, without.goroutines},
	} {
		if c.got > 3*c.want {
			t.Errorf("%s: got %d, want at most 3 times %d", c.name, c.got, c.want)
		}
	}
}

func follow(t *testing.T, master, replica *servertest.Server) {
	t.Helper()
	do(t, raw(t, replica.Addr), "REPLICAOF", "127.0.0.1", master.Port)
	for number(t, raw(t, master.Addr), "WAIT", "1", "100") == 0 {
	}
}

// inFlight120 returns what a Store takes with 120 writes in flight, while the server that they wait for is paused.
func inFlight120(t *testing.T, url string, waitedFor *servertest.Server, replicas int) footprint {
	t.Helper()
	const writes = 120
	before := footprintNow(t)
	s := open(t, url, &redisstore.Options{Replicas: replicas})
	must(t, s.Create(t.Context(), record(time.Hour)))
	waitedFor.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var all sync.WaitGroup
	errs := make(chan error, writes)
	for range writes {
		rec := record(time.Hour)
		rec.Principal = "" // one script each
		all.Go(func() { errs <- s.Create(ctx, rec) })
	}
	most := footprint{}
	for ctx.Err() == nil {
		now := footprintNow(t)
		most = footprint{max(most.heap, now.heap-before.heap),
			max(most.descriptors, now.descriptors-before.descriptors),
			max(most.goroutines, now.goroutines-before.goroutines)}
		runtime.Gosched()
	}
	all.Wait()
	waitedFor.Resume()
	for range writes {
		refused(t, <-errs, "a write to a server that is paused")
	}
	return most
}

// What waits together is stored, whoever has given up meanwhile.
func TestReplicasTogether(t *testing.T) {
	t.Parallel()
	s := open(t, sentinelURL(), &redisstore.Options{Replicas: 2})
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			rec := record(time.Hour)
			if i%10 == 0 {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				refused(t, s.Create(ctx, rec), "Create with a context that has ended")
				return
			}
			if err := s.Create(t.Context(), rec); err != nil {
				t.Errorf("Create: %v", err)
				return
			}
			next := rec
			next.Version = 2
			if err := s.Replace(t.Context(), next, 1); err != nil {
				t.Errorf("Replace: %v", err)
			}
			if err := s.Replace(t.Context(), next, 1); err != store.ErrConflict {
				t.Errorf("Replace again: got %v, want ErrConflict", err)
			}
			if got, err := s.Load(t.Context(), rec.Key); err != nil || got.Version != 2 {
				t.Errorf("Load: got version %d, %v, want 2", got.Version, err)
			}
		})
	}
	all.Wait()
}
