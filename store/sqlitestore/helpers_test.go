package sqlitestore_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlitestore"
)

// open opens the sessions of a file, and makes the table.
func open(tb testing.TB, url string, opts *sqlitestore.Options) *sqlitestore.Store {
	tb.Helper()
	s, err := sqlitestore.Open(tb.Context(), url, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	if err := s.Migrate(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
}

// opener returns a function that opens the sessions of one file.
func opener(tb testing.TB) func(testing.TB) store.Store {
	url := "sqlite:" + filepath.Join(tb.TempDir(), "sessions.db")
	return func(tb testing.TB) store.Store { return open(tb, url, nil) }
}
