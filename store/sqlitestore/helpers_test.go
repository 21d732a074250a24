package sqlitestore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlitestore"
)

// file returns the path of a file that isn't there yet.
func file(tb testing.TB) string { return filepath.Join(tb.TempDir(), "sessions.db") }

// open opens the sessions of a file, and makes the table.
func open(tb testing.TB, path string, opts *sqlitestore.Options) *sqlitestore.Store {
	tb.Helper()
	s, err := sqlitestore.Open(tb.Context(), "sqlite:"+path, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return migrated(tb, s)
}

func migrated(tb testing.TB, s *sqlitestore.Store) *sqlitestore.Store {
	tb.Helper()
	tb.Cleanup(func() { s.Close() })
	if err := s.Migrate(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
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

// calls are all methods on one record.
func calls(s *sqlitestore.Store, rec store.Record) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx, rec.Key); return err },
		"Create":  func(ctx context.Context) error { return s.Create(ctx, newRecord("bob")) },
		"Replace": func(ctx context.Context) error { return s.Replace(ctx, rec, rec.Version) },
		"Touch": func(ctx context.Context) error {
			return s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, rec.Key) },
		"Sweep":  func(ctx context.Context) error { _, err := s.Sweep(ctx, 1); return err },
		"All": func(ctx context.Context) error {
			for _, err := range s.All(ctx) {
				return err
			}
			return nil
		},
		"Principal": func(ctx context.Context) error {
			for _, err := range s.Principal(ctx, rec.Principal) {
				return err
			}
			return nil
		},
	}
}
