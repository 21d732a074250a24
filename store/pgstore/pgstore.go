// Package pgstore keeps sessions in a table of PostgreSQL, 12 or later:
//
//	s, err := pgstore.Open(ctx, "postgres://shop:secret@db.example/shop?sslmode=verify-full", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//	if err := s.Migrate(ctx); err != nil { // makes the table
//		log.Fatal(err)
//	}
//	sessions, err := session.New(session.Config{SecretKey: key, Store: s})
//
// Every method is one statement and one round trip; two where a Replace or Touch finds another version, or a listing is
// longer than a page. Statements are sent once, and once more only where PostgreSQL says that it has undone them.
//
// # The primary
//
// The connections must lead to the primary: a standby answers with what was true a moment ago, so that a session that
// was logged out would still be there. For URLs of several hosts there is target_session_attrs=read-write.
//
// # PgBouncer
//
// It works through PgBouncer in every pooling mode, transaction mode included. Statements are prepared once on each
// connection, which makes them two to three times as fast; where a pooler in between loses them, the Store notices,
// sends what did not begin once more, and names statements no longer.
//
// # What survives
//
// A write that was answered survives the end of the program, and of the server, as far as the server's settings say so:
// with synchronous_commit=off a crash of the server takes back the last fraction of a second, so that a session which
// was logged out in it may be back; fsync=off is not for this; a failover to an asynchronous standby takes back what
// had not reached it. With [Options].Unlogged a crash of the server empties the table, and standbys don't have it.
//
// # Expiry
//
// The clock of the server decides, to the millisecond. Sweep removes rows of 500 in one statement, and leaves out what
// another sweeper is removing.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlstore"
)

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Table is the name of the table, with or without a schema: letters, digits and "_", at most 50 bytes each.
	// Default: "hipflask_sessions", where the search_path finds or makes it. Names made from it, with _principal,
	// _deadline, _readable, _text and _schema at the end, are used too.
	Table string

	// Unlogged makes Migrate create the table as UNLOGGED: writes cost less, a crash of the server ends all sessions,
	// and standbys have none. It does not change a table that is there: ALTER TABLE ... SET LOGGED does. Default:
	// false.
	Unlogged bool

	_ struct{} // no unkeyed literals: fields may be added
}

// Store keeps records in a table. It implements [store.Store], [store.Lister], [store.Sweeper] and
// [store.BatchReplacer]. Its methods are safe
// for concurrent use. Make one with [New] or [Open].
type Store struct{ engine }

// engine has the methods of package store, which say there what they do; the field's name is hidden, they are not.
type engine = *sqlstore.Store

var (
	_ store.Store         = (*Store)(nil)
	_ store.Lister        = (*Store)(nil)
	_ store.Sweeper       = (*Store)(nil)
	_ store.BatchReplacer = (*Store)(nil)
)

// ReplaceBatch implements [store.BatchReplacer]: one statement replaces 128 records.
func (s *Store) ReplaceBatch(ctx context.Context, recs []store.Record, versions []uint64) ([]bool, error) {
	return s.engine.Batch(ctx, recs, versions)
}

// Migrate makes the table, or what is new in it since an earlier release, and leaves one of a later release as it is.
// Any number of processes may call it at once, and again: which steps a table has seen stands in a second one, whose
// name ends in _schema. It needs the right to CREATE in the schema, though not where nothing is to be made. An error
// says what is missing.
func (s *Store) Migrate(ctx context.Context) error { return s.engine.Migrate(ctx) }

// Ping returns nil if the database answers: for a check of the application's health.
func (s *Store) Ping(ctx context.Context) error { return s.engine.Ping(ctx) }

// Close closes the pool, if [Open] has made the Store. It waits for calls in flight; later ones fail. It may be
// called again.
func (s *Store) Close() error { return s.engine.Close() }

// New returns a Store that uses a pool, which stays the caller's: Close leaves it open. Nil opts are the defaults. It
// sends nothing; call Migrate before the first use.
func New(pool *pgxpool.Pool, opts *Options) (*Store, error) {
	if pool == nil {
		return nil, errors.New("pgstore: the pool is nil")
	}
	return newStore(NewDB(pool), opts)
}

func newStore(db sqlstore.DB, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	dialect := sqlstore.Postgres
	if opts.Unlogged {
		dialect.Steps = unlogged(dialect.Steps)
	}
	s, err := sqlstore.New(db, dialect, &sqlstore.Options{Name: "pgstore", Table: opts.Table})
	if err != nil {
		return nil, err
	}
	return &Store{s}, nil
}

// unlogged returns the steps with a table that the server does not write to its log.
func unlogged(steps [][]string) [][]string {
	changed := make([][]string, len(steps))
	for i, step := range steps {
		for _, statement := range step {
			changed[i] = append(changed[i], strings.Replace(statement, "CREATE TABLE", "CREATE UNLOGGED TABLE", 1))
		}
	}
	return changed
}

// maxConns is the size of a pool where the URL names none. A statement takes well under a millisecond: so many at once
// are thousands a second, and several processes fit into PostgreSQL's default of 100 connections.
const maxConns = 16

// connectTimeout keeps attempts to reach a server that swallows packets from filling the pool until long after it is
// back.
const connectTimeout = 5 * time.Second

// Open returns a Store with a pool of its own, which Close closes. url is what PostgreSQL's own clients take, as
// "postgres://user:password@host:port/database?sslmode=verify-full", with pgxpool's settings: pool_max_conns (here 16
// by default), connect_timeout (5 seconds), pool_max_conn_lifetime and others; also "host=... user=..." pairs. What it
// leaves open the usual variables (PGHOST, PGPASSWORD, ...) say. Open connects once, to fail early; the table is made
// by Migrate. Nil opts are the defaults.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	db, err := OpenDB(ctx, url)
	if err != nil {
		return nil, err
	}
	s, err := newStore(db, opts)
	if err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// OpenDB connects as [Open] does and returns the database, whose Close closes the connections: for other packages that
// keep tables by package sqlstore.
func OpenDB(ctx context.Context, url string) (sqlstore.DB, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // which quotes the URL
		return nil, errors.New("pgstore: the URL can't be read: " +
			"it is postgres://user:password@host:port/database?setting=value, with special characters " +
			"of the password as %XX")
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = maxConns
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("pgstore: open: %w", clean(err))
	}
	db := &client{pool: pool, own: true}
	if err := sqlstore.NewClient("pgstore", db).Ping(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}
