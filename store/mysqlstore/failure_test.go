package mysqlstore_test

import (
	"context"
	"errors"
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

// No text of an error tells the password, nor anything else of the URL that the server itself does not say.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	good := server().URL
	nobody := "127.0.0.1:" + servertest.FreePort(t)
	for _, row := range []struct{ name, url, table, want string }{
		{"wrong password", strings.Replace(good, "open%20sesame", "open%20barley", 1), "", "error 1045"},
		{"no such database", good + "_none", "", "error 1049"},
		{"nobody there", "mysql://hipflask:barley@" + nobody + "/x", "", "refused"},
		{"no TLS", good + "?tls=true", "", "TLS"},
		{"no URL", "mysql://hipflask:barley@[::1", "", "not of the form"},
		{"no database", "mysql://hipflask:barley@127.0.0.1", "", "not of the form"},
		{"another scheme", "barley://hipflask:barley@127.0.0.1/x", "", "not of the form"},
		{"a driver's DSN", "hipflask:barley@tcp(127.0.0.1)/x", "", "not of the form"},
		{"a bad setting", good + "?timeout=barley", "", "setting"},
		{"an unknown TLS configuration", good + "?tls=barley", "", "setting"},
		{"a bad table", good, "barley barley", "Table"},
	} {
		_, err := mysqlstore.Open(t.Context(), row.url, &mysqlstore.Options{Table: row.table})
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), "mysqlstore: ") {
			t.Errorf("%s: got error %v, want one with %q", row.name, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "barley") {
			t.Errorf("%s: the error quotes: %v", row.name, err)
		}
	}
}

func TestOpenBySocket(t *testing.T) {
	t.Parallel()
	url := "mysql://root@/" + servertest.User + "?socket=" + filepath.Join(server().Dir, "sock")
	create(t, open(t, url, &mysqlstore.Options{Table: table()}), newRecord("ann"))
}

// A server that can't be written to is an error that says so, and never an answer about the record.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	opts := &mysqlstore.Options{Table: table()}
	rec := create(t, open(t, server().URL, opts), newRecord("ann"))
	s, err := mysqlstore.Open(t.Context(), server().URL+"?tx_read_only=1", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate where everything is there: %v", err)
	}
	if _, err := s.Load(t.Context(), rec.Key); err != nil {
		t.Errorf("Load: %v", err)
	}
	_, sweepErr := s.Sweep(t.Context(), 1)
	for name, err := range map[string]error{
		"Create": s.Create(t.Context(), newRecord("ann")), "Replace": s.Replace(t.Context(), rec, rec.Version),
		"Touch":  s.Touch(t.Context(), rec.Key, rec.Version, time.Now(), rec.ExpiresAt),
		"Delete": s.Delete(t.Context(), rec.Key), "Sweep": sweepErr,
	} {
		if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) ||
			!strings.Contains(err.Error(), "primary") {
			t.Errorf("%s: got error %v, want one that names the primary", name, err)
		}
	}
}

// Connections that end in the middle are errors; what was answered is there, and the Store goes on.
func TestConnectionsAreKilled(t *testing.T) {
	t.Parallel()
	name := table()
	run(t, "CREATE USER "+name+"@127.0.0.1 IDENTIFIED BY 'secret'",
		"GRANT ALL ON "+servertest.User+".* TO "+name+"@127.0.0.1")
	s := open(t, strings.Replace(server().URL, servertest.User+":open%20sesame", name+":secret", 1),
		&mysqlstore.Options{Table: name})
	var done atomic.Bool
	var failed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		rec := create(t, s, newRecord("ann"))
		wg.Go(func() {
			sent := map[uint64]bool{rec.Version: true} // a write that failed may be applied later
			for !done.Load() {
				next := rec
				next.Version = store.NewVersion()
				sent[next.Version] = true
				err := s.Replace(t.Context(), next, rec.Version)
				got, loadErr := s.Load(t.Context(), rec.Key)
				for loadErr != nil && t.Context().Err() == nil {
					got, loadErr = s.Load(t.Context(), rec.Key)
				}
				switch {
				case err != nil:
					failed.Add(1)
					if !sent[got.Version] {
						t.Errorf("after an error: got a version that nobody wrote")
					}
				case got.Version != next.Version:
					t.Errorf("an acknowledged write is not there")
				}
				rec = got
			}
		})
	}
	for n, deadline := 0, time.Now().Add(30*time.Second); (n < 20 || failed.Load() == 0) &&
		time.Now().Before(deadline); n++ {
		run(t, "KILL USER '"+name+"'")
		for s.Ping(t.Context()) != nil && t.Context().Err() == nil {
		}
	}
	done.Store(true)
	wg.Wait()
	if failed.Load() == 0 {
		t.Error("no write failed")
	}
}

// A server that swallows everything keeps nobody longer than the context.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	proxy := servertest.NewProxy(t, server().Addr)
	s := open(t, strings.Replace(server().URL, server().Addr, proxy.Addr, 1), &mysqlstore.Options{Table: table()})
	rec := create(t, s, newRecord("ann"))
	proxy.Hold()
	const patience = 10 * time.Second
	for name, call := range calls(s, rec) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > patience {
			t.Errorf("%s: got error %v after %v, want that of the context, soon", name, err, took)
		}
		cancel()
	}
	proxy.Pass()
	// the Delete may have arrived
	if _, err := s.Load(t.Context(), rec.Key); err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load when the server is back: %v", err)
	}
}

// A connection that the network has reset is closed as well as one that answers.
func TestCloseAfterReset(t *testing.T) {
	t.Parallel()
	proxy := servertest.NewProxy(t, server().Addr)
	s, err := mysqlstore.Open(t.Context(), strings.Replace(server().URL, server().Addr, proxy.Addr, 1),
		&mysqlstore.Options{Table: table()})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 { // so that connections are idle on which no statement was prepared, whose close would come first
		wg.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	proxy.Reset()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// calls are all methods on one record.
func calls(s *mysqlstore.Store, rec store.Record) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx, rec.Key); return err },
		"Create":  func(ctx context.Context) error { return s.Create(ctx, newRecord("bob")) },
		"Replace": func(ctx context.Context) error { return s.Replace(ctx, rec, rec.Version) },
		"Touch": func(ctx context.Context) error {
			return s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, rec.Key) },
		"Sweep":  func(ctx context.Context) error { _, err := s.Sweep(ctx, 1); return err },
		"All": func(ctx context.Context) error {
			for _, err := range s.All(ctx) {
				return err
			}
			return nil
		},
		"Principal": func(ctx context.Context) error {
			for _, err := range s.Principal(ctx, rec.Principal) {
				return err
			}
			return nil
		},
		"Migrate": s.Migrate,
		"Ping":    s.Ping,
	}
}
