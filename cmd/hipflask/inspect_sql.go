package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// without returns a URL without the parameters that are options of our store.
func without(text string, names ...string) string {
	base, query, ok := strings.Cut(text, "?")
	if !ok {
		return text
	}
	var rest []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		keep := !strings.HasPrefix(name, "pool_")
		for _, n := range names {
			keep = keep && n != name
		}
		if keep {
			rest = append(rest, pair)
		}
	}
	return base + "?" + strings.Join(rest, "&")
}

func inspectPostgres(ctx context.Context, text string) (found []finding) {
	conn, err := pgx.Connect(ctx, without(text, "table", "unlogged"))
	if err != nil {
		return unread(err)
	}
	defer conn.Close(ctx)
	var version, sync, fsync string
	var replica bool
	var now time.Time
	asked := time.Now()
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('synchronous_commit'),
		current_setting('fsync'), pg_is_in_recovery(), clock_timestamp()`).Scan(&version, &sync, &fsync, &replica, &now)
	if err != nil {
		return unread(err)
	}
	found = append(found, clock(now, asked, time.Now()))
	version, _, _ = strings.Cut(version, " ")
	found = append(found, finding{fine, "version", "PostgreSQL " + version, ""})
	switch {
	case replica:
		found = append(found, finding{problem, "server", "this is a replica", "Name the primary in the URL."})
	case fsync == "off":
		found = append(found, finding{problem, "durability",
			"fsync is off: a crash of the machine can destroy the database", "Set fsync = on."})
	case sync == "off":
		found = append(found, finding{warning, "durability", "synchronous_commit is off: a crash of " +
			"the server takes back the last changes, logouts too", "Set synchronous_commit = on for this user."})
	default:
		found = append(found, finding{fine, "durability", "answered changes are on disk", ""})
	}
	return found
}

func inspectMySQL(ctx context.Context, text string) (found []finding) {
	u, err := url.Parse(without(text, "table"))
	if err != nil {
		return unread(err)
	}
	query := u.Query()
	network, address := "tcp", u.Host
	if socket := query.Get("socket"); socket != "" {
		network, address = "unix", socket
		query.Del("socket")
	} else if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "3306")
	}
	config, err := mysql.ParseDSN("/?" + query.Encode())
	if err != nil {
		return unread(err)
	}
	config.Net, config.Addr, config.DBName, config.User = network, address, strings.TrimPrefix(u.Path, "/"),
		u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return unread(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	var version string
	var flush, readOnly int
	var now float64
	asked := time.Now()
	row := db.QueryRowContext(ctx, "SELECT @@version, @@innodb_flush_log_at_trx_commit, @@read_only, "+
		"UNIX_TIMESTAMP(SYSDATE(3))")
	if err := row.Scan(&version, &flush, &readOnly, &now); err != nil {
		return unread(err)
	}
	found = append(found, clock(time.UnixMilli(int64(now*1000)), asked, time.Now()))
	product := "MySQL "
	if strings.Contains(version, "MariaDB") {
		product = "MariaDB "
	}
	version, _, _ = strings.Cut(version, "-")
	found = append(found, finding{fine, "version", product + version, ""})
	switch {
	case readOnly == 1:
		found = append(found, finding{problem, "server", "read_only is on: this is a replica",
			"Name the primary in the URL."})
	case flush != 1:
		found = append(found, finding{warning, "durability", fmt.Sprintf("innodb_flush_log_at_trx_commit "+
			"is %d: a crash takes back the last changes, logouts too", flush),
			"Set innodb_flush_log_at_trx_commit = 1."})
	default:
		found = append(found, finding{fine, "durability", "answered changes are on disk", ""})
	}
	return found
}
