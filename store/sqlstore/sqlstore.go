// Package sqlstore keeps sessions in a table of an SQL database. It is what pgstore, mysqlstore and sqlitestore share:
// the statements, beside each other where the databases differ, and the rules of package store that no client library
// knows about.
//
// # The table
//
// One row is one record. Texts are kept as bytes, so that no collation folds, pads or refuses any; times are
// milliseconds since 1970, which every database can hold, the year 1 and the year 9999 included. expires_at is what the
// caller gave, deadline the same moment by the server's clock: its time at the write, and the time that was left then by
// the caller's. Only deadline decides.
//
// # One statement for each method
//
// A statement alone is a transaction. Those that change a row name the version that they expect, so that the server
// decides, under its lock on the row. Only when an UPDATE matched nothing, a second statement asks why; see [Store.why].
package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/store"
)

// Conn runs statements. Each is sent at most once. Arguments are strings, bytes and whole numbers.
type Conn interface {
	// Exec runs a statement and returns how many rows it changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	// Query runs a query and calls each for every row, with the function that scans it.
	Query(ctx context.Context, query string, each func(scan func(dest ...any) error) error, args ...any) error
}

// DB is a database as its client library shows it. Its methods are safe for concurrent use; those of Conn hold a
// connection until they return.
type DB interface {
	Conn
	// Exclusive calls fn with one connection, while no other Exclusive of the same name runs, in whatever process.
	Exclusive(ctx context.Context, name string, fn func(Conn) error) error
	// Undone tells whether an error says that the server has undone the statement, and that it may succeed if it is sent
	// again: as the victim of a deadlock.
	Undone(error) bool
	// Clean returns an error whose text has nothing of a record, a password or a URL. It gets no errors of contexts.
	Clean(error) error
	// Close ends what the DB has made itself.
	Close() error
}

// Store keeps records in a table. It implements [store.Store], [store.Lister] and [store.Sweeper].
type Store struct {
	name   string // of the package, for errors
	db     DB
	table  string
	text   statements
	schema [][]string
	closed atomic.Bool
	close  sync.Once
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Lister  = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
)

// New returns a Store of the records in the table of that name, "" being [DefaultTable]. The package called name is the
// one that the user sees.
func New(name string, db DB, d Dialect, table string) (*Store, error) {
	t, err := parseTable(table)
	if err != nil {
		return nil, fmt.Errorf("%s: Options.Table: %w", name, err)
	}
	return &Store{name: name, db: db, table: t.quoted("", ""), text: d.statements(t), schema: d.schema(t)}, nil
}

// Close ends the connections if the Store has made them. It waits for calls that are under way; later ones fail. It may
// be called again.
func (s *Store) Close() error {
	var err error
	s.close.Do(func() {
		s.closed.Store(true)
		err = s.db.Close()
	})
	if err != nil {
		return s.failed("close", err)
	}
	return nil
}

// Ping returns nil if the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.run(ctx, "open", func() error { return s.db.Query(ctx, "SELECT 1", func(func(...any) error) error { return nil }) })
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	var rec store.Record
	var data []byte
	var found, live bool
	err := s.run(ctx, "load", func() error {
		return s.db.Query(ctx, s.text.load, func(scan func(...any) error) (err error) {
			found = true
			rec, err = scanRecord(func(dest ...any) error { return scan(append(dest, &data, &live)...) })
			return err
		}, key)
	})
	switch {
	case err != nil:
		return store.Record{}, err
	case !found:
		return store.Record{}, store.ErrNotFound
	case !live:
		return store.Record{}, &store.ExpiredError{Record: rec}
	}
	rec.Data = data
	return rec, nil
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	args, err := s.values(&rec)
	if err != nil {
		return err
	}
	n, err := s.exec(ctx, "create", s.text.create, append([]any{rec.Key}, args...)...)
	if err == nil && n == 0 {
		return store.ErrExists
	}
	return err
}

// Replace implements [store.Store].
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	args, err := s.values(&rec)
	if err != nil {
		return err
	}
	n, err := s.exec(ctx, "replace", s.text.replace, append(args, rec.Key, int64(version))...)
	if err == nil && n == 0 {
		return s.why(ctx, "replace", rec.Key, rec.Version)
	}
	return err
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	n, err := s.exec(ctx, "touch", s.text.touch,
		seen.UnixMilli(), expires.UnixMilli(), timeLeft(expires), key, int64(version))
	if err == nil && n == 0 {
		return s.why(ctx, "touch", key, version)
	}
	return err
}

// why says why an UPDATE matched no row, by looking at the record a moment later. That is no race: nothing there, or
// another version there, is also what the UPDATE would have found at that moment, which lies within the call. If the
// version that was asked for is there now, it was not before, since versions never come back: ErrConflict, look again.
//
// written is the version that the UPDATE would have left. MySQL, unless it is told to count the rows that it found,
// counts none if the row was the same before: then the UPDATE has done its work.
func (s *Store) why(ctx context.Context, step, key string, written uint64) error {
	var found bool
	var version int64
	err := s.run(ctx, step, func() error {
		return s.db.Query(ctx, s.text.version, func(scan func(...any) error) error {
			found = true
			return scan(&version)
		}, key)
	})
	switch {
	case err != nil:
		return err
	case !found:
		return store.ErrNotFound
	case uint64(version) == written:
		return nil
	}
	return store.ErrConflict
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := s.exec(ctx, "delete", s.text.delete, key)
	return err
}

// exec runs a statement for the method called step.
func (s *Store) exec(ctx context.Context, step, query string, args ...any) (n int64, err error) {
	err = s.run(ctx, step, func() (err error) {
		n, err = s.db.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

// patience bounds how long a statement is sent again, under a context that allows more.
const (
	patience     = 10 * time.Second
	longestPause = 50 * time.Millisecond
)

// run calls fn, and again while the server says that it has undone the statement, as it does with the victim of a
// deadlock. Then nothing was applied: this is no retry of a write whose outcome is not known.
func (s *Store) run(ctx context.Context, step string, fn func() error) error {
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, longestPause) {
		if err := s.ended(ctx, step); err != nil {
			return err
		}
		err := fn()
		if err == nil {
			return nil
		}
		if err := s.ended(ctx, step); err != nil {
			return err
		}
		if !s.db.Undone(err) || time.Since(began) > patience {
			return s.failed(step, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// ended returns an error if the context has ended, or the Store is closed.
func (s *Store) ended(ctx context.Context, step string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %s: %w", s.name, step, err)
	}
	if s.closed.Load() {
		return fmt.Errorf("%s: %s: the store is closed", s.name, step)
	}
	return nil
}

// failed makes an error of a client library ours.
func (s *Store) failed(step string, err error) error {
	if errors.Is(err, errScan) {
		return fmt.Errorf("%s: %s: %w", s.name, step, errScan)
	}
	return fmt.Errorf("%s: %s: %w", s.name, step, s.db.Clean(err))
}
