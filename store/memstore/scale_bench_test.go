package memstore_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

var scaleSessions = flag.Int("sessions", 1_000_000, "number of records of BenchmarkScale")

// BenchmarkScale fills a store with the number of records of -sessions, reports what one takes after a garbage
// collection, and then the longest time of a Load while another goroutine sweeps a fifth of the records, writes, lists,
// or creates at a bound. To tell the store's stalls from those of the machine and the scheduler, each of them is run
// again without a store: the metrics that end in noise.
//
//	go test -bench=Scale -benchtime=1x -count=5 -sessions=5000000
func BenchmarkScale(b *testing.B) {
	for _, principals := range []bool{false, true} {
		b.Run(fmt.Sprintf("sessions=%d/principals=%v", *scaleSessions, principals), func(b *testing.B) {
			for b.Loop() {
				newScale(b, *scaleSessions, principals).run()
			}
		})
	}
}

var sink []byte

type scale struct {
	*testing.B
	store    *memstore.Store
	n        int
	expiring int // the first of the n records expire soon
	expiry   time.Time
}

func newScale(b *testing.B, n int, principals bool) *scale {
	sc := &scale{B: b, n: n, expiring: n / 5}
	sc.expiry = time.Now().Add(time.Duration(n) * 10 * time.Microsecond)
	empty := heap()
	sc.store = memstore.New(&memstore.Options{MaxSessions: n, MaxBytes: -1})
	var longest time.Duration
	for i := range n {
		rec := sc.record(i, principals)
		called := time.Now()
		create(b, sc.store, rec)
		longest = max(longest, time.Since(called))
	}
	b.ReportMetric(micros(longest), "longest-create-us")
	b.ReportMetric(float64(heap()-empty)/float64(n), "B/session")
	return sc
}

func (sc *scale) record(i int, principals bool) store.Record {
	rec := typical(i, "")
	if principals {
		rec.Principal = fmt.Sprintf("user-%d", i)
	}
	if i < sc.expiring {
		rec.ExpiresAt = sc.expiry
	}
	return rec
}

// heap returns the bytes in use after a garbage collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first one may leave what was swept late
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (sc *scale) run() {
	time.Sleep(time.Until(sc.expiry)) // synchronises nothing: the records have to expire
	swept := 0
	start := time.Now()
	sc.stall("sweep", func(int) bool {
		n, err := sc.store.Sweep(sc.Context(), 1000)
		sc.noError(err)
		swept += n
		return n == 1000
	})
	sc.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(sc.expiring), "sweep-ns/session")
	if swept != sc.expiring {
		sc.Errorf("swept %d, want %d", swept, sc.expiring)
	}
	sc.stall("replace", func(i int) bool {
		sc.noError(sc.store.Replace(sc.Context(), sc.record(sc.expiring+i, false), 1))
		return i < sc.n/5
	})
	sc.stall("create", func(i int) bool { // fills up, then evicts
		sc.noError(sc.store.Create(sc.Context(), sc.record(sc.n+i, false)))
		return i < sc.n*2/5
	})
	listed := 0
	sc.stall("list", func(int) bool {
		for _, err := range sc.store.All(sc.Context()) {
			sc.noError(err)
			listed++
		}
		return false
	})
	if listed != sc.n {
		sc.Errorf("listed %d, want %d", listed, sc.n)
	}
}

func (sc *scale) noError(err error) {
	if err != nil {
		sc.Error(err)
	}
}

// stall reports the longest time of a Load of a record that stays, while other goes on until it returns false.
func (sc *scale) stall(name string, other func(i int) bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; other(i); i++ {
		}
	}()
	rnd := rand.New(rand.NewPCG(1, 1))
	var loads, noise times
	for {
		select {
		case <-done:
			loads.report(sc.B, name+"-load")
			noise.report(sc.B, name+"-noise")
			return
		default:
		}
		key := sumKey(sc.n - 1 - rnd.IntN(sc.n/5)) // the last ones: neither expired nor evicted
		called := time.Now()
		_, err := sc.store.Load(sc.Context(), key)
		loads.add(time.Since(called))
		sc.noError(err)
		// The control allocates as a Load does and takes as long as one that nobody disturbs: it is as likely to be
		// interrupted or called to help the garbage collector.
		called = time.Now()
		sink = make([]byte, 200)
		for time.Since(called) < 500*time.Nanosecond {
		}
		noise.add(time.Since(called))
	}
}

type times struct {
	n, slow int // slow: over 100 microseconds
	longest time.Duration
}

func (t *times) add(d time.Duration) {
	t.n++
	if d > 100*time.Microsecond {
		t.slow++
	}
	t.longest = max(t.longest, d)
}

func (t *times) report(b *testing.B, name string) {
	b.ReportMetric(micros(t.longest), name+"-longest-us")
	b.ReportMetric(float64(t.slow)/float64(t.n)*1e6, name+"-over-100us-ppm")
}
