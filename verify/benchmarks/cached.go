package main

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
	"github.com/hipflask/session/verify/benchmarks/measure"
)

// cachedReads holds a read of the store with MaxStale against a bare GET of as many bytes, one at a time.
func (b *bench) cachedReads(server *servertest.Server) error {
	ctx := context.Background()
	s, err := redisstore.Open(ctx, urlOf(server), &redisstore.Options{MaxStale: time.Minute})
	if err != nil {
		return err
	}
	defer s.Close()
	rec := store.Record{Key: "cached", Version: 1, ExpiresAt: time.Now().Add(time.Hour), Data: make([]byte, 200)}
	if err := s.Create(ctx, rec); err != nil {
		return err
	}
	bare, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}})
	if err != nil {
		return err
	}
	defer bare.Close()
	if err := bare.Do(ctx, bare.B().Set().Key("bare").Value(string(rec.Data)).Build()).Error(); err != nil {
		return err
	}
	plan := b.plan
	plan.Wall = true // of a GET it is the round trip that counts
	samples := measure.Run(plan,
		measure.Subject{Name: "GET", Run: atOnce(1, func(int) error {
			return bare.Do(ctx, bare.B().Get().Key("bare").Build()).Error()
		})},
		measure.Subject{Name: "store", Run: atOnce(1, func(int) error {
			_, err := s.LoadStale(ctx, rec.Key)
			return err
		})})
	b.row(target{"Redis, cached read, 1 in flight", samples[0].Name, 1.0 / 15, 1.0 / 30, 0}, samples[1], samples[0])
	return nil
}
