package mysqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
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
	if err != nil {
		tb.Fatal(err)
	}
	return migrated(tb, s)
}

func migrated(tb testing.TB, s *mysqlstore.Store) *mysqlstore.Store {
	tb.Helper()
	tb.Cleanup(func() { s.Close() })
	if err := s.Migrate(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
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
		if err != nil {
			tb.Fatal(err)
		}
		return migrated(tb, s)
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

// table returns the name of a table that nobody else has.
func table() string { return "t_" + strings.ToLower(rand.Text()) }

// newRecord returns a live record of a principal.
func newRecord(principal string) store.Record {
	now := time.Now().Truncate(time.Millisecond)
	return store.Record{
		Key: rand.Text(), Version: store.NewVersion(), Principal: principal, Label: "Firefox on Windows",
		Handle:    rand.Text(),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(time.Hour), Data: []byte(`{"visits":1}`),
	}
}

func create(tb testing.TB, s store.Store, rec store.Record) store.Record {
	tb.Helper()
	if err := s.Create(tb.Context(), rec); err != nil {
		tb.Fatal(err)
	}
	return rec
}

// expired creates n records that are over at once.
func expired(tb testing.TB, s store.Store, n int) []store.Record {
	tb.Helper()
	recs := make([]store.Record, n)
	for i := range recs {
		recs[i] = newRecord("")
		recs[i].ExpiresAt = time.Now().Add(-time.Second)
		create(tb, s, recs[i])
	}
	return recs
}
