package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/storetest"
)

// BenchmarkFloor holds Load and Replace against the least that a client has to do: a SELECT and an UPDATE of one column
// by the primary key, with the same pool.
func BenchmarkFloor(b *testing.B) {
	p := pool(b, server().URL, nil)
	s, err := pgstore.New(p, &pgstore.Options{Table: table()})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	if err := s.Migrate(ctx); err != nil {
		b.Fatal(err)
	}
	rec := create(b, s, newRecord("ann"))
	run(b, "CREATE TABLE IF NOT EXISTS floor (key bytea PRIMARY KEY, data bytea)", "TRUNCATE floor")
	key := []byte(rec.Key)
	if _, err := p.Exec(ctx, "INSERT INTO floor VALUES ($1, $2)", key, rec.Data); err != nil {
		b.Fatal(err)
	}
	measure := func(name string, call func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	measure("op=load/by=client", func() error {
		var data []byte
		return p.QueryRow(ctx, "SELECT data FROM floor WHERE key = $1", key).Scan(&data)
	})
	measure("op=load/by=store", func() error {
		_, err := s.Load(ctx, rec.Key)
		return err
	})
	measure("op=replace/by=client", func() error {
		_, err := p.Exec(ctx, "UPDATE floor SET data = $2 WHERE key = $1", key, rec.Data)
		return err
	})
	measure("op=replace/by=store", func() error {
		old := rec.Version
		rec.Version = old%(1<<62) + 1
		rec.ExpiresAt = rec.ExpiresAt.Add(time.Millisecond)
		return s.Replace(ctx, rec, old)
	})
}

// BenchmarkSize runs on a server that waits for its disk.
func BenchmarkSize(b *testing.B) {
	server := servertest.Postgres(b, "fsync=on")
	for _, unlogged := range []bool{false, true} {
		b.Run(fmt.Sprintf("unlogged=%t", unlogged), func(b *testing.B) {
			opts := &pgstore.Options{Table: table(), Unlogged: unlogged}
			p := pool(b, server.URL, nil)
			storetest.BenchSize(b, open(b, server.URL, opts), func() (bytes int64) {
				if err := p.QueryRow(b.Context(), "SELECT pg_total_relation_size($1::regclass)",
					opts.Table).Scan(&bytes); err != nil {
					b.Fatal(err)
				}
				return bytes
			})
		})
	}
}
