package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/internal/flasksession/layouttest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/storetest"
)

func openFlask(tb testing.TB, path string, opts *sqlitestore.FlaskOptions) *sqlitestore.FlaskStore {
	tb.Helper()
	s, err := sqlitestore.OpenFlaskSession(tb.Context(), "sqlite:"+path, opts)
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
	path := file(t)
	layouttest.Run(t, func(tb testing.TB) store.Store { return openFlask(tb, path, nil) }, nil, nil,
		storetest.Except("SweepCostIgnoresTheLiving", "Flask's table has no index of expiry"))
}

// sqlAlchemy is what Flask-Session 0.8 does to its table (flask_session/sqlalchemy/sqlalchemy.py).
type sqlAlchemy struct {
	t  testing.TB
	db *sql.DB
}

const layout = "2006-01-02 15:04:05.000000"

func (a sqlAlchemy) set(key string, document []byte, life time.Duration) {
	_, err := a.db.ExecContext(context.WithoutCancel(a.t.Context()), `INSERT INTO sessions (session_id, data, expiry) VALUES (?, ?, ?)
		ON CONFLICT (session_id) DO UPDATE SET data = excluded.data, expiry = excluded.expiry`,
		"session:"+key, document, time.Now().Add(life).UTC().Format(layout))
	if err != nil {
		a.t.Error(err)
	}
}

func (a sqlAlchemy) get(key string) (document []byte, left time.Duration, ok bool) {
	var expiry string
	err := a.db.QueryRowContext(context.WithoutCancel(a.t.Context()),
		`SELECT data, expiry || '' FROM sessions WHERE session_id = ?`, "session:"+key).Scan(&document, &expiry)
	if err != nil {
		return nil, 0, false
	}
	t, err := time.Parse(layout, expiry)
	if err != nil || !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$`).MatchString(expiry) {
		a.t.Errorf("SQLAlchemy can't read the expiry %q", expiry)
	}
	return document, time.Until(t), time.Now().Before(t)
}

func (a sqlAlchemy) delete(key string) {
	_, err := a.db.ExecContext(context.WithoutCancel(a.t.Context()), `DELETE FROM sessions WHERE session_id = ?`, "session:"+key)
	if err != nil {
		a.t.Error(err)
	}
}

func TestFlaskShared(t *testing.T) {
	t.Parallel()
	layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
		path := file(tb)
		s := openFlask(tb, path, nil)
		db := database(tb, path+"?_pragma=busy_timeout(10000)")
		a := sqlAlchemy{tb, db}
		return layouttest.Backend{Store: s, Serializer: flask.Msgpack, Set: a.set, Get: a.get, Delete: a.delete}
	})
}

// TestFlaskAll: every session with its data, without marks, expired ones and those of another prefix.
func TestFlaskAll(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := openFlask(t, path, nil)
	a := sqlAlchemy{t, database(t, path+"?_pragma=busy_timeout(10000)")}
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
	path := file(t)
	s := openFlask(t, path, nil)
	a := sqlAlchemy{t, database(t, path+"?_pragma=busy_timeout(10000)")}
	for name, opts := range map[string]*sqlitestore.FlaskOptions{
		"a table's name": {Table: "a;b"}, "a long prefix": {KeyPrefix: strings.Repeat("x", 200)},
	} {
		if s, err := sqlitestore.FlaskSession(a.db, opts); err == nil {
			s.Close()
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := sqlitestore.FlaskSession(nil, nil); err == nil {
		t.Error("nil was taken")
	}
	a.set("twice", []byte("x"), time.Hour)
	if err := s.Create(t.Context(), store.Record{Key: "twice", ExpiresAt: time.Now().Add(time.Hour), Data: []byte("y")}); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create of a taken key: got %v, want %v", err, store.ErrExists)
	}
}
