// Package sqlstore is the engine of the stores in SQL databases: pgstore, mysqlstore and sqlitestore build on it, and
// so can a store for another database. It imports no driver, only database/sql.
//
// # A store for another database
//
// Two values say what is special about a database: a [DB], which runs statements, and a [Dialect], which has those
// words of SQL in which databases differ. [NewDB] makes a DB of a [database/sql.DB]; where the database speaks the
// dialect of [Postgres], [MySQL] or [SQLite], that is all:
//
//	db := sqlstore.NewDB(handle, &sqlstore.DBOptions{Begin: "BEGIN IMMEDIATE"})
//	s, err := sqlstore.New(db, sqlstore.SQLite, &sqlstore.Options{Name: "shopstore"})
//
// storetest.Run checks the result. The test of package sqlitestore has an example with everything.
//
// # The table
//
// One row is one record. Texts are stored as bytes, so that no collation folds, pads or rejects any of them. Times are
// milliseconds since 1970, which every database can hold, from the year 1 to the year 9999. expires_at is the time that
// the caller gave; deadline is the same moment by the server's clock: the server's time at the write plus the remaining
// lifetime that the caller computed. Only deadline decides about expiry.
//
// # One statement for each method
//
// A statement alone is a transaction. A statement that changes a row names the version that it expects, so that the
// server decides, under its lock on the row. Only when an UPDATE matched nothing, a second statement asks why.
package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/hipflask/session/store"
)

// Conn runs statements. It sends each of them at most once. Placeholders are those of the dialect. Arguments are
// strings, byte slices and int64; strings stand for bytes, as the columns are binary.
type Conn interface {
	// Exec runs a statement and returns how many rows it has changed. Within [DB.Exclusive] that number may be 0.
	Exec(ctx context.Context, query string, args ...any) (int64, error)

	// Query runs a query and calls each for every row, with a function that scans its columns as
	// [database/sql.Rows.Scan] does. It returns the first error of each.
	Query(ctx context.Context, query string, each func(scan func(dest ...any) error) error, args ...any) error
}

// DB is a database as a client library shows it. Its methods are safe for concurrent use. Exec and Query hold a
// connection only until they return. [NewDB] makes one of a [database/sql.DB].
type DB interface {
	Conn

	// Exclusive calls fn with a connection in a transaction, while no other Exclusive of that name runs, in whatever
	// process. It commits if fn returns nil, and otherwise rolls back and returns fn's error. A database whose CREATE
	// TABLE commits by itself may leave the transaction there.
	Exclusive(ctx context.Context, name string, fn func(Conn) error) error

	// Undone reports whether err says that the server has undone the statement or transaction, and that it may succeed
	// if it is sent again: for example as the victim of a deadlock.
	Undone(err error) bool

	// Clean returns an error that describes err without any part of a record, a password or a URL. It is not called
	// with errors of contexts, nor with [ErrScan].
	Clean(err error) error

	// Close releases what the DB has made itself. It may be called again.
	Close() error
}

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Name begins the texts of errors: the name of the package that users of the store import. Default: "sqlstore".
	Name string

	// Table is the name of the table, optionally with a schema before it and a dot between: letters, digits and "_", at
	// most 50 bytes each. Default: [DefaultTable]. Names made from it, with _principal, _deadline, _schema and others
	// at the end, are used too.
	Table string

	_ struct{} // no unkeyed literals: fields may be added
}

// Store keeps records in a table. It implements [store.Store], [store.Lister] and [store.Sweeper]. Its methods are safe
// for concurrent use. Make one with [New].
type Store struct {
	client *Client
	table  string
	text   statements
	schema [][]string

	batches bool // the dialect can
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Lister  = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
)

// New returns a Store of the records in a table of db, which the Store closes. Nil opts are the defaults. New sends
// nothing to the database; call Migrate before the first use. It fails if the table's name or the dialect is invalid.
func New(db DB, d Dialect, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	name := opts.Name
	if name == "" {
		name = "sqlstore"
	}
	if db == nil {
		return nil, fmt.Errorf("%s: the database is nil", name)
	}
	t, err := parseTable(opts.Table)
	if err != nil {
		return nil, fmt.Errorf("%s: Options.Table: %w", name, err)
	}
	if d.Now == "" || d.Create == "" || d.Assign == "" || d.Sweep == "" || len(d.Steps) == 0 {
		return nil, fmt.Errorf("%s: a field of the Dialect is missing", name)
	}
	return &Store{client: NewClient(name, db), table: t.quoted("", ""), text: d.statements(t),
		schema: d.schema(t), batches: d.Batch != ""}, nil
}

// Close closes the DB. It waits for calls in flight, as far as the DB does; later calls fail. It may be called again.
func (s *Store) Close() error { return s.client.Close() }

// Ping returns nil if the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.client.Ping(ctx) }

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	var rec store.Record
	var data []byte
	var found, live bool
	err := s.client.Run(ctx, "load", func() error {
		return s.client.DB.Query(ctx, s.text.load, func(scan func(...any) error) (err error) {
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
	n, err := s.client.Exec(ctx, "create", s.text.create, append([]any{rec.Key}, args...)...)
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
	n, err := s.client.Exec(ctx, "replace", s.text.replace, append(args, rec.Key, int64(version))...)
	if err == nil && n == 0 {
		return s.why(ctx, "replace", rec.Key, rec.Version)
	}
	return err
}

// Batch is the ReplaceBatch of [store.BatchReplacer], where the dialect has a statement for it: a store that embeds
// Store gives the method that name.
func (s *Store) Batch(ctx context.Context, recs []store.Record, versions []uint64) (replaced []bool, err error) {
	if !s.batches {
		return nil, fmt.Errorf("%s: replace: the Dialect has no Batch: %w", s.client.name, errors.ErrUnsupported)
	}
	for len(recs) > 0 {
		n := min(len(recs), 1<<(batchSizes-1))
		some, err := s.batch(ctx, recs[:n], versions[:n])
		if err != nil {
			return nil, err
		}
		replaced = append(replaced, some...)
		recs, versions = recs[n:], versions[n:]
	}
	return replaced, nil
}

// batch replaces up to 128 records. The statement has as many rows as a power of two, so that few are prepared: what
// is missing repeats the last row.
func (s *Store) batch(ctx context.Context, recs []store.Record, versions []uint64) ([]bool, error) {
	var args, keys []any
	size := bits.Len(uint(len(recs) - 1))
	for i := range 1 << size {
		i = min(i, len(recs)-1)
		values, err := s.values(&recs[i])
		if err != nil {
			return nil, err
		}
		args = append(append(args, recs[i].Key, int64(versions[i])), values...)
		keys = append(keys, recs[i].Key)
	}
	n, err := s.client.Exec(ctx, "replace", s.text.batch[size], args...)
	if err != nil {
		return nil, err
	}
	replaced := make([]bool, len(recs))
	if int(n) == len(recs) {
		for i := range replaced {
			replaced[i] = true
		}
		return replaced, nil
	}
	// Whose version is there now was replaced: nobody else knows it.
	now := map[string]uint64{}
	err = s.client.Run(ctx, "replace", func() error {
		return s.client.DB.Query(ctx, s.text.versions[size], func(scan func(...any) error) error {
			var key []byte
			var version int64
			if err := scan(&key, &version); err != nil {
				return ErrScan
			}
			now[string(key)] = uint64(version)
			return nil
		}, keys...)
	})
	for i := range recs {
		replaced[i] = now[recs[i].Key] == recs[i].Version
	}
	return replaced, err
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	n, err := s.client.Exec(ctx, "touch", s.text.touch,
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
	err := s.client.Run(ctx, step, func() error {
		return s.client.DB.Query(ctx, s.text.version, func(scan func(...any) error) error {
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
	_, err := s.client.Exec(ctx, "delete", s.text.delete, key)
	return err
}
