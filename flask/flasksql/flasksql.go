// Package flasksql shares the sessions of a Flask application with Flask-Session's SESSION_TYPE "sqlalchemy", on
// PostgreSQL, MySQL, MariaDB or SQLite, while both run:
//
//	db, err := pgstore.OpenDB(ctx, "postgres://shop:secret@db.example/shop?sslmode=verify-full")
//	if err != nil {
//		log.Fatal(err)
//	}
//	st, err := flasksql.New(db, flasksql.Postgres, nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer st.Close()
//	sessions, err := session.New(session.Config{
//		SecretKey:  os.Getenv("SECRET_KEY"), // the Flask application's
//		Store:      st,
//		IDFormat:   flask.SID, // or SignedSID
//		Serializer: flask.Msgpack, // or JSON
//		Cookie:     session.Cookie{Name: "session", Persistent: true},
//	})
//
// The database is one of pgstore, mysqlstore or sqlitestore: OpenDB connects to a URL, NewDB takes the connections that
// the application has.
//
// # What is promised
//
// A change never takes the place of what a Flask process has written since, and never creates a session again that was
// deleted: it is one UPDATE that compares the whole content by its SHA-256, on SQLite a transaction that compares the
// content. The end of a session is a transaction. A session that was ended or renewed here leaves a mark for
// Config.Grace, a row whose session_id begins with "hipflask:".
//
// Only content is compared: a session that was changed and changed back counts as unchanged. A Flask process overwrites
// what Go has written since it read the session; docs/flask-session.md in the repository has the details.
//
// # Limits
//
// On MySQL and MariaDB the column data holds 65,535 bytes, more is rejected; expiry has whole seconds there. Sweep
// removes expired rows, as "flask session_cleanup" does, without an index to help it. A Store is no store.Lister:
// Flask-Session has no index by user.
package flasksql

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/hipflask/session/flask/flasksession"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlstore"
)

// Options are the settings of a Store. The zero value has the defaults of Flask-Session.
type Options struct {
	// Table is SESSION_SQLALCHEMY_TABLE, optionally with a schema before it and a dot between. Default: "sessions".
	Table string

	// KeyPrefix is SESSION_KEY_PREFIX. Default: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	_ struct{} // no unkeyed literals: fields may be added
}

// Store is a [store.Store] and a [store.Sweeper] over the table. Its methods are safe for concurrent use. Make one with
// [New].
type Store struct {
	engine
	table *table
}

// engine has the methods of package store, which say there what they do; the field's name is hidden, they are not.
type engine = *flasksession.Store

var (
	_ store.Store   = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
)

// New returns a Store of the sessions in a table of db, which the Store closes. Nil opts are the defaults. New sends
// nothing to the database. The Flask application makes the table, or Migrate does.
func New(db sqlstore.DB, d Dialect, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	if db == nil {
		return nil, errors.New("flasksql: the database is nil")
	}
	t, err := newTable(sqlstore.NewClient("flasksql", db), d, opts)
	if err != nil {
		return nil, fmt.Errorf("flasksql: %w", err)
	}
	return &Store{flasksession.New(t), t}, nil
}

// Migrate creates the table as SQLAlchemy does, if it doesn't exist.
func (s *Store) Migrate(ctx context.Context) error { return s.table.migrate(ctx) }

// Sweep implements [store.Sweeper]. It removes expired sessions and marks.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	return s.table.sweep(ctx, limit)
}

// Close closes the database: the connections that OpenDB made; those of NewDB stay open. It may be called again.
func (s *Store) Close() error { return s.table.client.Close() }

// table is Flask-Session's table as a flasksession.Medium.
type table struct {
	client  *sqlstore.Client
	name    string // for the lock of migrate
	prefix  string
	maxData int
	hashes  bool // the UPDATE compares
	text    statements
}

type statements struct {
	load, look, create, insert, replace, touch, remove, removeBoth, page, sweep, table string
}

func newTable(client *sqlstore.Client, d Dialect, opts *Options) (*table, error) {
	name, prefix := opts.Table, flasksession.Prefix(opts.KeyPrefix, opts.NoKeyPrefix)
	if name == "" {
		name = "sessions"
	}
	quoted, err := d.sql.TableName(name)
	if err != nil {
		return nil, fmt.Errorf("Options.Table: %w", err)
	}
	if most := maxID - store.MaxKey - len(flasksession.MarkPrefix); len(prefix) > most {
		return nil, fmt.Errorf("Options.KeyPrefix has %d bytes, at most %d", len(prefix), most)
	}
	const at, live = " WHERE session_id = ?", " AND expiry > {utc}"
	version := ""
	if d.hash != "" {
		version = " AND substr(" + d.hash + ", 1, 15) = ?"
	}
	text := statements{
		load:       "SELECT session_id, data, {left} FROM {table} WHERE session_id IN (?, ?)" + live,
		look:       "SELECT session_id, data, {left} FROM {table}" + at + live + d.locked,
		create:     d.create,
		insert:     "INSERT INTO {table} (session_id, data, expiry) VALUES (?, ?, {later})",
		replace:    "UPDATE {table} SET data = ?, expiry = {later}" + at + live + version,
		touch:      "UPDATE {table} SET expiry = {later}" + at + live + version,
		remove:     "DELETE FROM {table}" + at,
		removeBoth: "DELETE FROM {table} WHERE session_id IN (?, ?)",
		page: "SELECT session_id, data, {left} FROM {table} s WHERE session_id > ?" + live +
			" AND NOT EXISTS (SELECT 1 FROM {table} m WHERE m.session_id = " + d.mark +
			" AND m.expiry > {utc}) ORDER BY session_id LIMIT ?",
		sweep: d.sweep,
		table: d.table,
	}
	for _, q := range []*string{&text.load, &text.look, &text.create, &text.insert, &text.replace, &text.touch,
		&text.remove,
		&text.removeBoth, &text.page, &text.sweep, &text.table} {
		*q = d.sql.Rebind(strings.NewReplacer("{later}", d.later, "{left}", d.left, "{utc}", d.utc, "{table}",
			quoted).Replace(*q))
	}
	return &table{client, name, prefix, d.maxData, d.hash != "", text}, nil
}

// maxID is how many characters the column session_id holds.
const maxID = 255

func (f *table) migrate(ctx context.Context) error {
	return f.client.Run(ctx, "migrate", func() error {
		return f.client.DB.Exclusive(ctx, f.name, func(c sqlstore.Conn) error {
			_, err := c.Exec(ctx, f.text.table)
			return err
		})
	})
}

// Version is the version that the database computes of the content, or would.
func (f *table) Version(document []byte) uint64 { return flasksession.SHA256(document) }

func (f *table) names(key string) (session, mark string) {
	return f.prefix + key, flasksession.MarkPrefix + f.prefix + key
}

// Load implements flasksession.Medium with one query. A database may find names that differ in case; they count as
// absent.
func (f *table) Load(ctx context.Context, key string) (document, mark *flasksession.Value, err error) {
	session, name := f.names(key)
	err = f.client.Run(ctx, "load", func() error {
		document, mark = nil, nil
		return f.client.DB.Query(ctx, f.text.load, func(scan func(...any) error) error {
			found, v, err := scanRow(scan)
			switch {
			case err != nil:
				return err
			case found == session && len(v.Data) > 0:
				document = &v
			case found == name:
				mark = &v
			}
			return nil
		}, session, name)
	})
	return document, mark, err
}

func scanRow(scan func(...any) error) (string, flasksession.Value, error) {
	var name, data []byte
	var left int64
	if err := scan(&name, &data, &left); err != nil {
		return "", flasksession.Value{}, sqlstore.ErrScan
	}
	// not time.Duration, which ends after 292 years
	expires := time.UnixMilli(time.Now().UnixMilli() + left)
	return string(name), flasksession.Value{Data: data, Expires: expires}, nil
}

// timeLeft is the time until expires in milliseconds, at most 1000 years, since dates end with the year 9999.
func timeLeft(expires time.Time) int64 {
	const most = 1000 * 365 * 24 * 3600 * 1000
	return min(expires.UnixMilli()-time.Now().UnixMilli(), most)
}

func (f *table) check(data []byte) error {
	if len(data) > f.maxData {
		return fmt.Errorf("flasksql: the session has %d bytes, at most %d fit into the column: set Config.MaxBytes",
			len(data), f.maxData)
	}
	return nil
}

// Create implements flasksession.Medium.
func (f *table) Create(ctx context.Context, key string, v flasksession.Value) error {
	if err := f.check(v.Data); err != nil {
		return err
	}
	session, mark := f.names(key)
	if f.text.create != "" {
		n, err := f.client.Exec(ctx, "create", f.text.create, session, v.Data, timeLeft(v.Expires), mark)
		if err == nil && n == 0 {
			return store.ErrExists
		}
		return err
	}
	return f.transaction(ctx, "create", session, func(c sqlstore.Conn) error {
		for _, name := range []string{session, mark} {
			switch there, err := f.look(ctx, c, name); {
			case err != nil:
				return err
			case there != nil:
				return store.ErrExists
			}
		}
		return f.put(ctx, c, session, v)
	})
}

// Replace implements flasksession.Medium.
func (f *table) Replace(ctx context.Context, key string, version uint64, v flasksession.Value) error {
	if err := f.check(v.Data); err != nil {
		return err
	}
	return f.update(ctx, "replace", key, version, f.Version(v.Data), f.text.replace, v.Data, timeLeft(v.Expires))
}

// Touch implements flasksession.Medium.
func (f *table) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return f.update(ctx, "touch", key, version, version, f.text.touch, timeLeft(expires))
}

// update runs a statement on the session of the given version; after is the version that it leaves.
func (f *table) update(ctx context.Context, step, key string, version, after uint64, query string, args ...any) error {
	session, _ := f.names(key)
	args = append(args, session)
	if !f.hashes {
		return f.transaction(ctx, step, session, func(c sqlstore.Conn) error {
			if err := f.compare(ctx, c, session, version); err != nil {
				return err
			}
			_, err := c.Exec(ctx, query, args...)
			return err
		})
	}
	n, err := f.client.Exec(ctx, step, query, append(args, flasksession.Hex(version))...)
	if err != nil || n > 0 {
		return err
	}
	// If MySQL counts changed rows, it does not count a row that was the same before.
	document, _, err := f.Load(ctx, key)
	switch {
	case err != nil:
		return err
	case document == nil:
		return store.ErrNotFound
	case version == after && f.Version(document.Data) == version:
		return nil
	}
	return store.ErrConflict
}

// transaction runs fn in a transaction. A result of fn that is about the session commits.
func (f *table) transaction(ctx context.Context, step, name string, fn func(sqlstore.Conn) error) error {
	var result error
	err := f.client.Run(ctx, step, func() error {
		result = nil
		return f.client.DB.Exclusive(ctx, name, func(c sqlstore.Conn) error {
			err := fn(c)
			if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) ||
				errors.Is(err, store.ErrExists) {
				result, err = err, nil
			}
			return err
		})
	})
	return errors.Join(err, result)
}

// look returns the live row of that name, nil if there is none.
func (f *table) look(ctx context.Context, c sqlstore.Conn, name string) (found *flasksession.Value, err error) {
	err = c.Query(ctx, f.text.look, func(scan func(...any) error) error {
		is, v, err := scanRow(scan)
		if err == nil && is == name {
			found = &v
		}
		return err
	}, name)
	return found, err
}

// compare returns an error unless the session of the given version is there.
func (f *table) compare(ctx context.Context, c sqlstore.Conn, name string, version uint64) error {
	v, err := f.look(ctx, c, name)
	switch {
	case err != nil:
		return err
	case v == nil || len(v.Data) == 0:
		return store.ErrNotFound
	case f.Version(v.Data) != version:
		return store.ErrConflict
	}
	return nil
}

// put stores a row, in place of any other of that name. It inserts a new one, since a Flask process that is about to
// change the old row, by its id, must find nothing.
func (f *table) put(ctx context.Context, c sqlstore.Conn, name string, v flasksession.Value) error {
	if _, err := c.Exec(ctx, f.text.remove, name); err != nil {
		return err
	}
	_, err := c.Exec(ctx, f.text.insert, name, v.Data, timeLeft(v.Expires))
	return err
}

// Retire implements flasksession.Medium with one transaction.
func (f *table) Retire(ctx context.Context, key string, version uint64, mark flasksession.Value) error {
	session, name := f.names(key)
	return f.transaction(ctx, "replace", session, func(c sqlstore.Conn) error {
		if err := f.compare(ctx, c, session, version); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, f.text.remove, session); err != nil {
			return err
		}
		return f.put(ctx, c, name, mark)
	})
}

// Mark implements flasksession.Medium.
func (f *table) Mark(ctx context.Context, key string, mark flasksession.Value) error {
	session, name := f.names(key)
	return f.transaction(ctx, "create", session, func(c sqlstore.Conn) error { return f.put(ctx, c, name, mark) })
}

// Delete implements flasksession.Medium.
func (f *table) Delete(ctx context.Context, key string) error {
	session, name := f.names(key)
	_, err := f.client.Exec(ctx, "delete", f.text.removeBoth, session, name)
	return err
}

// pageSize is how many sessions All reads at once, with their data.
const pageSize = 100

// All implements flasksession.Lister, in pages.
func (f *table) All(ctx context.Context) iter.Seq2[flasksession.Entry, error] {
	return func(yield func(flasksession.Entry, error) bool) {
		for last := ""; ; {
			var found []flasksession.Entry
			err := f.client.Run(ctx, "list", func() error {
				found = nil
				return f.client.DB.Query(ctx, f.text.page, func(scan func(...any) error) error {
					name, v, err := scanRow(scan)
					found = append(found, flasksession.Entry{Key: name, Value: v})
					return err
				}, last, int64(pageSize))
			})
			if err != nil {
				yield(flasksession.Entry{}, err)
				return
			}
			for _, e := range found {
				last = e.Key
				key, ours := strings.CutPrefix(e.Key, f.prefix)
				if !ours || strings.HasPrefix(e.Key, flasksession.MarkPrefix) && f.prefix == "" || len(e.Data) == 0 {
					continue
				}
				if e.Key = key; !yield(e, nil) {
					return
				}
			}
			if len(found) < pageSize {
				return
			}
		}
	}
}

// sweep removes at most limit expired sessions and marks. The table has no index of expiry.
func (f *table) sweep(ctx context.Context, limit int) (removed int, err error) {
	if limit <= 0 {
		return 0, f.client.Err(ctx, "sweep")
	}
	n, err := f.client.Exec(ctx, "sweep", f.text.sweep, int64(limit))
	return int(n), err
}
