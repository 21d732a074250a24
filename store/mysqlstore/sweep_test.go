package mysqlstore_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
)

// Sweepers that meet each other, and writers of the rows that they remove, get in no deadlock that anybody sees.
func TestSweepersAndWriters(t *testing.T) {
	t.Parallel()
	s := open(t, server().URL, &mysqlstore.Options{Table: table()})
	const n = 1300
	recs := expired(t, s, n)
	live := create(t, s, newRecord("ann"))
	var removed, created, deleted atomic.Int64
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
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n/4; i += 4 {
				again := newRecord("bob")
				again.Key = recs[i].Key
				if err := s.Create(t.Context(), again); err != nil {
					t.Errorf("Create of an expired key: %v", err)
				}
				created.Add(1)
				if err := s.Delete(t.Context(), recs[n-1-i].Key); err != nil {
					t.Errorf("Delete of an expired key: %v", err)
				}
				deleted.Add(1)
				again.ExpiresAt = again.ExpiresAt.Add(-again.ExpiresAt.Sub(again.LastSeenAt) / 2)
				if err := s.Touch(t.Context(), again.Key, again.Version, again.LastSeenAt, again.ExpiresAt); err != nil {
					t.Errorf("Touch: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if most := int64(n); removed.Load() > most || removed.Load() < most-created.Load()-deleted.Load() {
		t.Errorf("two sweepers have removed %d, want %d without those that others took", removed.Load(), n)
	}
	var left int
	for _, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		left++
	}
	if int64(left) != created.Load()+1 {
		t.Errorf("got %d records, want the %d that were created", left, created.Load()+1)
	}
	if _, err := s.Load(t.Context(), live.Key); err != nil {
		t.Errorf("Load of what has not expired: %v", err)
	}
}

// Without clientFoundRows the server does not count a row that was the same before.
func TestTouchThatChangesNothing(t *testing.T) {
	t.Parallel()
	s, err := mysqlstore.New(database(t, owner, ""), &mysqlstore.Options{Table: table()})
	if err != nil {
		t.Fatal(err)
	}
	migrated(t, s)
	rec := create(t, s, newRecord("ann"))
	for range 300 { // the server's clock may tick in between, not every time
		if err := s.Touch(t.Context(), rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt); err != nil {
			t.Fatalf("Touch by the times that are there: %v", err)
		}
	}
	if err := s.Create(t.Context(), rec); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create of what is there, the same in everything: got error %v, want ErrExists", err)
	}
}
