package memstore_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// typical returns a record of the sizes that a session.Manager stores: a key of 22 bytes, a handle of 22, 200 of data.
func typical(n int, principal string) store.Record {
	now := time.Now()
	return store.Record{
		Key: sumKey(n)[:22], Version: 1, Principal: principal, Handle: sumKey(n)[:22], Data: make([]byte, 200),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(24 * time.Hour),
	}
}

// filled returns a store with n typical records and their keys.
func filled(b *testing.B, opts *memstore.Options, n int) (*memstore.Store, []string) {
	s := memstore.New(opts)
	keys := make([]string, n)
	for i := range keys {
		rec := typical(i, "")
		keys[i] = rec.Key
		create(b, s, rec)
	}
	return s, keys
}

func BenchmarkStore(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) { benchmarkStore(b, n) })
	}
}

func benchmarkStore(b *testing.B, n int) {
	s, keys := filled(b, &memstore.Options{MaxSessions: -1, MaxBytes: -1}, n)
	run := func(op string, f func(rnd *rand.Rand, rec store.Record) error) {
		b.Run("op="+op, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
				rec := typical(0, "")
				for pb.Next() {
					if err := f(rnd, rec); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	ctx := b.Context()
	run("load", func(rnd *rand.Rand, _ store.Record) error {
		rec, err := s.Load(ctx, keys[rnd.IntN(n)])
		if len(rec.Data) != 200 {
			b.Errorf("loaded %d bytes, want 200", len(rec.Data))
		}
		return err
	})
	run("replace", func(rnd *rand.Rand, rec store.Record) error {
		rec.Key = keys[rnd.IntN(n)]
		return s.Replace(ctx, rec, 1)
	})
	run("touch", func(rnd *rand.Rand, rec store.Record) error {
		return s.Touch(ctx, keys[rnd.IntN(n)], 1, rec.LastSeenAt, rec.ExpiresAt)
	})
	run("principal", func(*rand.Rand, store.Record) error {
		for range s.Principal(ctx, "ada") {
			b.Error("got a record, want none")
		}
		return nil
	})
	var mu sync.RWMutex
	bare := map[string][]byte{}
	for _, key := range keys {
		bare[key] = make([]byte, 200)
	}
	run("load-of-a-bare-map", func(rnd *rand.Rand, _ store.Record) error { // the baseline
		mu.RLock()
		data := slices.Clone(bare[keys[rnd.IntN(n)]])
		mu.RUnlock()
		if len(data) != 200 {
			b.Errorf("loaded %d bytes, want 200", len(data))
		}
		return nil
	})
	var created atomic.Uint64
	freshKey := func() string {
		key := make([]byte, 22)
		binary.BigEndian.PutUint64(key, created.Add(1))
		return string(key)
	}
	run("create+delete", func(_ *rand.Rand, rec store.Record) error {
		rec.Key = freshKey()
		if err := s.Create(ctx, rec); err != nil {
			return err
		}
		return s.Delete(ctx, rec.Key)
	})
	s, _ = filled(b, &memstore.Options{MaxSessions: n}, n)
	run("create+evict", func(_ *rand.Rand, rec store.Record) error {
		rec.Key = freshKey()
		return s.Create(ctx, rec)
	})
}

// A request of one session waits for others of the same session at most, also if all requests are of one session.
func BenchmarkOneHotRecord(b *testing.B) {
	s, keys := filled(b, nil, 1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Load(b.Context(), keys[0]); err != nil {
				b.Error(err)
			}
		}
	})
}
