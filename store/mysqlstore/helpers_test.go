package mysqlstore_test

import (
	"database/sql"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/mysqlstore"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// server serves all tests that leave it alone.
var server = sync.OnceValue(func() *servertest.Server {
	return servertest.MariaDB(servertest.Shared, "--max-connections=1000")
})

// open opens the sessions that a server has, and makes the table.
func open(tb testing.TB, url string, opts *mysqlstore.Options) *mysqlstore.Store {
	tb.Helper()
	s, err := mysqlstore.Open(tb.Context(), url, opts)
	return sqltest.Migrated(tb, s, err)
}

// database opens connections of the test's own, with the driver's settings as they are but for those given.
func database(tb testing.TB, user, settings string) *sql.DB {
	tb.Helper()
	return databaseAt(tb, server(), user, settings)
}

func databaseAt(tb testing.TB, server *servertest.Server, user, settings string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("mysql", user+"@tcp("+server.Addr+")/"+servertest.User+"?"+settings)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

const owner = servertest.User + ":" + servertest.Password

// opener returns a function that opens the sessions of one table: in turn by Open, and by New with connections as an
// application may have them, which counts changed rows and has modes and a time zone of its own.
func opener(table string) func(testing.TB) store.Store {
	opts := &mysqlstore.Options{Table: table}
	var turn atomic.Int64
	return func(tb testing.TB) store.Store {
		if turn.Add(1)%2 == 0 {
			return open(tb, server().URL, opts)
		}
		db := database(tb, owner, "sql_mode=''&time_zone='-03:30'&interpolateParams=true&charset=latin1")
		db.SetMaxIdleConns(16)
		s, err := mysqlstore.New(db, opts)
		return sqltest.Migrated(tb, s, err)
	}
}

// run runs statements as root, who has no password and comes by the socket.
func run(tb testing.TB, statements ...string) {
	tb.Helper()
	db, err := sql.Open("mysql", "root@unix("+filepath.Join(server().Dir, "sock")+")/"+servertest.User)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
}
