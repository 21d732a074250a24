package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// SQL runs statements through database/sql. Each is prepared once, and by database/sql again on every connection that
// it uses: then a statement is one round trip, and its arguments are never a part of its text.
//
// database/sql sends a statement again on another connection if the driver answers driver.ErrBadConn. That is for
// drivers to say where nothing was sent; whoever makes an SQL has looked whether its driver keeps to that.
type SQL struct {
	read, write *sql.DB
	changed     func(sql.Result) (int64, error)

	mu       sync.Mutex
	prepared map[string]*sql.Stmt
}

// NewSQL returns an SQL that queries through read and executes through write, which may be the same. changed tells how
// many rows a statement has changed; nil: those that the driver says.
func NewSQL(read, write *sql.DB, changed func(sql.Result) (int64, error)) *SQL {
	if changed == nil {
		changed = sql.Result.RowsAffected
	}
	return &SQL{read: read, write: write, changed: changed, prepared: map[string]*sql.Stmt{}}
}

var errClosed = errors.New("closed")

func (q *SQL) prepare(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
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
	if q.prepared == nil || q.prepared[query] != nil { // another was faster
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
func (q *SQL) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, err := q.prepare(ctx, q.write, query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return q.changed(res)
}

// Query implements [Conn].
func (q *SQL) Query(ctx context.Context, query string, each func(scan func(...any) error) error, args ...any) error {
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

// Close ends the prepared statements, not the connections.
func (q *SQL) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, stmt := range q.prepared {
		stmt.Close()
	}
	q.prepared = nil
	return nil
}

// Session is one connection, which prepares nothing.
type Session struct{ *sql.Conn }

// Exec implements [Conn]. It does not tell how many rows changed.
func (c Session) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	_, err := c.ExecContext(ctx, query, args...)
	return 0, err
}

// Query implements [Conn].
func (c Session) Query(ctx context.Context, query string, each func(scan func(...any) error) error, args ...any) error {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return forEach(rows, each)
}
