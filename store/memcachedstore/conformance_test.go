package memcachedstore_test

import (
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
	"github.com/hipflask/session/store/storetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "64") // most tests wait for an expiry, and need no processor meanwhile
	servertest.Main(m)
}

// shared is the server of all tests that leave it alone.
var shared = sync.OnceValue(func() *servertest.Server { return servertest.Memcached(servertest.Shared, "-m", "1024") })

// open opens a store that ends with the test.
func open(tb testing.TB, url string, opts *memcachedstore.Options) *memcachedstore.Store {
	tb.Helper()
	s, err := memcachedstore.Open(tb.Context(), url, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// coarse is what the package documentation says about expiry.
const coarse = 4 * time.Second

// maxData leaves room for the largest head, key and texts in an item of 1 MiB.
const maxData = 1_000_000

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(tb testing.TB) store.Store { return open(tb, shared().URL, nil) },
		storetest.NoIndex(), storetest.OwnExpiry(), storetest.CoarseExpiry(coarse), storetest.MaxData(maxData))
}

// Two servers share the records; the suite must not notice.
func TestConformanceOfSeveralServers(t *testing.T) {
	t.Parallel()
	a, b := servertest.Memcached(t, "-m", "256"), servertest.Memcached(t, "-m", "256")
	there, back := a.URL+","+b.Addr, b.URL+","+a.Addr
	storetest.Run(t, func(tb testing.TB) store.Store {
		there, back = back, there // the order has no meaning
		return open(tb, there, &memcachedstore.Options{Prefix: "shop/"})
	}, storetest.NoIndex(), storetest.OwnExpiry(), storetest.CoarseExpiry(coarse), storetest.MaxData(maxData))
}

func BenchmarkConformance(b *testing.B) {
	storetest.Bench(b, func(tb testing.TB) store.Store { return open(tb, shared().URL, nil) }, storetest.NoIndex(), storetest.MaxData(maxData))
}
