package sqlitestore_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/sqlitestore"
)

// file returns the path of a file that isn't there yet.
func file(tb testing.TB) string { return filepath.Join(tb.TempDir(), "sessions.db") }

// open opens the sessions of a file, and makes the table.
func open(tb testing.TB, path string, opts *sqlitestore.Options) *sqlitestore.Store {
	tb.Helper()
	s, err := sqlitestore.Open(tb.Context(), "sqlite:"+path, opts)
	return sqltest.Migrated(tb, s, err)
}

// database opens connections of the test's own.
func database(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}
