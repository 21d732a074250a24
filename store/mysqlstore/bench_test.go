package mysqlstore_test

import (
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/storetest"
)

// BenchmarkFloor holds Load and Replace against the least that a client has to do: a SELECT and an UPDATE of one column
// by the primary key, prepared, with the same connections.
func BenchmarkFloor(b *testing.B) {
	db := database(b, owner, "")
	s, err := mysqlstore.New(db, &mysqlstore.Options{Table: sqltest.Table()})
	if err != nil {
		b.Fatal(err)
	}
	sqltest.Migrated(b, s, nil)
	ctx := b.Context()
	rec := sqltest.Create(b, s, sqltest.NewRecord("ann"))
	run(b, "CREATE TABLE IF NOT EXISTS floor (k VARBINARY(128) PRIMARY KEY, data LONGBLOB, n BIGINT)",
		"TRUNCATE TABLE floor")
	if _, err := db.ExecContext(ctx, "INSERT INTO floor VALUES (?, ?, 0)", rec.Key, rec.Data); err != nil {
		b.Fatal(err)
	}
	load, err := db.PrepareContext(ctx, "SELECT data FROM floor WHERE k = ?")
	if err != nil {
		b.Fatal(err)
	}
	update, err := db.PrepareContext(ctx, "UPDATE floor SET data = ?, n = n + 1 WHERE k = ?")
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

// BenchmarkSize runs on a server that waits for its disk.
func BenchmarkSize(b *testing.B) {
	server := servertest.MariaDB(b, "--innodb-flush-method=fsync", "--innodb-buffer-pool-size=512M")
	db := databaseAt(b, server, owner, "")
	opts := &mysqlstore.Options{Table: sqltest.Table()}
	storetest.BenchSize(b, open(b, server.URL, opts), func() (bytes int64) {
		if _, err := db.ExecContext(b.Context(), "ANALYZE TABLE "+opts.Table); err != nil {
			b.Fatal(err)
		}
		err := db.QueryRowContext(b.Context(), `SELECT data_length + index_length FROM information_schema.tables
			WHERE table_schema = DATABASE() AND table_name = ?`, opts.Table).Scan(&bytes)
		if err != nil {
			b.Fatal(err)
		}
		return bytes
	})
}
