package outage_test

import (
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
)

func mariadb(t *testing.T, settings ...string) *service {
	server := servertest.MariaDB(t, settings...)
	s := alone(t, server, func(addr string) (store.Store, error) {
		s, err := mysqlstore.Open(t.Context(), strings.Replace(server.URL, server.Addr, addr, 1), nil)
		return migrated(t.Context(), s, err)
	})
	// root returns a connection that goes around the proxies, after some statements.
	root := func(x *trial, statements ...string) *rootConn {
		db, err := sql.Open("mysql", "root@tcp("+server.Addr+")/"+servertest.User)
		if err != nil {
			x.t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		c := &rootConn{db}
		c.execute(x.t, statements...)
		return c
	}
	ask := func(statements ...string) func(*trial) {
		return func(x *trial) { root(x, statements...).Close() }
	}
	const user = servertest.User + "@'127.0.0.1'"
	disk := servertest.NewDisk(t, server, "16m")
	var moved sync.Once
	s.others = []kind{
		{name: "table locked", happens: func(x *trial) {
			c := root(x, "LOCK TABLES hipflask_sessions WRITE")
			defer c.Close()
			x.fails()
			c.execute(x.t, "UNLOCK TABLES")
		}},
		readable("made read-only", ask("SET GLOBAL tx_read_only = 1", "KILL HARD USER "+user),
			ask("SET GLOBAL tx_read_only = 0", "KILL HARD USER "+user)),
		between("password changed", ask("ALTER USER "+user+" IDENTIFIED BY 'other'", "KILL HARD USER "+user),
			ask("ALTER USER "+user+" IDENTIFIED BY '"+servertest.Password+"'")),
		{name: "disk full", happens: func(x *trial) {
			moved.Do(func() { // the tables alone: the server's own logs stay elsewhere
				server.Stop()
				move(x.t, filepath.Join(server.Dir, "data", servertest.User), filepath.Join(disk.Dir, servertest.User))
				server.Start()
			})
			x.works()
			x.full(disk)
		}},
	}
	return s
}

type rootConn struct{ *sql.DB }

func (c *rootConn) execute(t *testing.T, statements ...string) {
	t.Helper()
	for _, text := range statements {
		if _, err := c.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
}

// move moves a folder to another disk, with the owners of its files, and leaves a link.
func move(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(os.Rename(from, filepath.Join(filepath.Dir(filepath.Dir(from)), "before")),
		os.Symlink(to, from)); err != nil {
		t.Fatal(err)
	}
}
