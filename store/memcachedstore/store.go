package memcachedstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/store"
)

// Load implements [store.Store]. What is under the key and is no record of this package counts as absent.
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	var rec store.Record
	err := s.client.Do(ctx, "load", func(c *memcache.Client) error {
		item, err := s.gets(c, key)
		if err == nil {
			rec, err = present(key, item)
		}
		return err
	})
	if err != nil {
		return store.Record{}, err // rec may still be written to
	}
	return rec, nil
}

// Create implements [store.Store]. Something else under the key than a record is not overwritten: ErrExists.
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	value, err := encode(&rec)
	if err != nil {
		return err
	}
	return s.client.Do(ctx, "create", func(c *memcache.Client) error {
		err := c.Add(&memcache.Item{Key: s.prefix + rec.Key,
			Value: value, Expiration: Expiration(rec.ExpiresAt, time.Now())})
		if err == memcache.ErrNotStored {
			return store.ErrExists
		}
		return err
	})
}

// Replace implements [store.Store].
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	value, err := encode(&rec)
	if err != nil {
		return err
	}
	return s.update(ctx, "replace", rec.Key, version, rec.ExpiresAt, func([]byte) []byte { return value })
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return s.update(ctx, "touch", key, version, expires, func(value []byte) []byte {
		putTimes(value, seen, expires)
		return value
	})
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.client.Do(ctx, "delete", func(c *memcache.Client) error {
		err := c.Delete(s.prefix + key)
		if err == memcache.ErrCacheMiss {
			return nil
		}
		return err
	})
}

// rounds bounds how often update begins anew: far more often than requests of one session overlap.
const rounds = 64

// update stores what change makes of the value under key if that is a record of the given version.
func (s *Store) update(ctx context.Context, step, key string, version uint64, expires time.Time,
	change func(value []byte) []byte) error {
	return s.client.Do(ctx, step, func(c *memcache.Client) error {
		for range rounds {
			item, err := s.gets(c, key)
			if err != nil {
				return err
			}
			switch rec, err := present(key, item); {
			case err != nil:
				return err
			case rec.Version != version:
				return store.ErrConflict
			case ctx.Err() != nil: // the caller is gone: write no more than it has to expect
				return ctx.Err()
			}
			item.Value, item.Expiration = change(item.Value), Expiration(expires, time.Now())
			switch err := c.CompareAndSwap(item); err {
			case memcache.ErrCASConflict: // perhaps by a Touch, which leaves the version
			case memcache.ErrCacheMiss:
				return store.ErrNotFound
			default:
				return err
			}
		}
		return store.ErrConflict
	})
}

// gets returns the item under key, or ErrNotFound.
func (s *Store) gets(c *memcache.Client, key string) (item *memcache.Item, err error) {
	err = again(c, func(c *memcache.Client) (err error) {
		item, err = c.Get(s.prefix + key)
		return err
	})
	switch {
	case err == memcache.ErrCacheMiss:
		return nil, store.ErrNotFound
	case err != nil:
		return nil, err
	case item.Key != s.prefix+key: // the client doesn't look
		return nil, fmt.Errorf("%w: the server answered for another key", errOurs)
	}
	return item, nil
}

// present returns the record in item, or ErrNotFound.
func present(key string, item *memcache.Item) (store.Record, error) {
	rec, ok := decode(item.Value)
	if !ok || farOff(rec.ExpiresAt) && !time.Now().Before(rec.ExpiresAt) {
		return store.Record{}, store.ErrNotFound
	}
	rec.Key = key
	return rec, nil
}

const (
	// tick is by how much the server's clock may be behind when an item arrives: it counts seconds, and its timer may
	// come half a second late.
	tick = 1500 * time.Millisecond
	// longest is the greatest exptime that memcached takes for seconds from now and not for a date.
	longest = 30 * 24 * time.Hour
)

// farOff tells whether memcached can't express a date: exptime is a signed number of 32 bits.
func farOff(t time.Time) bool { return t.Add(2*tick).Unix() > math.MaxInt32 }

// Expiration returns memcached's exptime for an item that must be there until expires at least: a number of seconds,
// rounded up, or a date if it is more than 30 days away; -1, which is at once, if expires is not after now; and 0,
// which is never, for dates that memcached can't express, from 2038 on.
func Expiration(expires, now time.Time) int32 {
	left := expires.Sub(now)
	switch {
	case left <= 0:
		return -1 // at once: 0 would be never
	case left <= longest-2*tick:
		return int32(math.Ceil((left + tick).Seconds()))
	case farOff(expires):
		return 0 // no expiry: see present
	}
	return int32(expires.Add(2 * tick).Unix())
}

var errKeyless = errors.New("memcachedstore: the record has no key")
