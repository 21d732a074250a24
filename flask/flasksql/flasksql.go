package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/hipflask/session/internal/flasksession"
	"github.com/hipflask/session/store"
)

// FlaskDialect is what a database says in its own words of Flask-Session's table
// (flask_session/sqlalchemy/sqlalchemy.py). Its expiry is a time in UTC without a zone.
type FlaskDialect struct {
	dialect Dialect

	utc   string // the server's time, as expiry is kept
	later string // utc and ? milliseconds, at least
	left  string // milliseconds from utc to expiry

	// hash begins with 15 hexadecimal digits of the content's SHA-256. "": the database has none, and what compares is a
	// transaction.
	hash string

	create  string // an INSERT of session_id, data, expiry, and the mark's session_id; "": a transaction
	sweep   string // removes ? expired rows
	mark    string // the session_id of a row's mark
	locked  string // ends a SELECT whose rows nobody else may change
	begin   string // begins a transaction where Exclusive is none
	table   string // as SQLAlchemy makes it
	maxData int    // bytes of data
}

const mebibytes = 1 << 20

// FlaskPostgres is PostgreSQL 12 and later. In a transaction now() would be the time of its beginning.
var FlaskPostgres = FlaskDialect{
	dialect: Postgres,
	utc:     `(statement_timestamp() AT TIME ZONE 'utc')`,
	later:   `(statement_timestamp() AT TIME ZONE 'utc') + ?::bigint * interval '1 millisecond'`,
	left:    `(extract(epoch FROM expiry - (statement_timestamp() AT TIME ZONE 'utc')) * 1000)::bigint`,
	hash:    `encode(sha256(data), 'hex')`,
	create: `INSERT INTO {table} AS old (session_id, data, expiry) SELECT ?::varchar, ?::bytea, {later}
		WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE session_id = ?::varchar AND expiry > {utc})
		ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry WHERE old.expiry IS NULL OR old.expiry <= {utc}`,
	sweep: `DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table} WHERE expiry <= {utc} LIMIT ? FOR UPDATE SKIP LOCKED))`,
	mark:  `'` + flasksession.MarkPrefix + `' || s.session_id`,
	table: `CREATE TABLE IF NOT EXISTS {table} (id SERIAL NOT NULL PRIMARY KEY, session_id VARCHAR(255) UNIQUE, data BYTEA,
		expiry TIMESTAMP WITHOUT TIME ZONE)`,
	locked:  ` FOR UPDATE`,
	maxData: 512 * mebibytes,
}

// FlaskMySQL is MySQL 8.0 and later, and MariaDB 10.6 and later. A DATETIME has whole seconds.
var FlaskMySQL = FlaskDialect{
	dialect: MySQL,
	utc:     `UTC_TIMESTAMP(6)`,
	later:   `UTC_TIMESTAMP(6) + INTERVAL (? * 1000 + 999999) MICROSECOND`,
	left:    `TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expiry) DIV 1000`,
	hash:    `SHA2(data, 256)`,
	sweep:   `DELETE FROM {table} WHERE expiry <= {utc} LIMIT ?`,
	mark:    `CONCAT('` + flasksession.MarkPrefix + `', s.session_id)`,
	table: `CREATE TABLE IF NOT EXISTS {table} (id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY, session_id VARCHAR(255) UNIQUE, data BLOB,
		expiry DATETIME)`,
	locked:  ` FOR UPDATE`,
	begin:   `START TRANSACTION`,
	maxData: 1<<16 - 1, // of a BLOB; without strict mode the server would cut off the rest
}

// FlaskSQLite is SQLite 3.42 and later. SQLAlchemy reads six digits of a second, and nothing else.
var FlaskSQLite = FlaskDialect{
	dialect: SQLite,
	utc:     `(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')`,
	later:   `strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds') || '000'`,
	left:    `CAST((julianday(expiry) - julianday('now')) * 86400000 AS INTEGER)`,
	create: `INSERT INTO {table} AS old (session_id, data, expiry) SELECT ?, ?, {later}
		WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE session_id = ? AND expiry > {utc})
		ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry WHERE old.expiry IS NULL OR old.expiry <= {utc}`,
	sweep: `DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expiry <= {utc} LIMIT ?)`,
	mark:  FlaskPostgres.mark,
	table: `CREATE TABLE IF NOT EXISTS {table} (id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(255) UNIQUE, data BLOB,
		expiry DATETIME)`,
	maxData: 512 * mebibytes,
}

// FlaskTable is Flask-Session's table, a flasksession.Medium. Its Store is for the connections.
type FlaskTable struct {
	*Store
	prefix  string
	begin   string
	maxData int
	text    flaskStatements
}

type flaskStatements struct {
	load, look, create, insert, replace, touch, remove, removeBoth, page, sweep, table string
}

// FlaskSession returns the table of that name, "" being "sessions", with keys of that prefix, in the database of s.
func FlaskSession(s *Store, d FlaskDialect, tableName, prefix string) (*FlaskTable, error) {
	if tableName == "" {
		tableName = "sessions"
	}
	t, err := parseTable(tableName)
	if err != nil {
		return nil, fmt.Errorf("%s: FlaskOptions.Table: %w", s.name, err)
	}
	if most := 255 - store.MaxKey - len(flasksession.MarkPrefix); len(prefix) > most {
		return nil, fmt.Errorf("%s: FlaskOptions.KeyPrefix has %d bytes, at most %d", s.name, len(prefix), most)
	}
	const at, live = " WHERE session_id = ?", " AND expiry > {utc}"
	version := ""
	if d.hash != "" {
		version = " AND substr(" + d.hash + ", 1, 15) = ?"
	}
	text := flaskStatements{
		load:       "SELECT session_id, data, {left} FROM {table} WHERE session_id IN (?, ?)" + live,
		look:       "SELECT session_id, data, {left} FROM {table}" + at + live + d.locked,
		create:     d.create,
		insert:     "INSERT INTO {table} (session_id, data, expiry) VALUES (?, ?, {later})",
		replace:    "UPDATE {table} SET data = ?, expiry = {later}" + at + live + version,
		touch:      "UPDATE {table} SET expiry = {later}" + at + live + version,
		remove:     "DELETE FROM {table}" + at,
		removeBoth: "DELETE FROM {table} WHERE session_id IN (?, ?)",
		page: "SELECT session_id, data, {left} FROM {table} s WHERE session_id > ?" + live +
			" AND NOT EXISTS (SELECT 1 FROM {table} m WHERE m.session_id = " + d.mark + " AND m.expiry > {utc}) ORDER BY session_id LIMIT ?",
		sweep: d.sweep,
		table: d.table,
	}
	for _, q := range []*string{&text.load, &text.look, &text.create, &text.insert, &text.replace, &text.touch, &text.remove,
		&text.removeBoth, &text.page, &text.sweep, &text.table} {
		*q = strings.NewReplacer("{later}", d.later, "{left}", d.left, "{utc}", d.utc).Replace(*q)
		*q = d.dialect.text(*q, t)
	}
	return &FlaskTable{&Store{name: s.name, db: s.db, table: t.quoted("", "")}, prefix, d.begin, d.maxData, text}, nil
}

// Migrate makes the table, as SQLAlchemy would, if it isn't there.
func (f *FlaskTable) Migrate(ctx context.Context) error {
	return f.run(ctx, "migrate", func() error {
		return f.db.Exclusive(ctx, f.table, func(c Conn) error {
			_, err := c.Exec(ctx, f.text.table)
			return err
		})
	})
}

// Version is what the database computes of the content, or would.
func (f *FlaskTable) Version(document []byte) uint64 { return flasksession.SHA256(document) }

func (f *FlaskTable) names(key string) (session, mark string) {
	return f.prefix + key, flasksession.MarkPrefix + f.prefix + key
}

// Load implements flasksession.Medium with one query. A database may find names that differ in their case; they count
// as absent.
func (f *FlaskTable) Load(ctx context.Context, key string) (document, mark *flasksession.Value, err error) {
	session, name := f.names(key)
	err = f.run(ctx, "load", func() error {
		document, mark = nil, nil
		return f.db.Query(ctx, f.text.load, func(scan func(...any) error) error {
			found, v, err := scanFlask(scan)
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

func scanFlask(scan func(...any) error) (string, flasksession.Value, error) {
	var name, data []byte
	var left int64
	if err := scan(&name, &data, &left); err != nil {
		return "", flasksession.Value{}, errScan
	}
	// Beyond what a Duration holds nothing is lost: a year is as good as a thousand.
	expires := time.UnixMilli(time.Now().UnixMilli() + left)
	return string(name), flasksession.Value{Data: data, Expires: expires}, nil
}

// flaskLeft is the time until expires in milliseconds, at most 1000 years: dates end with the year 9999.
func flaskLeft(expires time.Time) int64 {
	const most = 1000 * 365 * 24 * 3600 * 1000
	return min(timeLeft(expires), most)
}

func (f *FlaskTable) check(data []byte) error {
	if len(data) > f.maxData {
		return fmt.Errorf("%s: the session has %d bytes, at most %d fit into the column: set Config.MaxBytes", f.name, len(data), f.maxData)
	}
	return nil
}

// Create implements flasksession.Medium.
func (f *FlaskTable) Create(ctx context.Context, key string, v flasksession.Value) error {
	if err := f.check(v.Data); err != nil {
		return err
	}
	session, mark := f.names(key)
	if f.text.create != "" {
		n, err := f.exec(ctx, "create", f.text.create, session, v.Data, flaskLeft(v.Expires), mark)
		if err == nil && n == 0 {
			return store.ErrExists
		}
		return err
	}
	return f.transaction(ctx, "create", session, func(c Conn) error {
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
func (f *FlaskTable) Replace(ctx context.Context, key string, version uint64, v flasksession.Value) error {
	if err := f.check(v.Data); err != nil {
		return err
	}
	return f.update(ctx, "replace", key, version, f.Version(v.Data), f.text.replace, v.Data, flaskLeft(v.Expires))
}

// Touch implements flasksession.Medium.
func (f *FlaskTable) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return f.update(ctx, "touch", key, version, version, f.text.touch, flaskLeft(expires))
}

// update runs a statement on the session of the given version, which leaves it with the version after.
func (f *FlaskTable) update(ctx context.Context, step, key string, version, after uint64, query string, args ...any) error {
	session, _ := f.names(key)
	args = append(args, session)
	if !strings.Contains(query, "substr(") {
		return f.transaction(ctx, step, session, func(c Conn) error {
			if err := f.compare(ctx, c, session, version); err != nil {
				return err
			}
			_, err := c.Exec(ctx, query, args...)
			return err
		})
	}
	n, err := f.exec(ctx, step, query, append(args, fmt.Sprintf("%015x", version))...)
	if err != nil || n > 0 {
		return err
	}
	// Where MySQL counts the rows that it changed, one that was the same before is not among them.
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

// transaction runs fn in a transaction. What fn says of the session is its result.
func (f *FlaskTable) transaction(ctx context.Context, step, name string, fn func(Conn) error) error {
	var answer error
	err := f.run(ctx, step, func() error {
		answer = nil
		return f.db.Exclusive(ctx, name, func(c Conn) (err error) {
			if f.begin != "" {
				if _, err := c.Exec(ctx, f.begin); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, end(ctx, c, err)) }()
			}
			err = fn(c)
			if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) {
				answer, err = err, nil
			}
			return err
		})
	})
	return errors.Join(err, answer)
}

// end ends a transaction that Exclusive knows nothing of. The connection must not be used by others in the middle of it,
// so it ends whatever became of the context.
func end(ctx context.Context, c Conn, err error) error {
	if err == nil {
		_, err = c.Exec(ctx, "COMMIT")
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, _ = c.Exec(ctx, "ROLLBACK") // where the server is gone, so is the transaction
	return nil
}

// look returns the live row of that name, nil if there is none.
func (f *FlaskTable) look(ctx context.Context, c Conn, name string) (found *flasksession.Value, err error) {
	err = c.Query(ctx, f.text.look, func(scan func(...any) error) error {
		is, v, err := scanFlask(scan)
		if err == nil && is == name {
			found = &v
		}
		return err
	}, name)
	return found, err
}

// compare returns an error unless the session of the given version is there.
func (f *FlaskTable) compare(ctx context.Context, c Conn, name string, version uint64) error {
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

// put stores a row whatever is there. It is a row of its own: a Flask process that is about to change the one before, by
// its id, must find nothing.
func (f *FlaskTable) put(ctx context.Context, c Conn, name string, v flasksession.Value) error {
	if _, err := c.Exec(ctx, f.text.remove, name); err != nil {
		return err
	}
	_, err := c.Exec(ctx, f.text.insert, name, v.Data, flaskLeft(v.Expires))
	return err
}

// Retire implements flasksession.Medium with one transaction.
func (f *FlaskTable) Retire(ctx context.Context, key string, version uint64, mark flasksession.Value) error {
	session, name := f.names(key)
	return f.transaction(ctx, "replace", session, func(c Conn) error {
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
func (f *FlaskTable) Mark(ctx context.Context, key string, mark flasksession.Value) error {
	session, name := f.names(key)
	return f.transaction(ctx, "create", session, func(c Conn) error { return f.put(ctx, c, name, mark) })
}

// Delete implements flasksession.Medium.
func (f *FlaskTable) Delete(ctx context.Context, key string) error {
	session, name := f.names(key)
	_, err := f.exec(ctx, "delete", f.text.removeBoth, session, name)
	return err
}

// flaskPage is how many sessions All reads at once, with their data.
const flaskPage = 100

// All implements flasksession.Lister, in pages.
func (f *FlaskTable) All(ctx context.Context) iter.Seq2[flasksession.Entry, error] {
	return func(yield func(flasksession.Entry, error) bool) {
		for last := ""; ; {
			var found []flasksession.Entry
			err := f.run(ctx, "list", func() error {
				found = nil
				return f.db.Query(ctx, f.text.page, func(scan func(...any) error) error {
					name, v, err := scanFlask(scan)
					found = append(found, flasksession.Entry{Key: name, Value: v})
					return err
				}, last, int64(flaskPage))
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
			if len(found) < flaskPage {
				return
			}
		}
	}
}

// Sweep removes at most limit expired sessions and marks. The table has no index of expiry.
func (f *FlaskTable) Sweep(ctx context.Context, limit int) (removed int, err error) {
	if limit <= 0 {
		return 0, f.ended(ctx, "sweep")
	}
	n, err := f.exec(ctx, "sweep", f.text.sweep, int64(limit))
	return int(n), err
}
