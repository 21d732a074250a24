package main

import (
	"context"
	"strings"
	"time"

	"github.com/hipflask/session/store/sqlstore"
)

// What is asked: the version, whether it is a replica, what to set for changes to survive a crash ("": nothing), the
// time.
const (
	postgresSettings = `SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1),
		pg_is_in_recovery()::int,
		CASE WHEN current_setting('fsync') = 'off' THEN 'fsync = on'
			WHEN current_setting('synchronous_commit') = 'off' THEN 'synchronous_commit = on' ELSE '' END,
		extract(epoch FROM clock_timestamp())::float8`
	mysqlSettings = `SELECT
		CONCAT(IF(@@version LIKE '%MariaDB%', 'MariaDB ', 'MySQL '), SUBSTRING_INDEX(@@version, '-', 1)),
		@@read_only, IF(@@innodb_flush_log_at_trx_commit = 1, '', 'innodb_flush_log_at_trx_commit = 1'),
		UNIX_TIMESTAMP(SYSDATE(3)) + 0e0`
)

// inspectSQL looks at the settings of PostgreSQL, MySQL or MariaDB.
func inspectSQL(ctx context.Context, open func(context.Context, string) (sqlstore.DB, error),
	url, query string) []finding {
	for _, ours := range []string{"table", "unlogged"} {
		_, url = cutParameter(url, ours)
	}
	db, err := open(ctx, url)
	if err != nil {
		return unread(err)
	}
	defer db.Close()
	var version, set string
	var replica int
	var now float64
	asked := time.Now()
	err = db.Query(ctx, query, func(scan func(...any) error) error { return scan(&version, &replica, &set, &now) })
	if err != nil {
		return unread(err)
	}
	found := []finding{clock(time.UnixMilli(int64(now*1000)), asked, time.Now()), {fine, "version", version, ""}}
	switch {
	case replica != 0:
		return append(found, finding{problem, "server", "this is a replica", "Name the primary in the URL."})
	case strings.HasPrefix(set, "fsync"):
		return append(found, finding{problem, "durability",
			"fsync is off: a crash of the machine can destroy the database", "Set " + set + "."})
	case set != "":
		name, _, _ := strings.Cut(set, " ")
		return append(found, finding{warning, "durability",
			name + " is relaxed: a crash of the server takes back the last changes, logouts too", "Set " + set + "."})
	}
	return append(found, finding{fine, "durability", "answered changes are on disk", ""})
}
