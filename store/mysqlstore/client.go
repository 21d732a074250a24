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

	"github.com/hipflask/session/store/internal/sqlstore"
)

// client is a database as a sqlstore.DB.
type client struct {
	*sqlstore.SQL
	db  *sql.DB
	own bool // Close closes db
}

func newClient(db *sql.DB, own bool) *client {
	return &client{sqlstore.NewSQL(db, db, changed), db, own}
}

// changed tells how many rows a statement has changed. An INSERT that found a live row calls LAST_INSERT_ID; nothing
// else makes an ID, since no column counts up by itself.
func changed(res sql.Result) (int64, error) {
	if id, err := res.LastInsertId(); err != nil || id != 0 {
		return 0, err
	}
	return res.RowsAffected()
}

// lockWait is how many seconds one attempt to get a lock takes, so that a context that ends is heeded soon.
const lockWait = 1

// Exclusive holds a lock of the server, which is the connection's. Where that isn't shared (Galera) two may get in:
// they make the same, and CREATE TABLE IF NOT EXISTS lets them.
func (c *client) Exclusive(ctx context.Context, name string, fn func(sqlstore.Conn) error) error {
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	sum := sha256.Sum256([]byte("hipflask " + name))
	lock := hex.EncodeToString(sum[:20]) // names have at most 64 characters
	for got := false; !got; {
		err := conn.QueryRowContext(ctx, "SELECT COALESCE(GET_LOCK(?, ?), 0)", lock, lockWait).Scan(&got)
		if err != nil {
			return err
		}
	}
	defer func() {
		// If this fails the connection is gone, and the lock with it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockWait*time.Second)
		defer cancel()
		_, _ = conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", lock)
	}()
	return fn(sqlstore.Session{Conn: conn})
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

// Undone: InnoDB rolls back the victim of a deadlock.
func (c *client) Undone(err error) bool {
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == errDeadlock || my.Number == errRecordChanged)
}

func (c *client) Close() error {
	err := c.SQL.Close()
	if c.own {
		err = errors.Join(err, c.db.Close())
	}
	return err
}

func (c *client) Clean(err error) error { return clean(err) }

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
		return errors.New("the record is larger than max_allowed_packet of the server, or maxAllowedPacket of the connection, allows")
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
	mysql.ErrOldProtocol, mysql.ErrMalformPkt, mysql.ErrPktSync, mysql.ErrPktSyncMul, mysql.ErrBusyBuffer, mysql.ErrInvalidConn,
}

func hint(number uint16) string {
	switch number {
	case errNoSuchTable:
		return ": call Migrate, or look at Options.Table"
	case errDBAccessDenied, errTableAccessDenied:
		return ": Migrate needs the right to CREATE, everything else SELECT, INSERT, UPDATE and DELETE on the tables; " +
			"another user may run Migrate instead"
	case errAccessDenied:
		return ": look at the user and the password"
	case errOptionPrevents, errReadOnlyTx, errReadOnlyMode:
		return ": connect to the primary"
	}
	return ""
}
