package memcachedstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flasksession/layouttest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
	"github.com/hipflask/session/store/storetest"
)

func openFlask(tb testing.TB, url string, opts *memcachedstore.FlaskOptions) *memcachedstore.FlaskStore {
	tb.Helper()
	s, err := memcachedstore.OpenFlaskSession(tb.Context(), url, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// takenBack is what a layout of two items can't do: seldom, on a busy machine, a request answers 503.
const takenBack = "a mark stands for a moment, and is taken back, when the session was just changed: who follows it meanwhile gets in the way of the login"

func TestFlaskConformance(t *testing.T) {
	t.Parallel()
	layouttest.Run(t, func(tb testing.TB) store.Store { return openFlask(tb, shared().URL, nil) }, nil, nil,
		storetest.OwnExpiry(), storetest.CoarseExpiry(coarse), storetest.MaxData(maxData/2),
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
	if err := p.client.Set(&memcache.Item{Key: "session:" + key, Value: document, Expiration: int32(life.Seconds())}); err != nil {
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

func TestFlaskShared(t *testing.T) {
	t.Parallel()
	layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
		p := pymemcache{tb, bare(tb, shared().Addr)}
		return layouttest.Backend{
			Store: openFlask(tb, shared().URL, nil), Serializer: flask.Msgpack, Set: p.set, Get: p.get, Delete: p.delete, Timeless: true, Leaves: true,
		}
	})
}

// TestFlaskTouchesOnce: memcached tells no time left, but a process knows what it has written.
func TestFlaskTouchesOnce(t *testing.T) {
	t.Parallel()
	p := pymemcache{t, bare(t, shared().Addr)}
	s := openFlask(t, shared().URL, nil)
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

func TestFlaskNames(t *testing.T) {
	t.Parallel()
	client := bare(t, shared().Addr)
	s, err := memcachedstore.FlaskSession(client, &memcachedstore.FlaskOptions{KeyPrefix: "shop:"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), store.Record{Key: "names", ExpiresAt: time.Now().Add(time.Hour), Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if item, err := client.Get("shop:names"); err != nil || string(item.Value) != "x" || item.Flags != 0 {
		t.Errorf("got %v, %v", item, err)
	}
	if _, err := memcachedstore.FlaskSession(client, &memcachedstore.FlaskOptions{KeyPrefix: strings.Repeat("x", 200)}); err == nil {
		t.Error("a prefix of 200 bytes was taken")
	}
	if _, err := memcachedstore.FlaskSession(nil, nil); err == nil {
		t.Error("a nil client was taken")
	}
}
