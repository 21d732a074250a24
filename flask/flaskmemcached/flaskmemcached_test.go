package flaskmemcached_test

import (
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskmemcached"
	"github.com/hipflask/session/flask/flasksession/layouttest"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/storetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // most tests wait for an expiry, and need no processor meanwhile
	servertest.Main(m)
}

// shared is the server of all tests.
var shared = sync.OnceValue(func() *servertest.Server { return servertest.Memcached(servertest.Shared, "-m", "1024") })

// coarse is what the documentation of package memcachedstore says about expiry.
const coarse = 4 * time.Second

// maxData leaves room for the largest head, key and texts of two records in an item of 1 MiB.
const maxData = 500_000

// bare returns a client of its own for the server at addr.
func bare(tb testing.TB, addr string) *memcache.Client {
	c := memcache.New(addr)
	c.Timeout = 10 * time.Second
	tb.Cleanup(func() { c.Close() })
	return c
}

func open(tb testing.TB, url string, opts *flaskmemcached.Options) *flaskmemcached.Store {
	tb.Helper()
	s, err := flaskmemcached.Open(tb.Context(), url, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// takenBack is what a layout of two items can't do: seldom, on a busy machine, a request answers 503.
const takenBack = "a mark stands for a moment, and is taken back, when the session was just changed: " +
	"who follows it meanwhile gets in the way of the login"

func TestConformance(t *testing.T) {
	t.Parallel()
	layouttest.Run(t, func(tb testing.TB) store.Store { return open(tb, shared().URL, nil) }, nil, nil,
		storetest.OwnExpiry(), storetest.CoarseExpiry(coarse), storetest.MaxData(maxData),
		storetest.Except("CreateRefusesATombstone", "an ID is made once: Create saves the look for a mark"),
		storetest.Except("P3LoginAmongWrites", takenBack),
		storetest.Except("P3RenewalKeepsWrites", takenBack),
		storetest.Except("P3ParallelRenewals", takenBack))
}

// pymemcache is what Flask-Session 0.8 does with a client (flask_session/memcached/memcached.py).
type pymemcache struct {
	t      testing.TB
	client *memcache.Client
}

func (p pymemcache) set(key string, document []byte, life time.Duration) {
	if err := p.client.Set(&memcache.Item{Key: "session:" + key, Value: document,
		Expiration: int32(life.Seconds())}); err != nil {
		p.t.Error(err)
	}
}

func (p pymemcache) get(key string) ([]byte, time.Duration, bool) {
	item, err := p.client.Get("session:" + key)
	if err != nil {
		return nil, 0, false
	}
	return item.Value, 0, true
}

func (p pymemcache) delete(key string) {
	if err := p.client.Delete("session:" + key); err != nil && err != memcache.ErrCacheMiss {
		p.t.Error(err)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
		p := pymemcache{tb, bare(tb, shared().Addr)}
		return layouttest.Backend{
			Store: open(tb, shared().URL, nil), Serializer: flask.Msgpack, Set: p.set, Get: p.get, Delete: p.delete,
			Timeless: true, Leaves: true,
		}
	})
}

// TestTouchesOnce: memcached tells no time left, but a process knows what it has written.
func TestTouchesOnce(t *testing.T) {
	t.Parallel()
	p := pymemcache{t, bare(t, shared().Addr)}
	s := open(t, shared().URL, nil)
	p.set("touches-once-touches-once", []byte("x"), time.Hour)
	rec, err := s.Load(t.Context(), "touches-once-touches-once")
	if err != nil || !rec.ExpiresAt.IsZero() {
		t.Fatalf("got expiry %v, %v; want none", rec.ExpiresAt, err)
	}
	later := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	if err := s.Touch(t.Context(), rec.Key, rec.Version, time.Now(), later); err != nil {
		t.Fatal(err)
	}
	if rec, err = s.Load(t.Context(), rec.Key); err != nil || !rec.ExpiresAt.Equal(later) {
		t.Errorf("got expiry %v, %v; want %v", rec.ExpiresAt, err, later)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	client := bare(t, shared().Addr)
	s, err := flaskmemcached.New(client, &flaskmemcached.Options{KeyPrefix: "shop:"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), store.Record{Key: "names", ExpiresAt: time.Now().Add(time.Hour),
		Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if item, err := client.Get("shop:names"); err != nil || string(item.Value) != "x" || item.Flags != 0 {
		t.Errorf("got %v, %v", item, err)
	}
	if _, err := flaskmemcached.New(client, &flaskmemcached.Options{KeyPrefix: strings.Repeat("x", 200)}); err == nil {
		t.Error("a prefix of 200 bytes was taken")
	}
	if _, err := flaskmemcached.New(nil, nil); err == nil {
		t.Error("a nil client was taken")
	}
}
