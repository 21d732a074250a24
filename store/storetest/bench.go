package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// Bench measures the methods of the store that open returns, each alone and then from all processors at once:
//
//	func BenchmarkStore(b *testing.B) { storetest.Bench(b, open) }
//
// The names are made of key=value pairs, so that benchstat can group by them: op is the method, data the bytes of Data,
// records how many the principal has, parallel whether several goroutines call it, each for records of its own. Of the
// options NoIndex and MaxData have an effect. open is called once for each benchmark; what it stores is deleted.
func Bench(b *testing.B, open func(testing.TB) store.Store, opts ...Option) {
	cfg := newConfig(opts)
	for _, size := range []int{200, 16 << 10} {
		for _, op := range []operation{{"load", benchLoad}, {"replace", benchReplace}, {"touch", benchTouch}} {
			if size > 200 && op.name == "touch" || size > cfg.maxData {
				continue
			}
			for _, parallel := range []bool{false, true} {
				b.Run(fmt.Sprintf("op=%s/data=%d/parallel=%t", op.name, size, parallel), func(b *testing.B) {
					op.run(b, open(b), size, parallel)
				})
			}
		}
		if size <= cfg.maxData {
			b.Run(fmt.Sprintf("op=create/data=%d/parallel=false", size), func(b *testing.B) {
				benchCreate(b, open(b), size)
			})
		}
	}
	if cfg.noIndex {
		return
	}
	for _, records := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("op=principal/records=%d/parallel=false", records), func(b *testing.B) {
			benchPrincipal(b, open(b), records)
		})
	}
}

type operation struct {
	name string
	run  func(b *testing.B, s store.Store, size int, parallel bool)
}

// benchRecord returns a record with so many bytes of data and no public attributes.
func benchRecord(size int) store.Record {
	rec := newRecord()
	rec.Public, rec.Data = nil, bytes.Repeat([]byte{'d'}, size)
	return rec
}

// perform measures what start returns, a call for one goroutine.
func perform(b *testing.B, parallel bool, start func() func() error) {
	b.Helper()
	calls := []func() error{start()}
	for parallel && len(calls) < 256 { // far more than processors
		calls = append(calls, start())
	}
	b.ReportAllocs()
	if !parallel {
		for b.Loop() {
			if err := calls[0](); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	var next atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		call := calls[int(next.Add(1))%len(calls)]
		for pb.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// stored creates a record that is deleted when the benchmark ends.
func stored(b *testing.B, s store.Store, rec store.Record) store.Record {
	b.Helper()
	if err := s.Create(b.Context(), rec); err != nil {
		b.Fatal(err)
	}
	ctx := context.WithoutCancel(b.Context())
	b.Cleanup(func() { _ = s.Delete(ctx, rec.Key) }) // the store may be closed by now
	return rec
}

func benchLoad(b *testing.B, s store.Store, size int, parallel bool) {
	ctx := b.Context()
	perform(b, parallel, func() func() error {
		rec := stored(b, s, benchRecord(size))
		return func() error {
			got, err := s.Load(ctx, rec.Key)
			if err == nil && (got.Version != rec.Version || len(got.Data) != size) {
				err = fmt.Errorf("got another record than the one that was stored")
			}
			return err
		}
	})
}

func benchReplace(b *testing.B, s store.Store, size int, parallel bool) {
	ctx := b.Context()
	perform(b, parallel, func() func() error {
		rec := stored(b, s, benchRecord(size))
		return func() error {
			old := rec.Version
			rec.Version = old%(1<<62) + 1
			return s.Replace(ctx, rec, old)
		}
	})
}

func benchTouch(b *testing.B, s store.Store, size int, parallel bool) {
	ctx := b.Context()
	perform(b, parallel, func() func() error {
		rec := stored(b, s, benchRecord(size))
		return func() error {
			rec.LastSeenAt, rec.ExpiresAt = rec.LastSeenAt.Add(time.Millisecond), rec.ExpiresAt.Add(time.Millisecond)
			return s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		}
	})
}

// benchCreate deletes what it created from time to time, off the clock, so that the store stays as large as it is.
func benchCreate(b *testing.B, s store.Store, size int) {
	ctx := b.Context()
	rec := benchRecord(size)
	prefix := rec.Key + "-"
	var keys [1024]string
	for i := range keys {
		keys[i] = prefix + strconv.Itoa(i)
	}
	remove := func() {
		for _, key := range keys {
			if err := s.Delete(ctx, key); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		rec.Key = keys[n%len(keys)]
		if err := s.Create(ctx, rec); err != nil {
			b.Fatal(err)
		}
		if n++; n%len(keys) == 0 {
			b.StopTimer()
			remove()
			b.StartTimer()
		}
	}
	remove()
}

func benchPrincipal(b *testing.B, s store.Store, records int) {
	l, ok := store.As[store.Lister](s)
	if !ok {
		b.Fatalf("%T is no store.Lister, and the benchmark does not declare NoIndex", s)
	}
	ctx := b.Context()
	recs := recordsOf(newRecord().Principal, records)
	for _, rec := range recs {
		rec.Public = nil
		stored(b, s, rec)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range l.Principal(ctx, recs[0].Principal) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != records {
			b.Fatalf("got %d records, want %d", n, records)
		}
	}
}
