package redisstore

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// This file serves reads that may be stale from memory: see Options.MaxStale.
//
// The server remembers which keys a connection has read, and pushes a message when one of them changes (CLIENT
// TRACKING, redis.io/docs/latest/develop/reference/client-side-caching). That usually takes less than a millisecond,
// but nothing can be concluded from silence. So each record has an age as well, which counts from before its read was
// sent.

// longestMaxStale is what store.StaleLoader allows.
const longestMaxStale = time.Minute

// cacheShards and cacheBytes bound the memory for records, with what the cache itself needs for them. A record of more
// than a shard's share is not kept.
const (
	cacheShards = 256
	cacheBytes  = 64 << 20
	cacheEntry  = 400 // bytes, besides the record's texts
)

var errNoCache = fmt.Errorf("redisstore: Options.MaxStale is zero: %w", errors.ErrUnsupported)

// LoadStale implements [store.StaleLoader]: it may return a live record as it was up to Options.MaxStale before the
// call, but not from before the last write of this Store. Tombstones are never stale, nor is it that a record is
// absent. [errors.ErrUnsupported]: MaxStale is zero.
func (s *Store) LoadStale(ctx context.Context, key string) (store.Record, error) {
	if s.cache == nil {
		return store.Record{}, errNoCache
	}
	if err := check(key); err != nil {
		return store.Record{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.Record{}, failed("load", err)
	}
	if rec, ok := s.cache.get(key); ok {
		return rec, nil
	}
	if rec, err := s.loadTracked(ctx, key); err == nil && rec.Kind == store.Live {
		return rec, nil
	}
	return s.Load(ctx, key)
}

// loadTracked reads a record, and keeps it if it is live and the server is going to say when it changes. GETRANGE is
// what the server remembers, since only a command that can't write is tracked; GETEX is refused by a replica, as in
// get.
func (s *Store) loadTracked(ctx context.Context, key string) (rec store.Record, err error) {
	name := s.recordKey(key)
	if s.silent.Load() || s.doubts != nil && s.doubts.any(s.slot(name)) {
		return rec, errNoCache // Load knows what to do
	}
	changes := s.cache.changes(key)
	sent := time.Now()
	w := watches.Get().(*watch)
	defer w.stop()
	b := s.client.B()
	var value []byte
	for i, res := range s.client.DoMulti(w.start(ctx),
		b.ClientCaching().Yes().Build(),
		b.Arbitrary("GETRANGE").Keys(name).Args("0", "0").Build(),
		b.Arbitrary("GETEX").Keys(name).Build(),
	) {
		if res.NonRedisError() != nil {
			s.silent.Store(true)
		}
		if err := res.Error(); err != nil {
			return rec, failed("load", err)
		}
		if i == 2 {
			value, err = res.AsBytes()
		}
	}
	rec, ok := unpack(key, value)
	if err != nil || !ok {
		return rec, store.ErrNotFound
	}
	if rec.Kind == store.Live {
		s.cache.put(rec, sent, changes)
	}
	return rec, nil
}

// changed is called after each write of this Store: what was read before it must not be served.
func (s *Store) changed(key string) {
	if s.cache != nil {
		s.cache.forget(key)
	}
}

// found is called with what Load has found: what the cache has must not be older.
func (s *Store) found(key string, rec *store.Record) {
	if s.cache != nil {
		s.cache.forgetOther(key, rec)
	}
}

// cache holds live records that were read less than maxStale ago.
type cache struct {
	maxStale time.Duration
	prefix   string // of keys on the server
	seed     maphash.Seed
	shards   [cacheShards]cacheShard
}

type cacheShard struct {
	mu      sync.Mutex
	changes uint64 // how often something was forgotten
	bytes   int
	entries map[string]*list.Element
	order   list.List // of *cached: the oldest first, roughly
}

type cached struct {
	rec  store.Record
	sent time.Time // the read of rec
}

func (e *cached) bytes() int {
	r := &e.rec
	return cacheEntry + len(r.Key) + len(r.Principal) + len(r.Label) + len(r.MovedTo) + len(r.Handle) + len(r.Public) +
		len(r.Data)
}

// newCache returns a cache for keys with that prefix on the server.
func newCache(maxStale time.Duration, prefix string) *cache {
	c := &cache{maxStale: maxStale, prefix: prefix, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = map[string]*list.Element{}
	}
	return c
}

func (c *cache) shard(key string) *cacheShard {
	return &c.shards[maphash.String(c.seed, key)%cacheShards]
}

// stale reports whether e must not be served at that time. Both clocks count: the monotonic one may stand still while
// the machine is suspended, and the other one may be set back.
func (c *cache) stale(e *cached, now time.Time) bool {
	age := max(now.Sub(e.sent), now.Round(0).Sub(e.sent.Round(0)))
	return age >= c.maxStale || !now.Before(e.rec.ExpiresAt)
}

func (c *cache) get(key string) (rec store.Record, ok bool) {
	s := c.shard(key)
	s.mu.Lock()
	if at := s.entries[key]; at != nil {
		if e := at.Value.(*cached); c.stale(e, time.Now()) {
			s.remove(at)
		} else {
			rec, ok = e.rec, true
		}
	}
	s.mu.Unlock()
	return cloned(rec), ok
}

// cloned returns rec with bytes of its own. Nobody changes those in the cache.
func cloned(rec store.Record) store.Record {
	rec.Public, rec.Data = bytes.Clone(rec.Public), bytes.Clone(rec.Data)
	return rec
}

// changes returns what put wants to know from before the read.
func (c *cache) changes(key string) uint64 {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// put keeps rec, whose read was sent at that time, unless its key may have been forgotten since.
func (c *cache) put(rec store.Record, sent time.Time, changes uint64) {
	e := &cached{cloned(rec), sent}
	n := e.bytes()
	s := c.shard(rec.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != changes || n > cacheBytes/cacheShards {
		return
	}
	if at := s.entries[rec.Key]; at != nil { // another request has read it too
		s.remove(at)
	}
	s.entries[rec.Key] = s.order.PushBack(e)
	s.bytes += n
	now := time.Now()
	for at := s.order.Front(); s.bytes > cacheBytes/cacheShards ||
		c.stale(at.Value.(*cached), now); at = s.order.Front() {
		s.remove(at)
		if s.order.Len() == 0 {
			break
		}
	}
}

func (s *cacheShard) remove(at *list.Element) {
	e := s.order.Remove(at).(*cached)
	delete(s.entries, e.rec.Key)
	s.bytes -= e.bytes()
}

func (c *cache) forget(key string) { c.forgetOther(key, &store.Record{}) }

// forgetOther forgets what is under key, unless it is rec.
func (c *cache) forgetOther(key string, rec *store.Record) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.entries[key]
	if at != nil {
		if r := &at.Value.(*cached).rec; r.Version == rec.Version && r.LastSeenAt.Equal(rec.LastSeenAt) {
			return
		}
		s.remove(at)
	}
	s.changes++
}

// invalidated is told by the client which keys have changed; nil: any may have, as when a connection is lost. It
// doesn't wait for anything, since the connection waits for it.
func (c *cache) invalidated(names []rueidis.RedisMessage) {
	if names == nil {
		for i := range c.shards {
			s := &c.shards[i]
			s.mu.Lock()
			s.changes++
			s.bytes = 0
			clear(s.entries)
			s.order.Init()
			s.mu.Unlock()
		}
		return
	}
	for _, message := range names {
		if name, err := message.ToString(); err == nil {
			if key, ours := strings.CutPrefix(name, c.prefix); ours {
				c.forget(key)
			}
		}
	}
}
