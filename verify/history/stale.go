package history

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

// Cached returns views of s for n servers, each of which has a cache: its LoadStale returns the oldest record that
// bound allows, or half as old, or the newest, each server another one. A server forgets what it writes itself, or
// tries to.
func Cached(s store.Store, bound time.Duration, n int) []store.Store {
	all := &versions{Store: s, of: map[string][]version{}, first: map[string]time.Time{}}
	var views []store.Store
	for i := range n {
		views = append(views, &cached{versions: all, age: bound * time.Duration(2-i%3) / 2,
			own: map[string]time.Time{}})
	}
	return views
}

// versions remembers each record that was under a key.
type versions struct {
	store.Store
	mu sync.Mutex
	of map[string][]version // the oldest first
	// first is when somebody first asked for a key. Nobody can have what was there before: a new ID whose record is
	// still being made.
	first map[string]time.Time
}

type version struct {
	at  time.Time
	rec store.Record // without a Key: none
}

type cached struct {
	*versions
	age time.Duration
	own map[string]time.Time // when this server last wrote a key, or read it past the cache
}

// Unwrap makes the listings those of the store behind.
func (c *cached) Unwrap() store.Store { return c.Store }

// wrote notes a call that was to write key; change is what it has done, if it has.
func (c *cached) wrote(key string, err error, change func(rec *store.Record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own[key] = time.Now()
	if err == nil {
		var rec store.Record
		if list := c.of[key]; len(list) > 0 {
			rec = list[len(list)-1].rec
		}
		change(&rec)
		rec.Data, rec.Public = bytes.Clone(rec.Data), bytes.Clone(rec.Public)
		c.of[key] = append(c.of[key], version{c.own[key], rec})
	}
	return err
}

func (c *cached) Load(ctx context.Context, key string) (store.Record, error) {
	rec, err := c.Store.Load(ctx, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own[key] = time.Now()
	return rec, err
}

func (c *cached) LoadStale(_ context.Context, key string) (store.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if _, ok := c.first[key]; !ok {
		c.first[key] = now
	}
	then := now.Add(-c.age)
	for _, bound := range []time.Time{c.own[key], c.first[key]} {
		if bound.After(then) {
			then = bound
		}
	}
	for _, v := range slices.Backward(c.of[key]) {
		if v.at.After(then) {
			continue
		}
		if v.rec.Key == "" || !now.Before(v.rec.ExpiresAt) {
			break
		}
		v.rec.Data, v.rec.Public = bytes.Clone(v.rec.Data), bytes.Clone(v.rec.Public)
		return v.rec, nil
	}
	return store.Record{}, store.ErrNotFound
}

func (c *cached) Create(ctx context.Context, rec store.Record) error {
	return c.wrote(rec.Key, c.Store.Create(ctx, rec), func(now *store.Record) { *now = rec })
}

func (c *cached) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return c.wrote(rec.Key, c.Store.Replace(ctx, rec, version), func(now *store.Record) { *now = rec })
}

func (c *cached) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return c.wrote(key, c.Store.Touch(ctx, key, version, seen, expires), func(now *store.Record) {
		now.LastSeenAt, now.ExpiresAt = seen, expires
	})
}

func (c *cached) Delete(ctx context.Context, key string) error {
	return c.wrote(key, c.Store.Delete(ctx, key), func(now *store.Record) { *now = store.Record{} })
}

// A stamp is a moment on both clocks of a run.
type stamp struct {
	tick int64
	at   time.Duration
}

// A place is an ID as one server knows it.
type place struct{ server, id int }

// A contact is a call of a server's store, past its cache, that was answered: it has read what is there, or was to
// write it.
type contact struct{ began, answered int64 }

// widen lets each read that a cache may have answered come so much earlier as Pace.Stale allows, but not before the
// last contact of its server: a read of what was there some time ago is a read that was some time ago.
func (r *run) widen(ops []*op) {
	for _, o := range ops {
		if !o.stale {
			continue
		}
		earliest := int64(0)
		for _, s := range r.stamps {
			if s.at < o.callAt-r.Stale {
				earliest = max(earliest, s.tick+1)
			}
		}
		for _, c := range r.contacts[place{o.server, o.id}] {
			if c.answered < o.call {
				earliest = max(earliest, c.began+1)
			}
		}
		o.call = min(o.call, earliest)
	}
}
