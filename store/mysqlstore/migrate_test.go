package mysqlstore_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/mysqlstore"
)

// Ten servers of one application are started at the same moment.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	for range 3 {
		opts := &mysqlstore.Options{Table: sqltest.Table()}
		sqltest.MigrateAtOnce(t, func() (*mysqlstore.Store, error) {
			return mysqlstore.Open(t.Context(), server().URL, opts)
		}, "error 1146")
	}
}

// An application may run as a user who can use the table, but not make any.
func TestMigrateWithoutRights(t *testing.T) {
	t.Parallel()
	name := sqltest.Table()
	user := name + "@127.0.0.1"
	run(t, "CREATE USER "+user+" IDENTIFIED BY 'secret'")
	opts := &mysqlstore.Options{Table: sqltest.Table()}
	open(t, server().URL, &mysqlstore.Options{Table: name}) // something that the user may enter the database for
	run(t, "GRANT SELECT ON "+servertest.User+"."+name+" TO "+user)
	s, err := mysqlstore.New(database(t, name+":secret", ""), opts)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "right to CREATE") {
		t.Errorf("Migrate where there is no table, without the right to make it: got error %v, want "+
			"one that says so", err)
	}
	open(t, server().URL, opts)
	run(t, fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s.%s TO %s", servertest.User, opts.Table, user),
		fmt.Sprintf("GRANT SELECT ON %s.%s_schema TO %s", servertest.User, opts.Table, user))
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate where everything is there: %v", err)
	}
	rec := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	if err := s.Replace(t.Context(), rec, rec.Version); err != nil {
		t.Errorf("Replace: %v", err)
	}
	if _, err := s.Sweep(t.Context(), 10); err != nil {
		t.Errorf("Sweep: %v", err)
	}
}

func TestMigrateIsMissing(t *testing.T) {
	t.Parallel()
	s, err := mysqlstore.New(database(t, owner, ""), &mysqlstore.Options{Table: sqltest.Table()})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Create(t.Context(), sqltest.NewRecord("ann"))
	if err == nil || !strings.Contains(err.Error(), "call Migrate") {
		t.Errorf("Create where there is no table: got error %v, want one that says what to do", err)
	}
}

// The table may stand in another database, and have a name that means something in SQL.
func TestTableName(t *testing.T) {
	t.Parallel()
	other := sqltest.Table()
	run(t, "CREATE DATABASE "+other)
	sqltest.Create(t, open(t, server().URL, &mysqlstore.Options{Table: other + ".Select"}), sqltest.NewRecord("ann"))
	var n int
	err := database(t, owner, "").QueryRow("SELECT count(*) FROM " + other + ".`Select`").Scan(&n)
	if err != nil || n != 1 {
		t.Errorf("got %d rows in the table (%v), want 1", n, err)
	}
	for _, bad := range []string{"a`b", "a b", "a.b.c", strings.Repeat("a", 51)} {
		if _, err := mysqlstore.New(database(t, owner, ""), &mysqlstore.Options{Table: bad}); err == nil {
			t.Errorf("a table called %q: got no error", bad)
		}
	}
	if _, err := mysqlstore.New(nil, nil); err == nil {
		t.Error("New without a database: got no error")
	}
}

// People look at sessions with the query that docs/sql.md shows.
func TestReadable(t *testing.T) {
	t.Parallel()
	opts := &mysqlstore.Options{Table: sqltest.Table()}
	s := open(t, server().URL, opts)
	rec := sqltest.NewRecord("änn")
	rec.Data = []byte(`{"name":"Zoë"}`)
	sqltest.Create(t, s, rec)
	doc, err := os.ReadFile("../../docs/sql.md")
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(string(doc), "```sql\nSELECT")
	query, _, found := strings.Cut(query, ";\n```")
	if !found {
		t.Fatal("docs/sql.md shows no query")
	}
	query = strings.NewReplacer("hipflask_sessions", opts.Table, "'ann'", "'änn'").Replace("SELECT" + query)
	var principal, label, seen, data string
	err = database(t, owner, "").QueryRow(query).Scan(&principal, &label, &seen, &data)
	if err != nil || principal != rec.Principal || label != rec.Label || data != string(rec.Data) ||
		!strings.HasPrefix(seen, "20") {
		t.Errorf("got %q, %q, %q, %q (%v); want the record's", principal, label, seen, data, err)
	}
}

// Close of a Store by New leaves the database alone.
func TestCloseLeavesTheCallersDatabase(t *testing.T) {
	t.Parallel()
	db := database(t, owner, "")
	s, err := mysqlstore.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close twice: %v", err)
	}
	if err := db.Ping(); err != nil {
		t.Errorf("the database after Close of the Store: %v", err)
	}
}
