package sqlitestore_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/hipflask/session/store/internal/sqltest"
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
	sqltest.Migrated(b, s, nil)
	ctx := b.Context()
	rec := sqltest.Create(b, s, sqltest.NewRecord("ann"))
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
	sqltest.Floor(b, s, rec, func() error {
		var data []byte
		return load.QueryRowContext(ctx, rec.Key).Scan(&data)
	}, func() error {
		_, err := update.ExecContext(ctx, rec.Data, rec.Key)
		return err
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
