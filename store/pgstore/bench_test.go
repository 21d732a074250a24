package pgstore_test

import (
	"fmt"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/storetest"
)

// BenchmarkFloor holds Load and Replace against the least that a client has to do: a SELECT and an UPDATE of one column
// by the primary key, with the same pool.
func BenchmarkFloor(b *testing.B) {
	p := pool(b, server().URL, nil)
	s, err := pgstore.New(p, &pgstore.Options{Table: sqltest.Table()})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	if err := s.Migrate(ctx); err != nil {
		b.Fatal(err)
	}
	rec := sqltest.Create(b, s, sqltest.NewRecord("ann"))
	run(b, "CREATE TABLE IF NOT EXISTS floor (key bytea PRIMARY KEY, data bytea)", "TRUNCATE floor")
	key := []byte(rec.Key)
	if _, err := p.Exec(ctx, "INSERT INTO floor VALUES ($1, $2)", key, rec.Data); err != nil {
		b.Fatal(err)
	}
	sqltest.Floor(b, s, rec, func() error {
		var data []byte
		return p.QueryRow(ctx, "SELECT data FROM floor WHERE key = $1", key).Scan(&data)
	}, func() error {
		_, err := p.Exec(ctx, "UPDATE floor SET data = $2 WHERE key = $1", key, rec.Data)
		return err
	})
}

// BenchmarkSize runs on a server that waits for its disk.
func BenchmarkSize(b *testing.B) {
	server := servertest.Postgres(b, "fsync=on")
	for _, unlogged := range []bool{false, true} {
		b.Run(fmt.Sprintf("unlogged=%t", unlogged), func(b *testing.B) {
			opts := &pgstore.Options{Table: sqltest.Table(), Unlogged: unlogged}
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
