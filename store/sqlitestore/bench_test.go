package sqlitestore_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/storetest"
)

// BenchmarkFloor holds Load and Replace against the least that a client has to do: a SELECT and an UPDATE of one column
// by the primary key, prepared, with the same connection.
func BenchmarkFloor(b *testing.B) {
	db := database(b, file(b))
	db.SetMaxOpenConns(1)
	s, err := sqlitestore.New(db, nil)
	if err != nil {
		b.Fatal(err)
	}
	migrated(b, s)
	ctx := b.Context()
	rec := create(b, s, newRecord("ann"))
	for _, statement := range []string{
		"PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL",
		"CREATE TABLE floor (k TEXT PRIMARY KEY, data BLOB)",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO floor VALUES (?, ?)", rec.Key, rec.Data); err != nil {
		b.Fatal(err)
	}
	load, err := db.PrepareContext(ctx, "SELECT data FROM floor WHERE k = ?")
	if err != nil {
		b.Fatal(err)
	}
	update, err := db.PrepareContext(ctx, "UPDATE floor SET data = ? WHERE k = ?")
	if err != nil {
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
		return load.QueryRowContext(ctx, rec.Key).Scan(&data)
	})
	measure("op=load/by=store", func() error {
		_, err := s.Load(ctx, rec.Key)
		return err
	})
	measure("op=replace/by=client", func() error {
		_, err := update.ExecContext(ctx, rec.Data, rec.Key)
		return err
	})
	measure("op=replace/by=store", func() error {
		old := rec.Version
		rec.Version = old%(1<<62) + 1
		rec.ExpiresAt = rec.ExpiresAt.Add(time.Millisecond)
		return s.Replace(ctx, rec, old)
	})
}

func BenchmarkSize(b *testing.B) {
	for _, full := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%t", full), func(b *testing.B) {
			path := file(b)
			db := database(b, path)
			storetest.BenchSize(b, open(b, path, &sqlitestore.Options{Sync: full}), func() int64 {
				if _, err := db.ExecContext(b.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
					b.Fatal(err)
				}
				info, err := os.Stat(path)
				if err != nil {
					b.Fatal(err)
				}
				return info.Size()
			})
		})
	}
}
