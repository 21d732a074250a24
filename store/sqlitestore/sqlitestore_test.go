package sqlitestore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/sqlstore"
)

// Nobody else can read a file that Open makes, whatever the umask.
func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no file modes")
	}
	path := file(t)
	sqltest.Create(t, open(t, path, nil), sqltest.NewRecord("ann"))
	for _, end := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + end)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("the file%s: got mode %o, want 600", end, got)
		}
	}
}

// What is special in URLs and in SQLite's is not special in a path.
func TestPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a b", "a?mode=memory", "a#b", "100%", "%41", "ä", "a&b=c", "a;b",
		":memory:x", "file:x"} {
		path := filepath.Join(dir, name)
		rec := sqltest.Create(t, open(t, path, nil), sqltest.NewRecord("ann"))
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q: no private file under that name (%v)", name, err)
		}
		s, err := sqlitestore.Open(t.Context(), path, nil) // a path alone
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(t.Context(), rec.Key); err != nil {
			t.Errorf("%q, opened again: %v", name, err)
		}
		s.Close()
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "A*")); len(found) > 0 {
		t.Errorf("a path was decoded: %q", found)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, url, table, want string }{
		{"no path", "sqlite:", "", "names no file"},
		{"memory", "sqlite::memory:", "", "memstore"},
		{"no such folder", "sqlite:" + filepath.Join(dir, "none", "x"), "", "none"},
		{"a folder", "sqlite:" + dir, "", "SQLite says"},
		{"a file of another kind", "sqlite:" + text, "", "choose another file"},
		{"a bad table", "sqlite:" + filepath.Join(dir, "x"), `a"b`, "Table"},
	} {
		s, err := sqlitestore.Open(t.Context(), row.url, &sqlitestore.Options{Table: row.table})
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), "sqlitestore: ") {
			t.Errorf("%s: got error %v, want one with %q", row.name, err, row.want)
		}
		if err == nil {
			s.Close()
		}
	}
	if _, err := sqlitestore.New(nil, nil); err == nil {
		t.Error("New without a database: got no error")
	}
}

func TestMigrateIsMissing(t *testing.T) {
	t.Parallel()
	s, err := sqlitestore.Open(t.Context(), file(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Create(t.Context(), sqltest.NewRecord("ann"))
	if err == nil || !strings.Contains(err.Error(), "call Migrate") {
		t.Errorf("Create where there is no table: got error %v, want one that says what to do", err)
	}
}

// Ten Stores make the same table at the same moment, in a file that one of them makes; other tables are left alone.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	for range 5 {
		path := file(t)
		var wg sync.WaitGroup
		for i := range 10 {
			opts := &sqlitestore.Options{Table: []string{"one", "two"}[i%2]}
			wg.Go(func() {
				s, err := sqlitestore.Open(t.Context(), path, opts)
				if err != nil {
					t.Errorf("Open among others: %v", err)
					return
				}
				defer s.Close()
				for range 2 {
					if err := s.Migrate(t.Context()); err != nil {
						t.Errorf("Migrate among others: %v", err)
					}
				}
				if err := s.Create(t.Context(), sqltest.NewRecord("ann")); err != nil {
					t.Errorf("Create as soon as Migrate has returned: %v", err)
				}
			})
		}
		wg.Wait()
	}
}

// Options.Sync is what SQLite calls FULL.
func TestSync(t *testing.T) {
	t.Parallel()
	for full, want := range map[bool]int{false: 1, true: 2} {
		db, err := sqlitestore.OpenDB(t.Context(), file(t), &sqlitestore.Options{Sync: full})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		level := func(c sqlstore.Conn) (n int) {
			err := c.Query(t.Context(), "PRAGMA synchronous", func(scan func(...any) error) error { return scan(&n) })
			if err != nil {
				t.Error(err)
			}
			return n
		}
		read, write := level(db), 0
		if err := db.Exclusive(t.Context(), "", func(c sqlstore.Conn) error {
			write = level(c)
			return nil
		}); err != nil {
			t.Error(err)
		}
		if read != want || write != want {
			t.Errorf("Sync %t: got the levels %d for readers and %d for writers, want %d", full, read, write, want)
		}
	}
}

// Writers wait for the lock of another process until their context ends. Readers don't wait.
func TestLockIsHeld(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, nil)
	rec := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	conn, err := database(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	const patience = 10 * time.Second
	for name, call := range sqltest.Calls(s, rec) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		reads := name == "Load" || name == "Principal" || name == "All"
		if took := time.Since(began); took > patience || reads != (err == nil) ||
			!reads && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got error %v after %v", name, err, took)
		}
		cancel()
	}
	waiting := make(chan error)
	next := rec
	next.Version = store.NewVersion()
	go func() { waiting <- s.Replace(t.Context(), next, rec.Version) }()
	if _, err := conn.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-waiting; err != nil {
		t.Errorf("Replace when the lock is free: %v", err)
	}
	if got, err := s.Load(t.Context(), rec.Key); err != nil || got.Version != next.Version {
		t.Errorf("Load after it: got version %d (%v), want %d", got.Version, err, next.Version)
	}
}

// A file that can't be written to is an error that says so, and never an answer about the record.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	path := file(t)
	rec := sqltest.Create(t, open(t, path, nil), sqltest.NewRecord("ann"))
	db := database(t, path)
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	s, err := sqlitestore.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate where everything is there: %v", err)
	}
	for name, call := range sqltest.Calls(s, rec) {
		err := call(t.Context())
		switch {
		case name == "Load" || name == "Principal" || name == "All":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) ||
			!strings.Contains(err.Error(), "writable"):
			t.Errorf("%s: got error %v, want one that says what is wrong", name, err)
		}
	}
}

// Close of a Store by New leaves the database alone.
func TestCloseLeavesTheCallersDatabase(t *testing.T) {
	t.Parallel()
	db := database(t, file(t))
	s, err := sqlitestore.New(db, nil)
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
