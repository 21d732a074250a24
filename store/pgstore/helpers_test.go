package pgstore_test

import (
	"context"
	"sync"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/pgstore"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// server serves all tests that leave it alone.
var server = sync.OnceValue(func() *servertest.Server { return servertest.Postgres(servertest.Shared) })

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

// opener returns a function that opens the sessions of one table.
func opener(url, table string) func(testing.TB) store.Store {
	return func(tb testing.TB) store.Store { return open(tb, url, &pgstore.Options{Table: table}) }
}
