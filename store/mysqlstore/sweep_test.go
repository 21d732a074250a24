package mysqlstore_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/mysqlstore"
)

// Sweepers that meet each other, and writers of the rows that they remove, get in no deadlock that anybody sees.
func TestSweepersAndWriters(t *testing.T) {
	t.Parallel()
	s := open(t, server().URL, &mysqlstore.Options{Table: sqltest.Table()})
	const n = 1300
	recs := sqltest.Expired(t, s, n)
	live := sqltest.Create(t, s, sqltest.NewRecord("ann"))
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
				again := sqltest.NewRecord("bob")
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
				if err := s.Touch(t.Context(), again.Key, again.Version, again.LastSeenAt,
					again.ExpiresAt); err != nil {
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
	s, err := mysqlstore.New(database(t, owner, ""), &mysqlstore.Options{Table: sqltest.Table()})
	if err != nil {
		t.Fatal(err)
	}
	sqltest.Migrated(t, s, nil)
	rec := sqltest.Create(t, s, sqltest.NewRecord("ann"))
	for range 300 { // the server's clock may tick in between, not every time
		if err := s.Touch(t.Context(), rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt); err != nil {
			t.Fatalf("Touch by the times that are there: %v", err)
		}
	}
	if err := s.Create(t.Context(), rec); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create of what is there, the same in everything: got error %v, want ErrExists", err)
	}
}

// The victim of a deadlock, which the server has undone, is sent again.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	opts := &mysqlstore.Options{Table: sqltest.Table()}
	s := open(t, server().URL, opts)
	recs := []store.Record{sqltest.NewRecord(""), sqltest.NewRecord("")}
	for i := range recs {
		recs[i].ExpiresAt = time.Now().Add(time.Duration(i-2) * time.Minute)
		sqltest.Create(t, s, recs[i])
	}
	db := database(t, owner, "")
	side := sqltest.Table()
	run(t, "CREATE TABLE "+side+" (n INT PRIMARY KEY) ENGINE = InnoDB")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	lock := "SELECT 1 FROM " + opts.Table + " WHERE record_key = ? FOR UPDATE"
	// So much work that the other one is the cheaper victim.
	if _, err := tx.ExecContext(t.Context(), "INSERT INTO "+side+" SELECT seq FROM seq_1_to_5000"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), lock, recs[1].Key); err != nil {
		t.Fatal(err)
	}
	swept := make(chan error, 1)
	go func() {
		n, err := s.Sweep(t.Context(), 10)
		if err == nil && n != len(recs) {
			err = fmt.Errorf("got %d removed, want %d", n, len(recs))
		}
		swept <- err
	}()
	// InnoDB renews what it shows there when nobody has looked for a tenth of a second.
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for waits := 0; waits == 0; <-tick.C {
		err := db.QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE ?",
			"%"+opts.Table+"%").Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tx.ExecContext(t.Context(), lock, recs[0].Key); err != nil {
		t.Fatalf("the transaction that was not to be the victim: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-swept; err != nil {
		t.Errorf("Sweep, the victim of a deadlock: %v", err)
	}
}
