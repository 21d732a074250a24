package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// DBOptions say what is special about a database behind database/sql. The zero value is a database with BEGIN, whose
// errors are all final.
type DBOptions struct {
	// Read is used for queries outside transactions, so that they don't wait behind writers. Default: the handle that
	// NewDB is given.
	Read *sql.DB

	// Owned is true if Close closes the handles. Default: false, they stay the caller's.
	Owned bool

	// Begin begins a transaction of [DB.Exclusive]. Default: "BEGIN". If there is no Lock, it must take a lock that
	// excludes the same transaction of other processes.
	Begin string

	// Lock takes a lock of that name for a connection, before Begin, and returns a function that releases it. Default:
	// nil, Begin is enough.
	Lock func(ctx context.Context, conn *sql.Conn, name string) (release func(), err error)

	// Changed returns how many rows a statement has changed. Default: [sql.Result.RowsAffected].
	Changed func(sql.Result) (int64, error)

	// Undone and Clean are the methods of DB. Defaults: false; an error that says only that the statement failed.
	Undone func(error) bool
	Clean  func(error) error

	_ struct{} // no unkeyed literals: fields may be added
}

// NewDB returns a DB that runs statements on handle. Nil opts are the defaults. It sends nothing.
//
// Each statement is prepared once, and by database/sql once more on every connection that it uses: then a statement is
// one round trip, and its arguments are never a part of its text.
//
// database/sql sends a statement again, on another connection, if the driver returns driver.ErrBadConn. A driver may do
// that only if nothing was sent: look whether yours keeps to that rule.
func NewDB(handle *sql.DB, opts *DBOptions) DB {
	q := &sqlDB{write: handle, read: handle, prepared: map[string]*sql.Stmt{}}
	if opts != nil {
		q.DBOptions = *opts
	}
	if q.Read != nil {
		q.read = q.Read
	}
	if q.Begin == "" {
		q.Begin = "BEGIN"
	}
	if q.DBOptions.Changed == nil {
		q.DBOptions.Changed = sql.Result.RowsAffected
	}
	return q
}

type sqlDB struct {
	DBOptions
	read, write *sql.DB

	mu       sync.Mutex
	prepared map[string]*sql.Stmt // nil after Close
}

var errClosed = errors.New("closed")

func (q *sqlDB) prepare(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
	q.mu.Lock()
	stmt, closed := q.prepared[query], q.prepared == nil
	q.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, query) // without the lock: the server may hang
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.prepared == nil || q.prepared[query] != nil { // another goroutine was faster
		stmt.Close()
		if q.prepared == nil {
			return nil, errClosed
		}
		return q.prepared[query], nil
	}
	q.prepared[query] = stmt
	return stmt, nil
}

// Exec implements [Conn].
func (q *sqlDB) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, err := q.prepare(ctx, q.write, query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return q.Changed(res)
}

// Query implements [Conn].
func (q *sqlDB) Query(ctx context.Context, query string, each func(scan func(...any) error) error, args ...any) error {
	stmt, err := q.prepare(ctx, q.read, query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return forEach(rows, each)
}

func forEach(rows *sql.Rows, each func(scan func(...any) error) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// rollbackTimeout bounds the end of a transaction whose context has ended.
const rollbackTimeout = 5 * time.Second

// Exclusive implements [DB].
func (q *sqlDB) Exclusive(ctx context.Context, name string, fn func(Conn) error) error {
	conn, err := q.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if q.Lock != nil {
		release, err := q.Lock(ctx, conn, name)
		if err != nil {
			return err
		}
		defer release()
	}
	if _, err := conn.ExecContext(ctx, q.Begin); err != nil {
		return err
	}
	err = fn(connection{conn})
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		// The connection must not go back to the pool in the middle of a transaction, whatever became of the context.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		_, _ = conn.ExecContext(ctx, "ROLLBACK") // fails if the server is gone or has rolled back already
	}
	return err
}

// Undone implements [DB].
func (q *sqlDB) Undone(err error) bool { return q.DBOptions.Undone != nil && q.DBOptions.Undone(err) }

// Clean implements [DB].
func (q *sqlDB) Clean(err error) error {
	if q.DBOptions.Clean == nil {
		return errors.New("the statement failed, or the database is closed")
	}
	return q.DBOptions.Clean(err)
}

// Close implements [DB].
func (q *sqlDB) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, stmt := range q.prepared {
		stmt.Close()
	}
	q.prepared = nil
	if !q.Owned {
		return nil
	}
	err := q.write.Close()
	if q.read != q.write {
		err = errors.Join(err, q.read.Close())
	}
	return err
}

// connection is one connection, which prepares nothing.
type connection struct{ *sql.Conn }

// Exec implements [Conn]. It does not tell how many rows have changed.
func (c connection) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	_, err := c.ExecContext(ctx, query, args...)
	return 0, err
}

// Query implements [Conn].
func (c connection) Query(ctx context.Context, query string, each func(scan func(...any) error) error,
	args ...any) error {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return forEach(rows, each)
}
