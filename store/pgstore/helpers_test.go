package pgstore_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/pgstore"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// The servers that serve all tests which leave them alone.
var (
	server = sync.OnceValue(func() *servertest.Server {
		return servertest.Postgres(servertest.Shared, "max_connections=500")
	})
	bouncer = sync.OnceValue(func() *servertest.Server { return servertest.PgBouncer(servertest.Shared, server()) })
)

// open opens the sessions that a server has, and makes the table.
func open(tb testing.TB, url string, opts *pgstore.Options) *pgstore.Store {
	tb.Helper()
	s, err := pgstore.Open(tb.Context(), url, opts)
	return sqltest.Migrated(tb, s, err)
}

// opener returns a function that opens the sessions of one table, in turn by each of the URLs.
func opener(table string, urls ...string) func(testing.TB) store.Store {
	var turn atomic.Int64
	return func(tb testing.TB) store.Store {
		url := urls[int(turn.Add(1))%len(urls)]
		return open(tb, url, &pgstore.Options{Table: table})
	}
}

// pool opens a pool of the test's own.
func pool(tb testing.TB, url string, change func(*pgxpool.Config)) *pgxpool.Pool {
	tb.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	if change != nil {
		change(config)
	}
	p, err := pgxpool.NewWithConfig(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// run runs statements with the rights of the server's owner.
func run(tb testing.TB, statements ...string) {
	tb.Helper()
	p := pool(tb, server().URL, nil)
	for _, statement := range statements {
		if _, err := p.Exec(tb.Context(), statement); err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
}
