package pgstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/pgstore"
)

// Ten servers of one application are started at the same moment.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	for _, server := range []*servertest.Server{server(), bouncer()} {
		for range 3 {
			opts := &pgstore.Options{Table: sqltest.Table()}
			sqltest.MigrateAtOnce(t, func() (*pgstore.Store, error) {
				return pgstore.Open(t.Context(), server.URL, opts)
			}, "SQLSTATE")
		}
	}
}

// role makes a user and returns a pool of connections of that user.
func role(t *testing.T) (name string, p *pgxpool.Pool) {
	name = sqltest.Table()
	run(t, "CREATE ROLE "+name+" LOGIN PASSWORD 'secret'")
	return name, pool(t, server().URL, func(c *pgxpool.Config) {
		c.ConnConfig.User, c.ConnConfig.Password = name, "secret"
	})
}

// An application may run as a user who can use the table, but not make any.
func TestMigrateWithoutRights(t *testing.T) {
	t.Parallel()
	name, p := role(t)
	opts := &pgstore.Options{Table: sqltest.Table()}
	s, err := pgstore.New(p, opts)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "right to CREATE") {
		t.Errorf("Migrate where there is no table, without the right to make it: got error %v, want "+
			"one that says so", err)
	}
	err = s.Create(t.Context(), sqltest.NewRecord("ann"))
	if err == nil || !strings.Contains(err.Error(), "call Migrate") {
		t.Errorf("Create where there is no table: got error %v, want one that says what to do", err)
	}
	open(t, server().URL, opts)
	run(t, fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s", opts.Table, name),
		fmt.Sprintf("GRANT SELECT ON %s_schema TO %s", opts.Table, name))
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
	run(t, "REVOKE UPDATE ON "+opts.Table+" FROM "+name)
	if err := s.Replace(t.Context(), rec, rec.Version); err == nil || !strings.Contains(err.Error(), "right") {
		t.Errorf("Replace without the right to: got error %v, want one that says so", err)
	}
}

// A release that knows less than the table's leaves it alone.
func TestMigrateByAnEarlierRelease(t *testing.T) {
	t.Parallel()
	opts := &pgstore.Options{Table: sqltest.Table()}
	s := open(t, server().URL, opts)
	run(t, "INSERT INTO "+opts.Table+"_schema (version) VALUES (1000)")
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate of a later release's table: %v", err)
	}
}

// The table may stand in a schema, and under a name that SQL would otherwise fold.
func TestTableName(t *testing.T) {
	t.Parallel()
	schema := sqltest.Table()
	run(t, "CREATE SCHEMA "+schema)
	s := open(t, server().URL, &pgstore.Options{Table: schema + ".Select"})
	sqltest.Create(t, s, sqltest.NewRecord("ann"))
	var n int
	err := pool(t, server().URL, nil).QueryRow(t.Context(), `SELECT count(*) FROM `+schema+`."Select"`).Scan(&n)
	if err != nil || n != 1 {
		t.Errorf("got %d rows in the table (%v), want 1", n, err)
	}
	for _, bad := range []string{`a"b`, "a b", "a;b", "a.b.c", ".a", "a.", "1a", "ä", strings.Repeat("a", 51),
		"a-b", "'"} {
		if _, err := pgstore.New(pool(t, server().URL, nil), &pgstore.Options{Table: bad}); err == nil {
			t.Errorf("a table called %q: got no error", bad)
		}
	}
	if _, err := pgstore.New(nil, nil); err == nil {
		t.Error("New without a pool: got no error")
	}
}

func TestUnlogged(t *testing.T) {
	t.Parallel()
	for unlogged, want := range map[bool]string{false: "p", true: "u"} {
		opts := &pgstore.Options{Table: sqltest.Table(), Unlogged: unlogged}
		open(t, server().URL, opts)
		var got string
		err := pool(t, server().URL, nil).QueryRow(t.Context(),
			"SELECT relpersistence::text FROM pg_class WHERE relname = $1", opts.Table).Scan(&got)
		if err != nil || got != want {
			t.Errorf("Unlogged %t: got a table of persistence %q (%v), want %q", unlogged, got, err, want)
		}
	}
}

// People look at sessions in psql.
func TestReadable(t *testing.T) {
	t.Parallel()
	opts := &pgstore.Options{Table: sqltest.Table()}
	s := open(t, server().URL, opts)
	rec := sqltest.NewRecord("änn")
	rec.Data = []byte(`{"name":"Zoë \"Z\"","visits":7}`)
	sqltest.Create(t, s, rec)
	binary := sqltest.NewRecord("\x00")
	binary.Data = []byte{0, 0xff}
	sqltest.Create(t, s, binary)
	sqltest.Expired(t, s, 1)
	p := pool(t, server().URL, nil)
	var kind, name string
	var visits int
	var isCreated bool
	err := p.QueryRow(t.Context(), "SELECT kind, data::jsonb->>'name', (data::jsonb->>'visits')::int, "+
		"created_at = to_timestamp($2 / 1000.0) FROM "+
		opts.Table+"_readable WHERE principal = $1", rec.Principal, rec.CreatedAt.UnixMilli()).Scan(&kind,
		&name, &visits, &isCreated)
	if err != nil || kind != "live" || name != `Zoë "Z"` || visits != 7 || !isCreated {
		t.Errorf("got %q, %q, %d, %t (%v); want the record's", kind, name, visits, isCreated, err)
	}
	var rows int
	if err := p.QueryRow(t.Context(), "SELECT count(data) FROM "+opts.Table+"_readable").Scan(&rows); err != nil ||
		rows != 2 {
		t.Errorf("got %d rows (%v), want 2: what is no text is there too, what has expired is not", rows, err)
	}
}

// Close of a Store by New leaves the pool alone.
func TestCloseLeavesTheCallersPool(t *testing.T) {
	t.Parallel()
	p := pool(t, server().URL, nil)
	s, err := pgstore.New(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("Close twice: %v", err)
	}
	if _, err := s.Load(t.Context(), "key"); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Load after Close: got error %v, want one that says so", err)
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Errorf("the pool after Close of the Store: %v", err)
	}
}
