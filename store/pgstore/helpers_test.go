package pgstore_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
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
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	if err := s.Migrate(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
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

// table returns the name of a table that nobody else has.
func table() string { return "t_" + strings.ToLower(rand.Text()) }

// newRecord returns a live record of a principal.
func newRecord(principal string) store.Record {
	now := time.Now().Truncate(time.Millisecond)
	return store.Record{
		Key: rand.Text(), Version: store.NewVersion(), Principal: principal, Label: "Firefox on Windows",
		Handle:    rand.Text(),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(time.Hour), Data: []byte(`{"visits":1}`),
	}
}

func create(tb testing.TB, s store.Store, rec store.Record) store.Record {
	tb.Helper()
	if err := s.Create(tb.Context(), rec); err != nil {
		tb.Fatal(err)
	}
	return rec
}

// expired creates n records that are over at once.
func expired(tb testing.TB, s store.Store, n int) {
	tb.Helper()
	for range n {
		rec := newRecord("")
		rec.ExpiresAt = time.Now().Add(-time.Second)
		create(tb, s, rec)
	}
}
