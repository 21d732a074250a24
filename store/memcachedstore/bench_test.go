package memcachedstore_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/store"
)

// Each operation stands beside its floor: the bare calls of the same client that it can't do without, of items as
// large. Read the ratio, not the nanoseconds:
//
//	go test -run '^$' -bench 'Floor' -count 6 ./store/memcachedstore
func BenchmarkFloor(b *testing.B) {
	c := bare(b, shared().Addr)
	c.MaxIdleConns = 64
	s := through(b, c, nil)
	rec := newRecord(200)
	create(b, s, rec)
	item, err := c.Get("hipflask:" + rec.Key)
	if err != nil {
		b.Fatal(err)
	}
	floor := *item
	floor.Key, floor.Expiration = "floor:"+rec.Key, 3600
	if err := c.Set(&floor); err != nil {
		b.Fatal(err)
	}
	gets := func() (*memcache.Item, error) { return c.Get(floor.Key) }
	for _, bench := range []struct {
		name string
		call func() error
	}{
		{"op=load/by=client", func() error { _, err := gets(); return err }},
		{"op=load/by=store", func() error { _, err := s.Load(b.Context(), rec.Key); return err }},
		{"op=replace/by=client", func() error {
			item, err := gets()
			if err != nil {
				return err
			}
			return c.CompareAndSwap(item)
		}},
		{"op=replace/by=store", func() error { return replace(b, s, &rec) }},
		{"op=touch/by=store", func() error {
			return s.Touch(b.Context(), rec.Key, rec.Version, time.Now(), rec.ExpiresAt)
		}},
	} {
		b.Run(bench.name+"/inflight=1", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
		if !strings.HasPrefix(bench.name, "op=load/") {
			continue // overlapping calls would be in each other's way
		}
		b.Run(bench.name+"/inflight=32", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := bench.call(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// replace stores the next version of rec.
func replace(tb testing.TB, s store.Store, rec *store.Record) error {
	rec.Version++
	return s.Replace(tb.Context(), *rec, rec.Version-1)
}
