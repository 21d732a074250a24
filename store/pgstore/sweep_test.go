package pgstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/pgstore"
)

// What another sweeper is about to remove is left to it: nobody waits.
func TestSweepSkipsLocked(t *testing.T) {
	t.Parallel()
	opts := &pgstore.Options{Table: sqltest.Table()}
	s := open(t, server().URL, opts)
	sqltest.Expired(t, s, 10)
	tx, err := pool(t, server().URL, nil).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), "SELECT 1 FROM "+opts.Table+" ORDER BY deadline LIMIT 4 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // for one that waits
	defer cancel()
	if n, err := s.Sweep(ctx, 100); n != 6 || err != nil {
		t.Errorf("Sweep while 4 of 10 are locked: got %d removed (%v), want 6", n, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), 100); n != 4 || err != nil {
		t.Errorf("Sweep of the rest: got %d removed (%v), want 4", n, err)
	}
}

// Several sweepers share the work, in more than one statement each.
func TestSweepers(t *testing.T) {
	t.Parallel()
	s := open(t, server().URL, &pgstore.Options{Table: sqltest.Table()})
	const n = 1300
	sqltest.Expired(t, s, n)
	live := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	var removed atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			got, err := s.Sweep(t.Context(), n)
			if err != nil {
				t.Errorf("Sweep: %v", err)
			}
			removed.Add(int64(got))
		})
	}
	wg.Wait()
	if removed.Load() != n {
		t.Errorf("two sweepers have removed %d, want %d", removed.Load(), n)
	}
	if _, err := s.Load(t.Context(), live.Key); err != nil {
		t.Errorf("Load of what has not expired: %v", err)
	}
}
