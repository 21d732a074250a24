package redisstore_test

import (
	"sync"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
	"github.com/hipflask/session/store/storetest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var redis = sync.OnceValue(func() *servertest.Server { return servertest.Redis(servertest.Shared) })

func open(tb testing.TB) store.Store {
	tb.Helper()
	s, err := redisstore.Open(tb.Context(), redis().URL, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, open, storetest.OwnExpiry())
}

func BenchmarkConformance(b *testing.B) { storetest.Bench(b, open, storetest.OwnExpiry()) }
