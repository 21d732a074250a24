package sqlitestore_test

import (
	"sync/atomic"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/internal/sqltest"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/storetest"
)

// Half of the Stores use connections as an application may have them, which wait for no lock.
func TestConformance(t *testing.T) {
	t.Parallel()
	path := file(t)
	var turn atomic.Int64
	storetest.Run(t, func(tb testing.TB) store.Store {
		if turn.Add(1)%2 == 0 {
			return open(tb, path, nil)
		}
		s, err := sqlitestore.New(database(tb, path), nil)
		if err != nil {
			tb.Fatal(err)
		}
		return sqltest.Migrated(tb, s, nil)
	})
}

func BenchmarkConformance(b *testing.B) {
	path := file(b)
	storetest.Bench(b, func(tb testing.TB) store.Store { return open(tb, path, nil) })
}
