package pgstore_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/pgstore"
)

// No text of an error tells the password, nor anything else of the URL that PostgreSQL itself does not say.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	good := server().URL
	nobody := "127.0.0.1:" + servertest.FreePort(t)
	for _, row := range []struct{ name, url, want string }{
		{"wrong password", strings.Replace(good, "open%20sesame", "open%20barley", 1), "28P01"},
		{"no such database", good + "_barley", "3D000"},
		{"nobody there", "postgres://hipflask:barley@" + nobody + "/x", "refused"},
		{"no TLS", good + "?sslmode=require", "TLS"},
		{"no URL", "postgres://hipflask:barley@[::1", "can't be read"},
		{"a bad setting", good + "?pool_max_conns=barley", "can't be read"},
		{"a bad table", good, "Table"},
	} {
		opts := new(pgstore.Options)
		if row.name == "a bad table" {
			opts.Table = "barley barley"
		}
		_, err := pgstore.Open(t.Context(), row.url, opts)
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), "pgstore: ") {
			t.Errorf("%s: got error %v, want one with %q", row.name, err, row.want)
		}
		// The name of a database is what the server says itself; pgx would say user and database in any case.
		if err != nil && (strings.Contains(strings.ReplaceAll(err.Error(), "hipflask_barley", ""), "barley") ||
			strings.Contains(err.Error(), "user=")) {
			t.Errorf("%s: the error quotes: %v", row.name, err)
		}
	}
}

// A server that can't be written to is an error that says so, and never an answer about the record.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	opts := &pgstore.Options{Table: sqltest.Table()}
	rec := sqltest.Create(t, open(t, server().URL, opts), sqltest.NewRecord("ann"))
	s, err := pgstore.Open(t.Context(), server().URL+"?default_transaction_read_only=on", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sqltest.ReadOnly(t, s, rec)
}

// Connections that end in the middle are errors; what was answered is there, and the Store goes on.
func TestConnectionsAreKilled(t *testing.T) {
	t.Parallel()
	opts := &pgstore.Options{Table: sqltest.Table()}
	url := server().URL + "?application_name=" + opts.Table
	s := open(t, url, opts)
	admin := pool(t, server().URL, nil)
	sqltest.Killed(t, s, func() {
		if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
			"WHERE application_name = $1", opts.Table); err != nil {
			t.Fatal(err)
		}
	})
}

// A server that swallows everything keeps nobody longer than the context.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	proxy := servertest.NewProxy(t, server().Addr)
	opts := &pgstore.Options{Table: sqltest.Table()}
	s := open(t, strings.Replace(server().URL, server().Addr, proxy.Addr, 1), opts)
	sqltest.Hangs(t, s, proxy)
}

// Under a stricter isolation the server refuses what would otherwise wait. That is no error of the store's.
func TestSerializable(t *testing.T) {
	t.Parallel()
	p := pool(t, server().URL, func(c *pgxpool.Config) {
		c.MaxConns = 8
		c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable"
	})
	s, err := pgstore.New(p, &pgstore.Options{Table: sqltest.Table()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				got, err := s.Load(t.Context(), rec.Key)
				if err != nil {
					t.Errorf("Load: %v", err)
					return
				}
				next := got
				next.Version = store.NewVersion()
				switch err := s.Replace(t.Context(), next, got.Version); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("Replace among others: got error %v, want nil or ErrConflict", err)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() == 0 {
		t.Error("no Replace has won")
	}
}
