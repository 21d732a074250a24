package pgstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/store/sqlstore"
)

// NewDB returns the database behind a pool, for other packages that keep tables by package sqlstore. The pool stays the
// caller's: Close leaves it open.
func NewDB(pool *pgxpool.Pool) sqlstore.DB { return &client{pool: pool} }

// client is a pool as a sqlstore.DB.
type client struct {
	pool *pgxpool.Pool
	own  bool // Close closes the pool

	// unnamed is set when a prepared statement was not found, or was found where it was not expected: a pooler gives
	// every transaction another connection. From then on statements have no name. Preparing them is worth the trouble:
	// it saves the server parsing and planning, which cost more than everything else.
	unnamed atomic.Bool
}

// querier is a pool or a transaction. pgx never sends a statement again.
type querier interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

func (c *client) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return c.exec(ctx, c.pool, query, args)
}

func (c *client) Query(ctx context.Context, query string, each func(func(...any) error) error, args ...any) error {
	return c.query(ctx, c.pool, query, each, args)
}

func (c *client) exec(ctx context.Context, q querier, query string, args []any) (int64, error) {
	tag, err := q.Exec(ctx, query, c.encode(args)...)
	return tag.RowsAffected(), err
}

func (c *client) query(ctx context.Context, q querier, query string, each func(func(...any) error) error,
	args []any) error {
	rows, err := q.Query(ctx, query, c.encode(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// encode makes bytes of texts, which the columns have: a string would be read as the escaped form of bytes.
func (c *client) encode(args []any) []any {
	encoded := make([]any, 0, 1+len(args))
	if c.unnamed.Load() {
		encoded = append(encoded, pgx.QueryExecModeCacheDescribe)
	}
	for _, arg := range args {
		if text, ok := arg.(string); ok {
			arg = []byte(text)
		}
		encoded = append(encoded, arg)
	}
	return encoded
}

// tx is a transaction as a sqlstore.Conn.
type tx struct {
	c *client
	t pgx.Tx
}

func (t tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return t.c.exec(ctx, t.t, query, args)
}

func (t tx) Query(ctx context.Context, query string, each func(func(...any) error) error, args ...any) error {
	return t.c.query(ctx, t.t, query, each, args)
}

// Exclusive runs fn in a transaction, so that all that it makes is there at once or not at all. The lock is the
// transaction's, as PgBouncer gives a session's lock to whoever comes next.
func (c *client) Exclusive(ctx context.Context, name string, fn func(sqlstore.Conn) error) error {
	return pgx.BeginFunc(ctx, c.pool, func(t pgx.Tx) error {
		h := fnv.New64a()
		h.Write([]byte("hipflask " + name))
		if _, err := t.Exec(ctx, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(h.Sum64()))); err != nil {
			return err
		}
		return fn(tx{c, t})
	})
}

// Undone tells of a serialization failure or a deadlock, which an isolation stricter than the default makes of what
// would otherwise wait, and of statements that did not begin since they were not prepared on this connection.
func (c *client) Undone(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return true
	case "26000", "42P05": // invalid_sql_statement_name, duplicate_prepared_statement
		c.unnamed.Store(true)
		return true
	}
	return false
}

func (c *client) Close() error {
	if c.own {
		c.pool.Close()
	}
	return nil
}

func (c *client) Clean(err error) error { return clean(err) }

// clean returns what may be known of an error: the server's own messages, apart from those about values, or what
// happened to the network. The texts of pgx's errors can contain the URL.
func clean(err error) error {
	var pg *pgconn.PgError
	var network *net.OpError
	var connect *pgconn.ConnectError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &pg):
		return fmt.Errorf("PostgreSQL says: %s (SQLSTATE %s)%s", message(pg), pg.Code, hint(pg.Code))
	case errors.As(err, &network):
		return network
	case errors.Is(err, context.DeadlineExceeded): // of the connection, not of the call
		return errors.New("the server doesn't answer in time")
	case errors.As(err, &connect):
		return connect.Unwrap() // which begins with the address; without it stand the user and the database
	}
	return errors.New("the connection failed, or the pool is closed")
}

// message leaves out messages of the classes "data exception" and "integrity constraint violation", which may quote.
func message(pg *pgconn.PgError) string {
	if len(pg.Code) == 5 && (pg.Code[:2] == "22" || pg.Code[:2] == "23") {
		return "a value is refused"
	}
	return pg.Message
}

func hint(code string) string {
	switch code {
	case "42P01", "3F000": // undefined_table, invalid_schema_name
		return ": call Migrate, or look at Options.Table and search_path"
	case "42501": // insufficient_privilege
		return ": Migrate needs the right to CREATE in the schema, everything else SELECT, INSERT, UPDATE " +
			"and DELETE on the table; the owner may run Migrate instead"
	case "25006": // read_only_sql_transaction
		return ": connect to the primary, with target_session_attrs=read-write"
	}
	return ""
}
