package flasktables

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/sqlstore"
)

var postgresServer = sync.OnceValue(func() *servertest.Server {
	return servertest.Postgres(servertest.Shared, "max_connections=500")
})

var postgres = database{
	dialect: flasksql.Postgres,
	place: func(testing.TB) place {
		return place{
			table: newTable(),
			open: func(tb testing.TB) (sqlstore.DB, error) {
				return pgstore.OpenDB(tb.Context(), postgresServer().URL)
			},
			bare: func(tb testing.TB) *sql.DB { return connect(tb, "pgx", postgresServer().URL) },
			share: func(tb testing.TB) sqlstore.DB {
				pool, err := pgxpool.New(tb.Context(), postgresServer().URL)
				if err != nil {
					tb.Fatal(err)
				}
				tb.Cleanup(pool.Close)
				return pgstore.NewDB(pool)
			},
		}
	},
	placeholders: sqlstore.Postgres,
	overwrite:    `ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry`,
	expiry:       "expiry",
	write:        func(t time.Time) any { return t },
	read:         func(_ testing.TB, v any) time.Time { return v.(time.Time) },
}

func connect(tb testing.TB, driver, name string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}
