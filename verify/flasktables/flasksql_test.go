package flasktables

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flasksession/layouttest"
	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlstore"
	"github.com/hipflask/session/store/storetest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// database is what is special about a database for these tests.
type database struct {
	dialect flasksql.Dialect
	place   func(testing.TB) place
	options []storetest.Option

	placeholders sqlstore.Dialect
	overwrite    string // ends an INSERT that may find a row
	expiry       string // the column, as a query reads it

	write func(time.Time) any                 // a time for the column expiry
	read  func(testing.TB, any) (t time.Time) // the reverse
}

// place is where the table of a test is.
type place struct {
	table string
	open  func(testing.TB) (sqlstore.DB, error) // with connections of its own
	bare  func(testing.TB) *sql.DB              // as SQLAlchemy connects
	share func(testing.TB) sqlstore.DB          // with connections of the application
}

// databases are all that package flasksql has a Dialect for.
var databases = map[string]*database{"PostgreSQL": &postgres, "MariaDB": &mariadb, "SQLite": &sqlite}

func each(t *testing.T, test func(*testing.T, *database)) {
	t.Parallel()
	for name, d := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

func (p place) store(tb testing.TB, d *database) *flasksql.Store {
	tb.Helper()
	db, err := p.open(tb)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := flasksql.New(db, d.dialect, &flasksql.Options{Table: p.table})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	if err := s.Migrate(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
}

// newTable returns the name of a table that no other test has.
func newTable() string { return "t_" + strings.ToLower(rand.Text()) }

func TestConformance(t *testing.T) {
	each(t, func(t *testing.T, d *database) {
		p := d.place(t)
		layouttest.Run(t, func(tb testing.TB) store.Store { return p.store(tb, d) }, nil, nil, append(d.options,
			storetest.Except("SweepCostIgnoresTheLiving", "Flask's table has no index of expiry"))...)
	})
}

// sqlAlchemy does what Flask-Session 0.8 does to its table (flask_session/sqlalchemy/sqlalchemy.py).
type sqlAlchemy struct {
	t     testing.TB
	db    *sql.DB
	table string
	*database
}

func (p place) sqlAlchemy(tb testing.TB, d *database) sqlAlchemy {
	return sqlAlchemy{tb, p.bare(tb), p.table, d}
}

func (a sqlAlchemy) exec(query string, args ...any) {
	if _, err := a.db.ExecContext(context.WithoutCancel(a.t.Context()), a.placeholders.Rebind(query),
		args...); err != nil {
		a.t.Error(err)
	}
}

func (a sqlAlchemy) set(key string, document []byte, life time.Duration) {
	a.exec(`INSERT INTO `+a.table+` (session_id, data, expiry) VALUES (?, ?, ?) `+a.overwrite,
		"session:"+key, document, a.write(time.Now().Add(life).UTC()))
}

func (a sqlAlchemy) get(key string) (document []byte, left time.Duration, ok bool) {
	var expiry any
	query := `SELECT data, ` + a.expiry + ` FROM ` + a.table + ` WHERE session_id = ?`
	err := a.db.QueryRowContext(context.WithoutCancel(a.t.Context()), a.placeholders.Rebind(query),
		"session:"+key).Scan(&document, &expiry)
	if err != nil {
		return nil, 0, false
	}
	t := a.read(a.t, expiry)
	return document, time.Until(t), time.Now().Before(t)
}

func (a sqlAlchemy) delete(key string) {
	a.exec(`DELETE FROM `+a.table+` WHERE session_id = ?`, "session:"+key)
}

func TestShared(t *testing.T) {
	each(t, func(t *testing.T, d *database) {
		layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
			p := d.place(tb)
			s, a := p.store(tb, d), p.sqlAlchemy(tb, d)
			return layouttest.Backend{Store: s, Serializer: flask.Msgpack, Set: a.set, Get: a.get, Delete: a.delete}
		})
	})
}

// TestAll: every session with its data, without marks, expired ones and those of another prefix.
func TestAll(t *testing.T) {
	each(t, func(t *testing.T, d *database) {
		p := d.place(t)
		s, a := p.store(t, d), p.sqlAlchemy(t, d)
		want := map[string]bool{}
		for i := range 250 {
			key := fmt.Sprint("key", i)
			want[key] = true
			a.set(key, []byte("data of "+key), time.Hour)
		}
		a.set("over", []byte("x"), -time.Minute)
		rec, err := s.Load(t.Context(), "key7")
		if err != nil {
			t.Fatal(err)
		}
		rec.Kind, rec.ExpiresAt = store.Ended, time.Now().Add(time.Hour)
		if err := s.Replace(t.Context(), rec, rec.Version); err != nil {
			t.Fatal(err)
		}
		a.set("key7", []byte("written after the end"), time.Hour)
		delete(want, "key7")
		for rec, err := range s.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if !want[rec.Key] || string(rec.Data) != "data of "+rec.Key || time.Until(rec.ExpiresAt) < 50*time.Minute {
				t.Errorf("got a session that was not expected, or other data: %v", rec)
			}
			delete(want, rec.Key)
		}
		if len(want) > 0 {
			t.Errorf("%d sessions were not listed", len(want))
		}
		if n, err := s.Sweep(t.Context(), 10); n != 1 || err != nil {
			t.Errorf("Sweep: got %d, %v; want 1", n, err)
		}
		for range s.All(t.Context()) {
			break
		}
	})
}

func TestRefuses(t *testing.T) {
	each(t, func(t *testing.T, d *database) {
		p := d.place(t)
		s, a := p.store(t, d), p.sqlAlchemy(t, d)
		for name, opts := range map[string]*flasksql.Options{
			"a table's name": {Table: "a;b"}, "a long prefix": {KeyPrefix: strings.Repeat("x", 200)},
		} {
			if s, err := flasksql.New(p.share(t), d.dialect, opts); err == nil {
				s.Close()
				t.Errorf("%s was accepted", name)
			}
		}
		if _, err := flasksql.New(nil, d.dialect, nil); err == nil {
			t.Error("a nil database was accepted")
		}
		a.set("twice", []byte("x"), time.Hour)
		if err := s.Create(t.Context(), store.Record{Key: "twice", ExpiresAt: time.Now().Add(time.Hour),
			Data: []byte("y")}); !errors.Is(err, store.ErrExists) {
			t.Errorf("Create of a taken key: got %v, want %v", err, store.ErrExists)
		}
	})
}

// TestSharedConnections: a Store over connections of the application, which Close leaves open.
func TestSharedConnections(t *testing.T) {
	each(t, func(t *testing.T, d *database) {
		p := d.place(t)
		a := p.sqlAlchemy(t, d)
		db := p.share(t)
		s, err := flasksql.New(db, d.dialect, &flasksql.Options{Table: p.table, KeyPrefix: "session:"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Create(t.Context(), store.Record{Key: "shared", ExpiresAt: time.Now().Add(time.Hour),
			Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if got, _, ok := a.get("shared"); !ok || string(got) != "x" {
			t.Errorf("got %q, %v; want the document", got, ok)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if _, err := s.Load(t.Context(), "shared"); err == nil {
			t.Error("Load after Close: got no error")
		}
		if s, err = flasksql.New(p.share(t), d.dialect, &flasksql.Options{Table: p.table}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Load(t.Context(), "shared"); err != nil {
			t.Errorf("Load by another Store: %v", err)
		}
	})
}
