package memstore_test

import (
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/store/storetest"
)

func open(testing.TB) store.Store { return memstore.New(nil) }

func TestConformance(t *testing.T) {
	t.Parallel()
	narrow := func(testing.TB) store.Store { return memstore.New(&memstore.Options{MaxSessions: 100}) }
	storetest.Run(t, open, storetest.SingleOpen(), storetest.Bounded(narrow))
}

func BenchmarkConformance(b *testing.B) { storetest.Bench(b, open) }
