// Package sqlitestore keeps sessions in a table of an SQLite file, by modernc.org/sqlite, which needs no C compiler:
//
//	s, err := sqlitestore.Open(ctx, "sqlite:/var/lib/shop/sessions.db", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//	if err := s.Migrate(ctx); err != nil { // makes the table
//		log.Fatal(err)
//	}
//	sessions, err := session.New(session.Config{SecretKey: key, Store: s})
//
// Several Stores and several processes of one machine may use one file at the same time. SQLite lets one of them write
// at a time, for as long as a statement takes; the others wait until their context ends, 10 seconds at most. Readers
// wait for nobody.
//
// # The file
//
// Open makes it with mode 0600, and SQLite makes the two files beside it, which end in -wal and -shm, with the mode
// that the file has. That of a file that is there is left as it is. Open refuses files that belong to another user or
// that all users may write, and a folder of another user or one in which all users may replace files (a sticky one of
// root's, as /tmp is, will do): whoever can write to the sessions can log in as anybody.
//
// The file has to lie on a local disk: the processes share memory,
// which no network file system offers. Copy it with the backup of SQLite's own programs (VACUUM INTO), not while it is
// open.
//
// # What survives
//
// A write that was answered survives the end of the process, SIGKILL included. With [Options].Sync it survives the loss
// of power as well, at the price of a wait for the disk in each write. Without it that takes back the writes since the
// last checkpoint, which comes every 1000 pages, so that a session which was logged out since may be back; the file
// stays whole.
//
// # Expiry
//
// The clock of the machine decides, to the millisecond. Sweep removes rows of 500 in one statement.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlstore"
)

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Table is the name of the table: letters, digits and "_", at most 50 bytes. Default: "hipflask_sessions". Names
	// made from it, with _principal, _deadline and _schema at the end, are used too.
	Table string

	// Sync makes Open's connections wait in every write until the disk has it (synchronous=FULL), so that answered
	// writes survive the loss of power as well as the end of the process. Default: false (synchronous=NORMAL). New
	// leaves the connections as they are.
	Sync bool

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
// name ends in _schema. An error says what is missing.
func (s *Store) Migrate(ctx context.Context) error { return s.engine.Migrate(ctx) }

// Ping returns nil if the database answers: for a check of the application's health.
func (s *Store) Ping(ctx context.Context) error { return s.engine.Ping(ctx) }

// Close closes the file, if [Open] has made the Store. It waits for calls in flight; later ones fail. It may be
// called again.
func (s *Store) Close() error { return s.engine.Close() }

// New returns a Store that uses a database of modernc.org/sqlite, such as the application's own; it stays the caller's:
// Close leaves it open. Nil opts are the defaults. It sends nothing; call Migrate before the first use. In the mode
// journal_mode=WAL, which Open chooses, readers and a writer don't wait for each other.
func New(db *sql.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlitestore: the database is nil")
	}
	return newStore(NewDB(db), opts)
}

func newStore(db sqlstore.DB, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	s, err := sqlstore.New(db, sqlstore.SQLite, &sqlstore.Options{Name: "sqlitestore", Table: opts.Table})
	if err != nil {
		return nil, err
	}
	return &Store{s}, nil
}

// Open returns a Store of the file that url names, as "sqlite:PATH" or by its path alone, and makes the file if it
// isn't there, though not its folder; the table is made by Migrate. Nil opts are the defaults. Close closes the file.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	db, err := OpenDB(ctx, url, opts)
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

// OpenDB opens a file as [Open] does and returns the database, whose Close closes the file: for other packages that
// keep tables by package sqlstore. Of opts it uses Sync alone; nil opts are the defaults.
func OpenDB(ctx context.Context, url string, opts *Options) (sqlstore.DB, error) {
	path := strings.TrimPrefix(url, "sqlite:")
	if path == "" || strings.HasPrefix(path, ":") || strings.ContainsRune(path, 0) {
		return nil, errors.New(
			`sqlitestore: the URL names no file: it is "sqlite:PATH"; for sessions in memory there is memstore`)
	}
	path, err := filepath.Abs(path) // later changes of the working directory must not move the store
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: open: %w", err)
	}
	// Before the file is made, so that none is left in another user's folder; and after it, since in /tmp another user
	// may have been faster.
	for _, step := range []func(string) error{checkOwner, create, checkOwner} {
		if err := step(path); err != nil {
			return nil, fmt.Errorf("sqlitestore: open: %w", err)
		}
	}
	if opts == nil {
		opts = new(Options)
	}
	db, err := connect(path, opts.Sync)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: open: %w", clean(err))
	}
	if err := sqlstore.NewClient("sqlitestore", db).Ping(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// creating keeps files that create has open apart from those that SQLite has: closing one ends all of a process's locks
// on it (fcntl(2)).
var creating sync.Mutex

// create makes a file that only we may read: SQLite would make one by the umask.
func create(path string) error {
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// busyTimeout is how long SQLite waits for a lock before the statement is sent again, in milliseconds.
const busyTimeout = 1000

// connect makes the connections: one that writes, so that the writers of this process stand in a queue and not in each
// other's way, and several that read.
func connect(path string, full bool) (sqlstore.DB, error) {
	level := "NORMAL"
	if full {
		level = "FULL"
	}
	name := filepath.ToSlash(path)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // a volume of Windows
	}
	dsn := "file://" + (&url.URL{Path: name}).EscapedPath() + fmt.Sprintf(
		"?_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(%s)", busyTimeout, level)
	write, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	read, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
	if err != nil {
		write.Close()
		return nil, err
	}
	write.SetMaxOpenConns(1)
	readers := max(2, runtime.GOMAXPROCS(0))
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return newDB(read, write, true), nil
}
