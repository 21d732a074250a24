package memcachedstore_test

import (
	"flag"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
	"github.com/hipflask/session/store/storetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // most tests wait for an expiry, and need no processor meanwhile
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

// The records are spread over two servers; the order in which they are named has no meaning.
func TestConformance(t *testing.T) {
	t.Parallel()
	a, b := shared(), servertest.Memcached(t, "-m", "256")
	var opened atomic.Int64
	storetest.Run(t, func(tb testing.TB) store.Store {
		url := a.URL + "," + b.Addr
		if opened.Add(1)%2 == 0 {
			url = b.URL + "," + a.Addr
		}
		return open(tb, url, nil)
	}, storetest.NoIndex(), storetest.OwnExpiry(), storetest.CoarseExpiry(coarse), storetest.MaxData(maxData))
}

func BenchmarkConformance(b *testing.B) {
	storetest.Bench(b, func(tb testing.TB) store.Store {
		return open(tb, shared().URL, nil)
	}, storetest.NoIndex(), storetest.MaxData(maxData))
}
