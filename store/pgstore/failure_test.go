package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
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
	opts := &pgstore.Options{Table: table()}
	rec := create(t, open(t, server().URL, opts), newRecord("ann"))
	s, err := pgstore.Open(t.Context(), server().URL+"?default_transaction_read_only=on", opts)
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
	opts := &pgstore.Options{Table: table()}
	url := server().URL + "?application_name=" + opts.Table
	s := open(t, url, opts)
	admin := pool(t, server().URL, nil)
	var done atomic.Bool
	var killed atomic.Int64
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
				switch {
				case loadErr != nil:
					for loadErr != nil && t.Context().Err() == nil {
						got, loadErr = s.Load(t.Context(), rec.Key)
					}
					fallthrough
				case err != nil:
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
	const kills = 20
	for n, deadline := 0, time.Now().Add(30*time.Second); n < kills && time.Now().Before(deadline); n++ {
		tag, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
			"WHERE application_name = $1", opts.Table)
		if err != nil {
			t.Fatal(err)
		}
		killed.Add(tag.RowsAffected())
		create(t, retried{s}, newRecord("bob"))
	}
	done.Store(true)
	wg.Wait()
	if killed.Load() == 0 {
		t.Error("no connection was killed")
	}
}

// retried is a Store whose Create is called until it works.
type retried struct{ *pgstore.Store }

func (r retried) Create(ctx context.Context, rec store.Record) error {
	for {
		err := r.Store.Create(ctx, rec)
		if err == nil || errors.Is(err, store.ErrExists) || ctx.Err() != nil {
			return nil
		}
	}
}

// A server that swallows everything keeps nobody longer than the context.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	proxy := servertest.NewProxy(t, server().Addr)
	opts := &pgstore.Options{Table: table()}
	s := open(t, strings.Replace(server().URL, server().Addr, proxy.Addr, 1), opts)
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

// calls are all methods on one record.
func calls(s *pgstore.Store, rec store.Record) map[string]func(context.Context) error {
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

// Under a stricter isolation the server refuses what would otherwise wait. That is no error of the store's.
func TestSerializable(t *testing.T) {
	t.Parallel()
	p := pool(t, server().URL, func(c *pgxpool.Config) {
		c.MaxConns = 8
		c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable"
	})
	s, err := pgstore.New(p, &pgstore.Options{Table: table()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec := create(t, s, newRecord("ann"))
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
