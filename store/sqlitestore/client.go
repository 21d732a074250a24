package sqlitestore

import (
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/hipflask/session/store/sqlstore"
)

// NewDB returns the database of modernc.org/sqlite behind db, for other packages that keep tables by package sqlstore.
// It stays the caller's: Close leaves it open.
func NewDB(db *sql.DB) sqlstore.DB { return newDB(db, db, false) }

// newDB returns a DB whose transactions take the lock of writers at their beginning, whatever the connection's settings
// say of transactions.
func newDB(read, write *sql.DB, owned bool) sqlstore.DB {
	return sqlstore.NewDB(write, &sqlstore.DBOptions{
		Read: read, Owned: owned, Begin: "BEGIN IMMEDIATE", Undone: undone, Clean: clean,
	})
}

// undone: a statement that did not get its lock has changed nothing.
func undone(err error) bool { return primary(err) == lib.SQLITE_BUSY }

// primary is the first byte of SQLite's code for an error, the kind without its details.
func primary(err error) int {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return lib.SQLITE_OK
	}
	return lite.Code() & 0xff
}

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
