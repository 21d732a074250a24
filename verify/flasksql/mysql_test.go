package mysqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/internal/flasksession/layouttest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/storetest"
)

func openFlask(tb testing.TB, opts *mysqlstore.FlaskOptions) *mysqlstore.FlaskStore {
	tb.Helper()
	s, err := mysqlstore.OpenFlaskSession(tb.Context(), server().URL, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	if err := s.Migrate(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestFlaskConformance(t *testing.T) {
	t.Parallel()
	opts := &mysqlstore.FlaskOptions{Table: table()}
	layouttest.Run(t, func(tb testing.TB) store.Store { return openFlask(tb, opts) }, nil, nil,
		storetest.CoarseExpiry(2*time.Second), storetest.MaxData(40_000),
		storetest.Except("KeysAreOpaque", "Flask's table compares names without regard to case"),
		storetest.Except("SweepCostIgnoresTheLiving", "Flask's table has no index of expiry"))
}

// sqlAlchemy is what Flask-Session 0.8 does to its table (flask_session/sqlalchemy/sqlalchemy.py).
type sqlAlchemy struct {
	t     testing.TB
	db    *sql.DB
	table string
}

func (a sqlAlchemy) exec(query string, args ...any) {
	if _, err := a.db.ExecContext(context.WithoutCancel(a.t.Context()), query, args...); err != nil {
		a.t.Error(err)
	}
}

func (a sqlAlchemy) set(key string, document []byte, life time.Duration) {
	a.exec(`INSERT INTO `+a.table+` (session_id, data, expiry) VALUES (?, ?, ?)
		ON DUPLICATE KEY UPDATE data = VALUES(data), expiry = VALUES(expiry)`,
		"session:"+key, document, time.Now().Add(life).UTC())
}

func (a sqlAlchemy) get(key string) (document []byte, left time.Duration, ok bool) {
	var expiry time.Time
	err := a.db.QueryRowContext(context.WithoutCancel(a.t.Context()),
		`SELECT data, expiry FROM `+a.table+` WHERE session_id = ?`, "session:"+key).Scan(&document, &expiry)
	return document, time.Until(expiry), err == nil && time.Now().Before(expiry)
}

func (a sqlAlchemy) delete(key string) {
	a.exec(`DELETE FROM `+a.table+` WHERE session_id = ?`, "session:"+key)
}

func TestFlaskShared(t *testing.T) {
	t.Parallel()
	name := table()
	layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
		a := sqlAlchemy{tb, database(tb, owner, "parseTime=true"), name}
		return layouttest.Backend{
			Store: openFlask(tb, &mysqlstore.FlaskOptions{Table: name}), Serializer: flask.Msgpack, Set: a.set, Get: a.get, Delete: a.delete,
		}
	})
}

// TestFlaskAll: every session with its data, without marks, expired ones and those of another prefix.
func TestFlaskAll(t *testing.T) {
	t.Parallel()
	name := table()
	s := openFlask(t, &mysqlstore.FlaskOptions{Table: name})
	a := sqlAlchemy{t, database(t, owner, "parseTime=true"), name}
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
}

func TestFlaskRefuses(t *testing.T) {
	t.Parallel()
	name := table()
	s := openFlask(t, &mysqlstore.FlaskOptions{Table: name})
	a := sqlAlchemy{t, database(t, owner, "parseTime=true"), name}
	for name, opts := range map[string]*mysqlstore.FlaskOptions{
		"a table's name": {Table: "a;b"}, "a long prefix": {KeyPrefix: strings.Repeat("x", 200)},
	} {
		if s, err := mysqlstore.FlaskSession(a.db, opts); err == nil {
			s.Close()
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := mysqlstore.FlaskSession(nil, nil); err == nil {
		t.Error("nil was taken")
	}
	a.set("twice", []byte("x"), time.Hour)
	if err := s.Create(t.Context(), store.Record{Key: "twice", ExpiresAt: time.Now().Add(time.Hour), Data: []byte("y")}); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create of a taken key: got %v, want %v", err, store.ErrExists)
	}
}
