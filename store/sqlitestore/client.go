package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/hipflask/session/store/internal/sqlstore"
)

// client is a file as a sqlstore.DB.
type client struct {
	*sqlstore.SQL
	read, write *sql.DB
	own         bool // Close closes them
}

func newClient(read, write *sql.DB, own bool) *client {
	return &client{sqlstore.NewSQL(read, write, nil), read, write, own}
}

// rollbackTimeout bounds the end of a transaction whose context has ended; nobody else is asked for it.
const rollbackTimeout = 5 * time.Second

// Exclusive runs fn in a transaction that takes the lock of writers at its beginning, whatever the connection's settings
// say of transactions.
func (c *client) Exclusive(ctx context.Context, _ string, fn func(sqlstore.Conn) error) error {
	conn, err := c.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = fn(sqlstore.Session{Conn: conn})
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		_, _ = conn.ExecContext(ctx, "ROLLBACK") // SQLite may have done so already
	}
	return err
}

// Undone: a statement that did not get its lock has changed nothing.
func (c *client) Undone(err error) bool { return primary(err) == lib.SQLITE_BUSY }

// primary is the first byte of SQLite's code for an error, the kind without its details.
func primary(err error) int {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return lib.SQLITE_OK
	}
	return lite.Code() & 0xff
}

func (c *client) Close() error {
	err := c.SQL.Close()
	if c.own {
		err = errors.Join(err, c.read.Close(), c.write.Close())
	}
	return err
}

func (c *client) Clean(err error) error { return clean(err) }

// clean returns what may be known of an error: SQLite's own messages name tables, columns and conditions of the file,
// no values.
func clean(err error) error {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return errors.New("the database is closed, or no file of SQLite")
	}
	return fmt.Errorf("SQLite says: %w%s", lite, hint(lite.Code()&0xff))
}

func hint(code int) string {
	switch code {
	case lib.SQLITE_ERROR:
		return ": call Migrate, or look at Options.Table"
	case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM:
		return ": the file and its folder have to be writable for this user"
	case lib.SQLITE_NOTADB:
		return ": choose another file"
	}
	return ""
}
