package sqlstore

// Dialect is what a database says in its own words. {table}, {now} and the like are filled in by Dialect.text.
type Dialect struct {
	quote    string // what stands around a name
	numbered bool   // placeholders are $1, $2; else ?
	unlogged string // of CREATE TABLE

	// now is the server's time in milliseconds since 1970, constant within a statement, so that an index serves to
	// compare with it.
	now string

	// conflict ends an INSERT whose key is taken; it holds an assign for every column.
	alias, conflict, assign string

	// sweep removes a number of expired rows. It finds them by the index of deadlines.
	sweep string

	// steps make the table: steps[i] its version i+1 from version i. A step, once released, stays as it is; a later one
	// must leave a table that earlier releases can use.
	steps [][]string
}

// Postgres is PostgreSQL 12 and later.
var Postgres = Dialect{
	quote:    `"`,
	numbered: true,
	now:      `(extract(epoch from now()) * 1000)::bigint`,

	alias:    ` AS old`,
	conflict: `ON CONFLICT (record_key) DO UPDATE SET %s WHERE old.deadline <= {now}`,
	assign:   `%[1]s = excluded.%[1]s`,

	// The array is computed once, whatever the planner thinks. What another sweeper is removing is skipped.
	sweep: `DELETE FROM {table} WHERE record_key = ANY (ARRAY(
		SELECT record_key FROM {table} WHERE deadline <= {now} ORDER BY deadline LIMIT ? FOR UPDATE SKIP LOCKED))`,

	// A text in bytea, since text refuses zero bytes, and what the database's encoding does not have. {readable} shows it
	// in psql.
	steps: [][]string{{
		`CREATE {unlogged}TABLE {table} (
			record_key   bytea    PRIMARY KEY,
			version      bigint   NOT NULL,
			principal    bytea    NOT NULL,
			label        bytea    NOT NULL,
			created_at   bigint   NOT NULL,
			last_seen_at bigint   NOT NULL,
			expires_at   bigint   NOT NULL,
			deadline     bigint   NOT NULL,
			kind         smallint NOT NULL,
			moved_to     bytea    NOT NULL,
			handle       bytea    NOT NULL,
			data         bytea    NOT NULL
		)`,
		`CREATE INDEX {principal_index} ON {table} (principal, record_key) WHERE principal <> ''`,
		`CREATE INDEX {deadline_index} ON {table} (deadline)`,
		`CREATE FUNCTION {text}(bytes bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
			BEGIN
				RETURN convert_from(bytes, 'UTF8');
			EXCEPTION WHEN others THEN
				RETURN encode(bytes, 'escape');
			END $$`,
		`CREATE VIEW {readable} AS SELECT
			{text}(record_key) AS record_key,
			CASE kind WHEN 0 THEN 'live' WHEN 1 THEN 'renewed' WHEN 2 THEN 'replaced' WHEN 3 THEN 'ended' END AS kind,
			{text}(principal) AS principal,
			{text}(label) AS label,
			{text}(handle) AS handle,
			to_timestamp(created_at / 1000.0) AS created_at,
			to_timestamp(last_seen_at / 1000.0) AS last_seen_at,
			to_timestamp(expires_at / 1000.0) AS expires_at,
			{text}(data) AS data
			FROM {table} WHERE ` + live,
	}},
}

// MySQL is MySQL 8.0 and later, and MariaDB 10.6 and later.
var MySQL = Dialect{
	quote: "`",

	// UNIX_TIMESTAMP counts from a local time, which has an hour twice a year.
	now: `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000)`,

	// Columns are assigned from left to right, deadline last. The server counts a row that was there and stays as it is
	// as 0 or 1, which depends on the connection; that LAST_INSERT_ID was called does not.
	conflict: `ON DUPLICATE KEY UPDATE %s + IF(deadline <= {now}, 0, 0 * LAST_INSERT_ID(1 + kind))`,
	assign:   `%[1]s = IF(deadline <= {now}, VALUES(%[1]s), %[1]s)`,

	sweep: `DELETE FROM {table} WHERE deadline <= {now} ORDER BY deadline LIMIT ?`,

	steps: [][]string{{
		`CREATE TABLE IF NOT EXISTS {table} (
			record_key   VARBINARY(128) NOT NULL,
			version      BIGINT         NOT NULL,
			principal    VARBINARY(256) NOT NULL,
			label        VARBINARY(256) NOT NULL,
			created_at   BIGINT         NOT NULL,
			last_seen_at BIGINT         NOT NULL,
			expires_at   BIGINT         NOT NULL,
			deadline     BIGINT         NOT NULL,
			kind         TINYINT        NOT NULL,
			moved_to     VARBINARY(128) NOT NULL,
			handle       VARBINARY(128) NOT NULL,
			data         LONGBLOB       NOT NULL,
			PRIMARY KEY (record_key),
			KEY {principal_index} (principal, record_key),
			KEY {deadline_index} (deadline)
		) ENGINE = InnoDB`,
	}},
}

// SQLite is SQLite 3.42 and later.
var SQLite = Dialect{
	quote: `"`,
	now:   `CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`,

	alias:    Postgres.alias,
	conflict: Postgres.conflict,
	assign:   Postgres.assign,

	sweep: `DELETE FROM {table} WHERE record_key IN (SELECT record_key FROM {table} WHERE deadline <= {now} ORDER BY deadline LIMIT ?)`,

	steps: [][]string{{
		`CREATE TABLE {table} (
			record_key   TEXT    PRIMARY KEY NOT NULL,
			version      INTEGER NOT NULL,
			principal    TEXT    NOT NULL,
			label        TEXT    NOT NULL,
			created_at   INTEGER NOT NULL,
			last_seen_at INTEGER NOT NULL,
			expires_at   INTEGER NOT NULL,
			deadline     INTEGER NOT NULL,
			kind         INTEGER NOT NULL,
			moved_to     TEXT    NOT NULL,
			handle       TEXT    NOT NULL,
			data         BLOB    NOT NULL
		) STRICT`,
		`CREATE INDEX {principal_index} ON {table} (principal, record_key) WHERE principal <> ''`,
		`CREATE INDEX {deadline_index} ON {table} (deadline)`,
	}},
}
