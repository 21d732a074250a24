package sqlstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlstore"
)

// fakeDB answers every statement with the same result and counts them.
type fakeDB struct {
	changed int64
	err     error
	undone  bool
	sent    []string
	closed  int
}

func (f *fakeDB) Exec(_ context.Context, query string, _ ...any) (int64, error) {
	f.sent = append(f.sent, query)
	return f.changed, f.err
}

func (f *fakeDB) Query(_ context.Context, query string, _ func(func(...any) error) error, _ ...any) error {
	f.sent = append(f.sent, query)
	return f.err
}

func (f *fakeDB) Exclusive(_ context.Context, _ string, fn func(sqlstore.Conn) error) error {
	return fn(f)
}
func (f *fakeDB) Undone(error) bool { return f.undone }
func (f *fakeDB) Clean(error) error { return errors.New("clean") }
func (f *fakeDB) Close() error      { f.closed++; return nil }

var dialects = map[string]sqlstore.Dialect{"Postgres": sqlstore.Postgres, "MySQL": sqlstore.MySQL,
	"SQLite": sqlstore.SQLite}

func newStore(t *testing.T, f *fakeDB, d sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(f, d, &sqlstore.Options{Name: "fakestore"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What a column may cut off is refused before it is sent.
func TestTooLong(t *testing.T) {
	t.Parallel()
	for _, change := range []func(rec *store.Record, text string){
		func(rec *store.Record, text string) { rec.Key = text[:store.MaxKey+1] },
		func(rec *store.Record, text string) { rec.MovedTo = text[:store.MaxKey+1] },
		func(rec *store.Record, text string) { rec.Handle = text[:store.MaxKey+1] },
		func(rec *store.Record, text string) { rec.Principal = text },
		func(rec *store.Record, text string) { rec.Label = text },
	} {
		f := &fakeDB{changed: 1}
		s := newStore(t, f, sqlstore.MySQL)
		rec := store.Record{Key: "key"}
		change(&rec, strings.Repeat("x", store.MaxPrincipal+1))
		for _, err := range []error{s.Create(t.Context(), rec), s.Replace(t.Context(), rec, 1)} {
			if err == nil || strings.Contains(err.Error(), "xx") {
				t.Errorf("a text that is too long: got error %v, want one without it", err)
			}
		}
		if len(f.sent) != 0 {
			t.Errorf("a text that is too long was sent")
		}
	}
}

// Every statement is whole, in every dialect, and none is sent twice.
func TestStatements(t *testing.T) {
	t.Parallel()
	for name, dialect := range dialects {
		f := &fakeDB{changed: 1}
		s := newStore(t, f, dialect)
		ctx := t.Context()
		_, _ = s.Load(ctx, "key")
		err := errors.Join(s.Create(ctx, store.Record{}), s.Replace(ctx, store.Record{}, 1),
			s.Touch(ctx, "key", 1, time.Now(), time.Now()), s.Delete(ctx, "key"))
		_, sweepErr := s.Sweep(ctx, 2)
		for range s.Principal(ctx, "ann") {
		}
		for range s.All(ctx) {
		}
		if err := errors.Join(err, sweepErr, s.Migrate(ctx)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, text := range f.sent {
			if strings.ContainsAny(text, "{}%") {
				t.Errorf("%s: something is not filled in: %s", name, text)
			}
		}
		if want := 8; len(f.sent) < want || f.sent[1] == f.sent[2] {
			t.Errorf("%s: got %d statements, want at least %d", name, len(f.sent), want)
		}
	}
}

// An error is sent to nobody as it is, and the statement not again, unless the server has undone it.
func TestErrors(t *testing.T) {
	t.Parallel()
	f := &fakeDB{err: errors.New("key and password")}
	s := newStore(t, f, sqlstore.Postgres)
	if err := s.Delete(t.Context(), "key"); err == nil || err.Error() != "fakestore: delete: clean" {
		t.Errorf("Delete: got error %v, want the clean one", err)
	}
	if len(f.sent) != 1 {
		t.Errorf("a statement that failed was sent %d times, want once", len(f.sent))
	}
	f.undone, f.sent = true, nil
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Delete(ctx, "key"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Delete that is undone again and again: got error %v, want that of the context", err)
	}
	if len(f.sent) < 2 {
		t.Errorf("a statement that was undone was sent %d times, want more", len(f.sent))
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil || f.closed != 1 {
		t.Errorf("Close twice: got error %v, and the database closed %d times, want once", err, f.closed)
	}
	if err := s.Migrate(t.Context()); err == nil {
		t.Error("Migrate after Close: got no error")
	}
}
