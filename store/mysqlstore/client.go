package mysqlstore

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/hipflask/session/store/sqlstore"
)

// NewDB returns the database of go-sql-driver/mysql behind db, for other packages that keep tables by package sqlstore.
// It stays the caller's: Close leaves it open. What [New] says of it holds here too.
func NewDB(db *sql.DB) sqlstore.DB { return newDB(db, false) }

func newDB(db *sql.DB, owned bool) sqlstore.DB {
	return sqlstore.NewDB(db, &sqlstore.DBOptions{
		Owned: owned, Begin: "START TRANSACTION", Lock: lock, Changed: changed, Undone: undone, Clean: clean,
	})
}

// changed returns how many rows a statement has changed. The Create of the dialect calls LAST_INSERT_ID if it found a
// row that has not expired; no other statement does, and the table has no AUTO_INCREMENT.
func changed(res sql.Result) (int64, error) {
	if id, err := res.LastInsertId(); err != nil || id != 0 {
		return 0, err
	}
	return res.RowsAffected()
}

// lockWait is how many seconds one attempt to get a lock takes, so that the end of a context is noticed soon.
const lockWait = 1

// lock takes a lock of the server, which belongs to the connection. The nodes of a Galera cluster don't share such
// locks, so there two processes may migrate concurrently: CREATE TABLE IF NOT EXISTS lets both succeed.
func lock(ctx context.Context, conn *sql.Conn, name string) (release func(), err error) {
	sum := sha256.Sum256([]byte("hipflask " + name))
	text := hex.EncodeToString(sum[:20]) // names have at most 64 characters
	for got := false; !got; {
		err := conn.QueryRowContext(ctx, "SELECT COALESCE(GET_LOCK(?, ?), 0)", text, lockWait).Scan(&got)
		if err != nil {
			return nil, err
		}
	}
	return func() {
		// If this fails, the connection has ended, and the lock with it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockWait*time.Second)
		defer cancel()
		_, _ = conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", text)
	}, nil
}

// The numbers of MySQL's and MariaDB's errors that are looked at.
const (
	errDBAccessDenied    = 1044
	errAccessDenied      = 1045
	errTableAccessDenied = 1142
	errNoSuchTable       = 1146
	errDeadlock          = 1213
	errDuplicate         = 1062
	errOptionPrevents    = 1290 // --read-only
	errReadOnlyTx        = 1792
	errReadOnlyMode      = 1836
	errRecordChanged     = 1020 // MariaDB with innodb_snapshot_isolation
)

// undone: InnoDB rolls back the victim of a deadlock.
func undone(err error) bool {
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == errDeadlock || my.Number == errRecordChanged)
}

// clean returns what may be known of an error: the server's own messages, but for the one that quotes a key, or what
// happened to the network.
func clean(err error) error {
	var my *mysql.MySQLError
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &my):
		message := my.Message
		if my.Number == errDuplicate {
			message = "duplicate entry"
		}
		return fmt.Errorf("the server says: %s (error %d)%s", message, my.Number, hint(my.Number))
	case errors.As(err, &network):
		return network
	case errors.Is(err, mysql.ErrPktTooLarge):
		return errors.New("the record is larger than max_allowed_packet of the server, or maxAllowedPacket " +
			"of the connection, allows")
	case errors.Is(err, context.DeadlineExceeded): // of the connection, not of the call
		return errors.New("the server doesn't answer in time")
	}
	for _, known := range driverErrors {
		if errors.Is(err, known) {
			return known
		}
	}
	return errors.New("the connection failed, or the database is closed")
}

// driverErrors are what the driver says of connections, in words that never change.
var driverErrors = []error{
	mysql.ErrNoTLS, mysql.ErrCleartextPassword, mysql.ErrNativePassword, mysql.ErrOldPassword, mysql.ErrUnknownPlugin,
	mysql.ErrOldProtocol, mysql.ErrMalformPkt, mysql.ErrPktSync, mysql.ErrPktSyncMul, mysql.ErrBusyBuffer,
	mysql.ErrInvalidConn,
}

func hint(number uint16) string {
	switch number {
	case errNoSuchTable:
		return ": call Migrate, or look at Options.Table"
	case errDBAccessDenied, errTableAccessDenied:
		return ": Migrate needs the right to CREATE, everything else SELECT, INSERT, UPDATE and DELETE " +
			"on the tables; another user may run Migrate instead"
	case errAccessDenied:
		return ": look at the user and the password"
	case errOptionPrevents, errReadOnlyTx, errReadOnlyMode:
		return ": connect to the primary"
	}
	return ""
}
