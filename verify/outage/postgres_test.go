package outage_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/pgstore"
)

func postgres(t *testing.T, settings ...string) *service {
	server := servertest.Postgres(t, settings...)
	s := alone(t, server, func(addr string) (store.Store, error) {
		s, err := pgstore.Open(t.Context(), strings.Replace(server.URL, server.Addr, addr, 1), nil)
		return migrated(t.Context(), s, err)
	})
	ask := func(statements ...string) func(*trial) {
		return func(x *trial) { execute(x.t, connected(x.t, server.URL), statements...) }
	}
	const others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() " +
		"AND backend_type = 'client backend'"
	disk := servertest.NewDisk(t, server, "8m")
	execute(t, connected(t, server.URL), "CREATE TABLESPACE small LOCATION '"+disk.Dir+"'")
	s.others = []kind{
		{name: "table locked", happens: func(x *trial) {
			c := connected(x.t, server.URL)
			execute(x.t, c, "BEGIN; LOCK TABLE hipflask_sessions")
			x.fails()
			execute(x.t, c, "COMMIT")
		}},
		readable("made read-only", ask("ALTER SYSTEM SET default_transaction_read_only = on",
			"SELECT pg_reload_conf()"),
			ask("SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only",
				"SELECT pg_reload_conf()")),
		{name: "password changed", happens: func(x *trial) {
			c := connected(x.t, server.URL)
			execute(x.t, c, "ALTER ROLE "+servertest.User+" PASSWORD 'other'", others)
			x.fails()
			execute(x.t, c, "ALTER ROLE "+servertest.User+" PASSWORD '"+servertest.Password+"'")
		}},
		{name: "disk full", happens: func(x *trial) {
			// Not the log of the server, without which it ends: that is as if it were killed.
			execute(x.t, connected(x.t, server.URL), "ALTER TABLE hipflask_sessions SET TABLESPACE small")
			x.full(disk)
		}},
	}
	return s
}

// connected returns a connection to PostgreSQL that goes around the proxies.
func connected(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func execute(t *testing.T, c *pgx.Conn, statements ...string) {
	t.Helper()
	for _, text := range statements {
		if _, err := c.PgConn().Exec(t.Context(), text).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}
