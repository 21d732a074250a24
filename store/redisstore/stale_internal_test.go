package redisstore

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

func cachedRecord(key string, size int) store.Record {
	return store.Record{Key: key, Version: 1, Handle: "handle", ExpiresAt: time.Now().Add(time.Hour),
		Data: make([]byte, size)}
}

// A flood of keys takes no more memory than cacheBytes and what the runtime adds, and the newest records are kept.
func TestCacheIsBounded(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	c := newCache(time.Minute, "")
	const flood = 400_000 // of 200 bytes, for which cacheBytes has room for a quarter
	for i := range flood {
		key := "key-with-43-bytes-as-those-of-sessions-" + strconv.Itoa(i)
		c.put(cachedRecord(key, 200), time.Now(), c.changes(key))
	}
	kept := 0
	for i := range c.shards {
		s := &c.shards[i]
		sum := 0
		for at := s.order.Front(); at != nil; at = at.Next() {
			sum += at.Value.(*cached).bytes()
		}
		if s.bytes != sum || sum > cacheBytes/cacheShards || len(s.entries) != s.order.Len() {
			t.Fatalf("a shard has %d records of %d bytes in a list of %d, and counts %d; it may have %d bytes",
				len(s.entries), sum, s.order.Len(), s.bytes, cacheBytes/cacheShards)
		}
		kept += len(s.entries)
	}
	if used := heap() - before; used > cacheBytes*5/4 {
		t.Errorf("%d records take %d bytes of the heap, want at most a quarter more than %d", kept, used, cacheBytes)
	}
	if kept < flood/6 {
		t.Errorf("%d of %d records are kept: that is less than what there is room for", kept, flood)
	}
	if _, ok := c.get("key-with-43-bytes-as-those-of-sessions-" + strconv.Itoa(flood-1)); !ok {
		t.Error("the newest record is not kept")
	}
	c.put(cachedRecord("large", cacheBytes/cacheShards), time.Now(), c.changes("large"))
	if _, ok := c.get("large"); ok {
		t.Error("a record is kept that is as large as its shard may be")
	}
	c.invalidated(nil)
	for i := range c.shards {
		if s := &c.shards[i]; s.bytes != 0 || len(s.entries) != 0 || s.order.Len() != 0 {
			t.Fatalf("a shard still has %d records of %d bytes after the connection was lost", len(s.entries), s.bytes)
		}
	}
}

// What was forgotten while it was being read is not kept: the read may be older.
func TestCacheForgetsWhatIsBeingRead(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(c *cache){
		"the key has changed":      func(c *cache) { c.forget("key") },
		"a connection was lost":    func(c *cache) { c.invalidated(nil) },
		"Load has found another":   func(c *cache) { c.forgetOther("key", &store.Record{Version: 2}) },
		"Load has found no record": func(c *cache) { c.forgetOther("key", &store.Record{}) },
	} {
		c := newCache(time.Minute, "")
		changes := c.changes("key")
		forget(c)
		c.put(cachedRecord("key", 0), time.Now(), changes)
		if _, ok := c.get("key"); ok {
			t.Errorf("%s: a record is kept whose read began before", name)
		}
		c.put(cachedRecord("key", 0), time.Now(), c.changes("key"))
		if _, ok := c.get("key"); !ok {
			t.Errorf("%s: a record is not kept whose read began afterwards", name)
		}
		forget(c)
		if _, ok := c.get("key"); ok {
			t.Errorf("%s: the record is still there", name)
		}
	}
	c := newCache(time.Minute, "")
	c.put(cachedRecord("key", 0), time.Now(), c.changes("key"))
	rec := cachedRecord("key", 0)
	c.forgetOther("key", &rec)
	if _, ok := c.get("key"); !ok {
		t.Error("a record is forgotten that Load has found as it is")
	}
}

// A record's age is what the clock says that went further: one may stand still while the machine is suspended, the
// other one may be set.
func TestCacheAgesByBothClocks(t *testing.T) {
	t.Parallel()
	c := newCache(time.Minute, "")
	now := time.Now()
	for name, test := range map[string]struct {
		sent    time.Time
		expires time.Time
		stale   bool
	}{
		"young":                 {now.Add(-time.Minute + 1), now.Add(time.Hour), false},
		"old":                   {now.Add(-time.Minute), now.Add(time.Hour), true},
		"old by the wall clock": {now.Round(0).Add(-time.Minute), now.Add(time.Hour), true},
		"expired":               {now, now, true},
	} {
		rec := cachedRecord("key", 0)
		rec.ExpiresAt = test.expires
		if got := c.stale(&cached{rec, test.sent}, now); got != test.stale {
			t.Errorf("%s: got stale %v, want %v", name, got, test.stale)
		}
	}
}
