package flasksql

import (
	"github.com/hipflask/session/flask/flasksession"
	"github.com/hipflask/session/store/sqlstore"
)

// Dialect has the words of SQL about Flask-Session's table (flask_session/sqlalchemy/sqlalchemy.py) in which databases
// differ. Its column expiry is a time in UTC without a zone.
type Dialect struct {
	sql sqlstore.Dialect

	utc   string // the server's time, in the form of expiry
	later string // utc plus ? milliseconds, at least
	left  string // milliseconds from utc to expiry

	// hash begins with 15 hexadecimal digits of the content's SHA-256. "": the database has no such function, and a
	// transaction compares.
	hash string

	create  string // an INSERT of session_id, data, expiry, and the mark's session_id; "": a transaction
	sweep   string // removes ? expired rows
	mark    string // the session_id of a row's mark
	locked  string // ends a SELECT that locks its rows
	table   string // as SQLAlchemy creates it
	maxData int    // bytes of data
}

const mebibytes = 1 << 20

// Postgres is PostgreSQL 12 and later. Within a transaction now() would be the time of its beginning.
var Postgres = Dialect{
	sql:   sqlstore.Postgres,
	utc:   `(statement_timestamp() AT TIME ZONE 'utc')`,
	later: `(statement_timestamp() AT TIME ZONE 'utc') + ?::bigint * interval '1 millisecond'`,
	left:  `(extract(epoch FROM expiry - (statement_timestamp() AT TIME ZONE 'utc')) * 1000)::bigint`,
	hash:  `encode(sha256(data), 'hex')`,
	create: `INSERT INTO {table} AS old (session_id, data, expiry) SELECT ?::varchar, ?::bytea, {later}
		WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE session_id = ?::varchar AND expiry > {utc})
		ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry
		WHERE old.expiry IS NULL OR old.expiry <= {utc}`,
	sweep: `DELETE FROM {table} WHERE id = ANY (
		ARRAY(SELECT id FROM {table} WHERE expiry <= {utc} LIMIT ? FOR UPDATE SKIP LOCKED))`,
	mark: `'` + flasksession.MarkPrefix + `' || s.session_id`,
	table: `CREATE TABLE IF NOT EXISTS {table} (id SERIAL NOT NULL PRIMARY KEY, session_id VARCHAR(255) UNIQUE,
		data BYTEA, expiry TIMESTAMP WITHOUT TIME ZONE)`,
	locked:  ` FOR UPDATE`,
	maxData: 512 * mebibytes,
}

// MySQL is MySQL 8.0 and later, and MariaDB 10.6 and later. A DATETIME has whole seconds.
var MySQL = Dialect{
	sql:   sqlstore.MySQL,
	utc:   `UTC_TIMESTAMP(6)`,
	later: `UTC_TIMESTAMP(6) + INTERVAL (? * 1000 + 999999) MICROSECOND`,
	left:  `TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expiry) DIV 1000`,
	hash:  `SHA2(data, 256)`,
	sweep: `DELETE FROM {table} WHERE expiry <= {utc} LIMIT ?`,
	mark:  `CONCAT('` + flasksession.MarkPrefix + `', s.session_id)`,
	table: `CREATE TABLE IF NOT EXISTS {table} (id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY,
		session_id VARCHAR(255) UNIQUE, data BLOB, expiry DATETIME)`,
	locked:  ` FOR UPDATE`,
	maxData: 1<<16 - 1, // of a BLOB; without strict mode the server would truncate
}

// SQLite is SQLite 3.42 and later. SQLAlchemy reads only times with six digits of a second.
var SQLite = Dialect{
	sql:   sqlstore.SQLite,
	utc:   `(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')`,
	later: `strftime('%Y-%m-%d %H:%M:%f', 'now', (? / 1000.0) || ' seconds') || '000'`,
	left:  `CAST((julianday(expiry) - julianday('now')) * 86400000 AS INTEGER)`,
	create: `INSERT INTO {table} AS old (session_id, data, expiry) SELECT ?, ?, {later}
		WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE session_id = ? AND expiry > {utc})
		ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry
		WHERE old.expiry IS NULL OR old.expiry <= {utc}`,
	sweep: `DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expiry <= {utc} LIMIT ?)`,
	mark:  Postgres.mark,
	table: `CREATE TABLE IF NOT EXISTS {table} (id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(255) UNIQUE,
		data BLOB, expiry DATETIME)`,
	maxData: 512 * mebibytes,
}
