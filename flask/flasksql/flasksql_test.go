package flasksql_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlstore"
)

// fakeDB answers every statement with one changed row or no rows, and keeps the statements. The databases themselves
// are in verify/flasktables.
type fakeDB struct {
	sent   []string
	closed int
}

func (f *fakeDB) Exec(_ context.Context, query string, _ ...any) (int64, error) {
	f.sent = append(f.sent, query)
	return 1, nil
}

func (f *fakeDB) Query(_ context.Context, query string, _ func(func(...any) error) error, _ ...any) error {
	f.sent = append(f.sent, query)
	return nil
}

func (f *fakeDB) Exclusive(_ context.Context, _ string, fn func(sqlstore.Conn) error) error {
	return fn(f)
}
func (f *fakeDB) Undone(error) bool { return false }
func (f *fakeDB) Clean(error) error { return errors.New("clean") }
func (f *fakeDB) Close() error      { f.closed++; return nil }

// Every statement is complete, in every dialect.
func TestStatements(t *testing.T) {
	t.Parallel()
	for name, dialect := range map[string]flasksql.Dialect{"Postgres": flasksql.Postgres, "MySQL": flasksql.MySQL,
		"SQLite": flasksql.SQLite} {
		f := new(fakeDB)
		s, err := flasksql.New(f, dialect, &flasksql.Options{Table: "shop.flask_sessions"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, rec := t.Context(), store.Record{Key: "key", ExpiresAt: time.Now().Add(time.Hour)}
		tombstone := rec
		tombstone.Kind = store.Ended
		_, _ = s.Load(ctx, "key")
		_, _ = s.Sweep(ctx, 2)
		for range s.All(ctx) {
		}
		// What they return depends on rows, of which there are none.
		_ = errors.Join(s.Create(ctx, rec), s.Create(ctx, tombstone), s.Replace(ctx, rec, 1),
			s.Replace(ctx, tombstone, 1),
			s.Touch(ctx, "key", 1, time.Now(), time.Now()), s.Delete(ctx, "key"))
		if err := s.Migrate(ctx); err != nil {
			t.Errorf("%s: Migrate: %v", name, err)
		}
		for _, text := range f.sent {
			if strings.ContainsAny(text, "{}%") && !strings.Contains(text, "strftime") ||
				strings.ContainsAny(text, "{}") ||
				!strings.Contains(text, "flask_sessions") {
				t.Errorf("%s: incomplete: %s", name, text)
			}
			if name == "Postgres" && strings.Contains(text, "?") {
				t.Errorf("%s: a placeholder of other databases: %s", name, text)
			}
		}
		if want := 10; len(f.sent) < want {
			t.Errorf("%s: got %d statements, want at least %d", name, len(f.sent), want)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil || f.closed != 1 {
			t.Errorf("%s: Close twice: got error %v, and the database was closed %d times, want once",
				name, err, f.closed)
		}
	}
}
