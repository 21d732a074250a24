package sqltest

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
)

// Store has the methods that the stores in SQL databases share.
type Store interface {
	store.Store
	store.Lister
	store.Sweeper
	Migrate(context.Context) error
	Ping(context.Context) error
	Close() error
}

// Migrated makes the table of a store that an Open or New has returned, and closes the store at the end of the test.
func Migrated[S Store](tb testing.TB, s S, err error) S {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	if err := s.Migrate(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Table returns the name of a table that nobody else has.
func Table() string { return "t_" + strings.ToLower(rand.Text()) }

// NewRecord returns a live record of a principal.
func NewRecord(principal string) store.Record {
	now := time.Now().Truncate(time.Millisecond)
	return store.Record{
		Key: rand.Text(), Version: store.NewVersion(), Principal: principal, Label: "Firefox on Windows",
		Handle:    rand.Text(),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(time.Hour), Data: []byte(`{"visits":1}`),
	}
}

// Create stores a record and returns it.
func Create(tb testing.TB, s store.Store, rec store.Record) store.Record {
	tb.Helper()
	if err := s.Create(tb.Context(), rec); err != nil {
		tb.Fatal(err)
	}
	return rec
}

// Expired stores n records that have expired.
func Expired(tb testing.TB, s store.Store, n int) []store.Record {
	tb.Helper()
	recs := make([]store.Record, n)
	for i := range recs {
		recs[i] = NewRecord("")
		recs[i].ExpiresAt = time.Now().Add(-time.Second)
		Create(tb, s, recs[i])
	}
	return recs
}

// Calls returns a call of each method of package store, on one record.
func Calls(s Store, rec store.Record) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx, rec.Key); return err },
		"Create":  func(ctx context.Context) error { return s.Create(ctx, NewRecord("bob")) },
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
	}
}

// MigrateAtOnce starts ten servers of one application at the same moment. missing is in the text of the error
// that a missing table would give.
func MigrateAtOnce[S Store](t *testing.T, open func() (S, error), missing string) {
	t.Helper()
	var wg sync.WaitGroup
	for range 10 {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer s.Close()
			for range 2 {
				if err := s.Migrate(t.Context()); err != nil {
					t.Errorf("Migrate among others: %v", err)
				}
			}
			if _, err := s.Load(t.Context(), "key"); err == nil || strings.Contains(err.Error(), missing) {
				t.Errorf("Load as soon as Migrate has returned: got error %v, want that nothing is found", err)
			}
		})
	}
	wg.Wait()
}

// ReadOnly checks that the writes of a Store that may only read are errors that say so, and never an answer about rec,
// which it has.
func ReadOnly(t *testing.T, s Store, rec store.Record) {
	t.Helper()
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate where everything is there: %v", err)
	}
	if _, err := s.Load(t.Context(), rec.Key); err != nil {
		t.Errorf("Load: %v", err)
	}
	calls := Calls(s, rec)
	for _, name := range []string{"Create", "Replace", "Touch", "Delete", "Sweep"} {
		err := calls[name](t.Context())
		if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) ||
			!strings.Contains(err.Error(), "primary") {
			t.Errorf("%s: got error %v, want one that names the primary", name, err)
		}
	}
}

// Hangs checks that a server that swallows everything keeps no call longer than the context. proxy is the Store's way
// to it.
func Hangs(t *testing.T, s Store, proxy *servertest.Proxy) {
	t.Helper()
	rec := Create(t, s, NewRecord("ann"))
	proxy.Hold()
	const patience = 10 * time.Second
	calls := Calls(s, rec)
	calls["Migrate"], calls["Ping"] = s.Migrate, s.Ping
	for name, call := range calls {
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

// Killed checks that connections that end in the middle are errors, that what was answered is there, and that the Store
// goes on. kill ends the connections of s.
func Killed(t *testing.T, s Store, kill func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var failed sync.Once
	failure := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		rec := Create(t, s, NewRecord("ann"))
		wg.Go(func() {
			sent := map[uint64]bool{rec.Version: true} // a write that failed may be applied later
			for ctx.Err() == nil {
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
					failed.Do(func() { close(failure) })
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
	deadline := time.After(30 * time.Second)
	for n, hit, late := 0, false, false; (n < 20 || !hit) && !late; n++ {
		kill()
		for s.Ping(t.Context()) != nil && t.Context().Err() == nil {
		}
		select {
		case <-failure:
			hit = true
		case <-deadline:
			late = true
		default:
		}
	}
	stop()
	wg.Wait()
	select {
	case <-failure:
	default:
		t.Error("no write failed")
	}
}

// Floor holds Load and Replace of rec against the least that a client has to do: load is a SELECT and replace an UPDATE
// of one column by the primary key.
func Floor(b *testing.B, s store.Store, rec store.Record, load, replace func() error) {
	ctx := b.Context()
	for _, m := range []struct {
		name string
		call func() error
	}{
		{"op=load/by=client", load},
		{"op=load/by=store", func() error {
			_, err := s.Load(ctx, rec.Key)
			return err
		}},
		{"op=replace/by=client", replace},
		{"op=replace/by=store", func() error {
			old := rec.Version
			rec.Version = old%(1<<62) + 1
			rec.ExpiresAt = rec.ExpiresAt.Add(time.Millisecond)
			return s.Replace(ctx, rec, old)
		}},
	} {
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := m.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Full checks that a full disk is an error, and that the records that were stored stay, and can be read and changed
// when there is room again, which free makes. text is in the server's error.
func Full(t *testing.T, s store.Store, text string, free func()) {
	t.Helper()
	var kept []store.Record
	var full error
	for range 10_000 {
		rec := NewRecord("ann")
		rec.Data = []byte(strings.Repeat(rec.Key, 100))
		if full = s.Create(t.Context(), rec); full != nil {
			break
		}
		kept = append(kept, rec)
	}
	if full == nil || errors.Is(full, store.ErrExists) || !strings.Contains(full.Error(), text) || len(kept) == 0 {
		t.Fatalf("got error %v after %d records, want that the disk is full", full, len(kept))
	}
	for _, rec := range kept {
		if got, err := s.Load(t.Context(), rec.Key); err != nil || string(got.Data) != string(rec.Data) {
			t.Fatalf("Load on a full disk: %v", err)
		}
	}
	free()
	Create(t, s, NewRecord("bob"))
	for _, next := range kept {
		before := next.Version
		next.Version = store.NewVersion()
		if err := s.Replace(t.Context(), next, before); err != nil {
			t.Fatalf("Replace when there is room again: %v", err)
		}
	}
}
