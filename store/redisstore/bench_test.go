package redisstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// inFlight is how many requests a server has at a time.
const inFlight = 64

// sessions is how many there are.
func sessions() int {
	if testing.Short() {
		return 100
	}
	return 100_000
}

// typical returns a record of the sizes that a session.Manager stores: a key of 22 bytes, a handle of 16, 200 of data.
func typical(n int, principal string) store.Record {
	now := time.Now()
	key := fmt.Sprintf("%022d", n)
	return store.Record{
		Key: key, Version: 1, Principal: principal, Handle: key[:16], Data: make([]byte, 200),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(24 * time.Hour),
	}
}

// parallel measures op with inFlight goroutines. It is given the number of a session that no other goroutine uses.
func parallel(b *testing.B, op func(n int) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	share := sessions() / inFlight
	b.ResetTimer()
	var all sync.WaitGroup
	for g := range inFlight {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			for next.Add(1) <= int64(b.N) {
				if err := op(g*share + rnd.IntN(share)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// fill calls op for every session, inFlight at a time.
func fill(b *testing.B, op func(n int) error) {
	b.Helper()
	var all sync.WaitGroup
	for g := range inFlight {
		all.Go(func() {
			for n := g; n < sessions(); n += inFlight {
				if err := op(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// usedMemory returns the bytes that the server has allocated.
func usedMemory(b *testing.B, client rueidis.Client) int {
	b.Helper()
	info, err := client.Do(b.Context(), client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		b.Fatal(err)
	}
	var used int
	for line := range strings.Lines(info) {
		if _, err := fmt.Sscanf(line, "used_memory:%d", &used); err == nil {
			return used
		}
	}
	b.Fatal("INFO memory has no used_memory")
	return 0
}

// connect returns a client with the settings that Open gives to its own.
func connect(tb testing.TB, addr string) rueidis.Client {
	tb.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
		AlwaysPipelining: true,
		MaxFlushDelay:    25 * time.Microsecond, PipelineMultiplex: -1, RingScaleEachConn: 12,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return client
}

// BenchmarkFloor holds the store against the bare commands by the same client on the same values: GET against Load, a
// script that compares and sets against Replace.
func BenchmarkFloor(b *testing.B) {
	server := servertest.Redis(b)
	client := connect(b, server.Addr)
	s, err := redisstore.New(client, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	recs := make([]store.Record, sessions())
	for _, owner := range []string{"", "ada"} {
		fill(b, func(n int) error {
			recs[n] = typical(n, "")
			if owner != "" {
				recs[n].Key, recs[n].Principal = "p"+recs[n].Key, owner+strconv.Itoa(n)
			}
			return s.Create(ctx, recs[n])
		})
		who := map[string]string{"": "anonymous", "ada": "user"}[owner]
		b.Run("op=load/of="+who, func(b *testing.B) {
			parallel(b, func(n int) error {
				_, err := s.Load(ctx, recs[n].Key)
				return err
			})
		})
		b.Run("op=replace/of="+who, func(b *testing.B) {
			parallel(b, func(n int) error {
				old := recs[n].Version
				recs[n].Version++
				return s.Replace(ctx, recs[n], old)
			})
		})
		b.Run("op=touch/of="+who, func(b *testing.B) {
			parallel(b, func(n int) error {
				return s.Touch(ctx, recs[n].Key, recs[n].Version, recs[n].LastSeenAt, recs[n].ExpiresAt)
			})
		})
	}
	for name, layout := range layouts {
		fill(b, func(n int) error { return layout.create(ctx, client, n) })
		b.Run("op=bare-load/layout="+name, func(b *testing.B) {
			parallel(b, func(n int) error { return layout.load(ctx, client, n) })
		})
		b.Run("op=bare-replace/layout="+name, func(b *testing.B) {
			parallel(b, func(n int) error { return layout.replace(ctx, client, n) })
		})
	}
	b.Run("op=bare-load-and-replace/layout=hmget+script", func(b *testing.B) {
		parallel(b, func(n int) error {
			if err := layouts["hash"].load(ctx, client, n); err != nil {
				return err
			}
			return layouts["hash"].replace(ctx, client, n)
		})
	})
	b.Run("op=load+replace", func(b *testing.B) {
		parallel(b, func(n int) error {
			rec, err := s.Load(ctx, recs[n].Key)
			if err != nil {
				return err
			}
			old := rec.Version
			rec.Version++
			recs[n].Version = rec.Version
			return s.Replace(ctx, rec, old)
		})
	})
}
