package mysqlstore_test

import (
	"context"
	"sync"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// server serves all tests that leave it alone.
var server = sync.OnceValue(func() *servertest.Server { return servertest.MariaDB(servertest.Shared, "--max-connections=1000") })

// open opens the sessions that a server has, and makes the table.
func open(tb testing.TB, url string, opts *mysqlstore.Options) *mysqlstore.Store {
	tb.Helper()
	s, err := mysqlstore.Open(tb.Context(), url, opts)
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
	return func(tb testing.TB) store.Store { return open(tb, url, &mysqlstore.Options{Table: table}) }
}
