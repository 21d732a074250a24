package sqlstore

// Dialect has the words of SQL in which databases differ. All fields but Quote, Numbered, Batch, Text and Number are
// required. In every text {table} is the table's quoted name, {now} is Now, and ? is a placeholder.
type Dialect struct {
	// Quote stands before and after a name. Names consist of letters, digits and "_".
	Quote string

	// Numbered is true if placeholders are $1, $2 and so on, and false if each is ?.
	Numbered bool

	// Now is the server's time in milliseconds since 1970, as a whole number. It must be constant within a statement,
	// so that an index on the column deadline serves to compare with it.
	Now string

	// Create inserts a row, or overwrites the row of that record_key if it has expired (deadline <= {now}), and changes
	// nothing otherwise: the number of changed rows tells. {columns} and {values} are the lists of the INSERT,
	// {assignments} is Assign for each column that is overwritten, separated by commas; deadline is the last of them.
	Create string

	// Assign overwrites one column, {column}, with the value that was to be inserted.
	Assign string

	// Batch replaces several rows by one statement. {rows} are the new ones, as VALUES takes them: the record_key, the
	// version that is expected, and {columns}, of which the last, deadline, is the time that is left. {assignments}
	// overwrites each of the columns of a row, old, with those of a row of a table new. Empty: [Store.Batch] fails.
	Batch string

	// Text and Number follow the first row's placeholders of Batch, to say their types. Default: nothing.
	Text, Number string

	// Sweep deletes at most ? rows that have expired. It finds them by the index of deadlines.
	Sweep string

	// Steps make the table: Steps[i] are the statements that make its version i+1 from version i. Once released a step
	// stays as it is, and a later step must leave a table that earlier releases can use. Version 1 has the columns of
	// [Postgres]. Names are filled in for {principal_index}, {deadline_index}, {readable} and {text}, which are unique
	// to the table.
	Steps [][]string
}

// Postgres is PostgreSQL 12 and later.
var Postgres = Dialect{
	Quote:    `"`,
	Numbered: true,
	Now:      `(extract(epoch from now()) * 1000)::bigint`,

	Create: `INSERT INTO {table} AS old ({columns}) VALUES ({values})
		ON CONFLICT (record_key) DO UPDATE SET {assignments} WHERE old.deadline <= {now}`,
	Assign: `{column} = excluded.{column}`,

	Batch: `WITH new (record_key, expected, {columns}) AS (VALUES {rows})
		UPDATE {table} AS old SET {assignments} FROM new
		WHERE old.record_key = new.record_key AND old.version = new.expected AND old.deadline > {now}`,
	Text: "::bytea", Number: "::bigint",

	// The array is computed once, whatever the planner thinks. Rows that another sweeper is removing are skipped.
	Sweep: `DELETE FROM {table} WHERE record_key = ANY (ARRAY(
		SELECT record_key FROM {table} WHERE deadline <= {now} ORDER BY deadline LIMIT ? FOR UPDATE SKIP LOCKED))`,

	// Texts are bytea, since the type text rejects zero bytes and characters that the database's encoding lacks.
	// {readable} shows them in psql.
	Steps: [][]string{{
		`CREATE TABLE {table} (
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
			public       bytea    NOT NULL,
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
			{text}(public) AS public,
			to_timestamp(created_at / 1000.0) AS created_at,
			to_timestamp(last_seen_at / 1000.0) AS last_seen_at,
			to_timestamp(expires_at / 1000.0) AS expires_at,
			{text}(data) AS data
			FROM {table} WHERE ` + live,
	}},
}

// MySQL is MySQL 8.0 and later, and MariaDB 10.6 and later.
var MySQL = Dialect{
	Quote: "`",

	// UNIX_TIMESTAMP counts from a local time, which repeats an hour once a year.
	Now: `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000)`,

	// Columns are assigned from left to right, deadline last. Whether the server counts a row that stays as it is as 0
	// or 1 depends on the connection. So a call of LAST_INSERT_ID tells that a row has not expired.
	Create: `INSERT INTO {table} ({columns}) VALUES ({values})
		ON DUPLICATE KEY UPDATE {assignments} + IF(deadline <= {now}, 0, 0 * LAST_INSERT_ID(1 + kind))`,
	Assign: `{column} = IF(deadline <= {now}, VALUES({column}), {column})`,

	Sweep: `DELETE FROM {table} WHERE deadline <= {now} ORDER BY deadline LIMIT ?`,

	Steps: [][]string{{
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
			public       VARBINARY(512) NOT NULL,
			data         LONGBLOB       NOT NULL,
			PRIMARY KEY (record_key),
			KEY {principal_index} (principal, record_key),
			KEY {deadline_index} (deadline)
		) ENGINE = InnoDB`,
	}},
}

// SQLite is SQLite 3.42 and later.
var SQLite = Dialect{
	Quote: `"`,
	Now:   `CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`,

	Create: Postgres.Create,
	Assign: Postgres.Assign,
	Batch:  Postgres.Batch,

	Sweep: `DELETE FROM {table} WHERE record_key IN (
		SELECT record_key FROM {table} WHERE deadline <= {now} ORDER BY deadline LIMIT ?)`,

	Steps: [][]string{{
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
			public       BLOB    NOT NULL,
			data         BLOB    NOT NULL
		) STRICT`,
		`CREATE INDEX {principal_index} ON {table} (principal, record_key) WHERE principal <> ''`,
		`CREATE INDEX {deadline_index} ON {table} (deadline)`,
	}},
}
