package mysqlstore

import (
	"context"
	"database/sql"

	"github.com/hipflask/session/internal/flasksession"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqlstore"
)

// FlaskOptions are the settings of a FlaskStore. The zero value is what Flask-Session has.
type FlaskOptions struct {
	// Table is SESSION_SQLALCHEMY_TABLE. Empty: "sessions".
	Table string

	// KeyPrefix is SESSION_KEY_PREFIX. Empty: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	_ struct{} // no unkeyed literals: fields may be added
}

// FlaskStore is a [store.Store] over the sessions of a Flask application with Flask-Session's SESSION_TYPE "sqlalchemy"
// on MySQL or MariaDB, which it may share while both run. Use it with flask.SID (or SignedSID) as Config.IDFormat and
// flask.Msgpack (or JSON) as Config.Serializer.
//
// A change is one UPDATE, which compares the whole content by its SHA-256; the end of a session is a transaction. Its
// column data holds 65,535 bytes; more is refused. It never takes the place of what a Flask process has written since,
// and never makes a session again that was deleted. A session that was ended or renewed here leaves a mark for
// Config.Grace, a row whose session_id begins with "hipflask:".
//
// The content is all there is to compare: a session that was changed and changed back counts as unchanged. A Flask
// process overwrites what Go has written since it read the session. docs/flask-session.md tells the rest. Expiry is
// kept in whole seconds. Sweep removes expired rows, as "flask session_cleanup" does; the table has no index for it. It
// is no Lister: Flask-Session has no index by user.
type FlaskStore struct {
	*flasksession.Store
	table *sqlstore.FlaskTable
}

var (
	_ store.Store   = (*FlaskStore)(nil)
	_ store.Sweeper = (*FlaskStore)(nil)
)

// FlaskSession returns a FlaskStore that uses a database of go-sql-driver/mysql, which stays the caller's: Close leaves
// it open. Nil opts are the defaults. It sends nothing. The table is made by the Flask application, or by Migrate.
func FlaskSession(db *sql.DB, opts *FlaskOptions) (*FlaskStore, error) {
	s, err := New(db, nil)
	if err != nil {
		return nil, err
	}
	return flaskStore(s, opts)
}

// OpenFlaskSession connects as [Open] does and returns a FlaskStore whose Close closes the connections.
func OpenFlaskSession(ctx context.Context, url string, opts *FlaskOptions) (*FlaskStore, error) {
	s, err := Open(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	f, err := flaskStore(s, opts)
	if err != nil {
		s.Close()
		return nil, err
	}
	return f, nil
}

func flaskStore(s *Store, opts *FlaskOptions) (*FlaskStore, error) {
	if opts == nil {
		opts = new(FlaskOptions)
	}
	prefix := flasksession.DefaultPrefix
	if opts.KeyPrefix != "" || opts.NoKeyPrefix {
		prefix = opts.KeyPrefix
	}
	t, err := sqlstore.FlaskSession(s.engine, sqlstore.FlaskMySQL, opts.Table, prefix)
	if err != nil {
		return nil, err
	}
	return &FlaskStore{flasksession.New(t), t}, nil
}

// Migrate makes the table as SQLAlchemy does, if it isn't there.
func (s *FlaskStore) Migrate(ctx context.Context) error { return s.table.Migrate(ctx) }

// Sweep implements [store.Sweeper].
func (s *FlaskStore) Sweep(ctx context.Context, limit int) (removed int, err error) {
	return s.table.Sweep(ctx, limit)
}

// Close ends what OpenFlaskSession has made. Closing twice is fine.
func (s *FlaskStore) Close() error { return s.table.Close() }
