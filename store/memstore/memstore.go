// Package memstore keeps sessions in the memory of the process: the fastest store. What it holds ends with the process
// and is not shared with others: it is for tests, and for one server that may lose its sessions at a restart.
//
//	sessions, err := session.New(session.Config{SecretKey: key, Store: memstore.New(nil)})
//
// # Concurrency
//
// All methods are safe for concurrent use. The records are spread over 128 shards with a lock each, which is held for
// about a microsecond; no lock is shared by all requests, and data is copied without one. A Store owns no goroutine and
// no file: there is nothing to close.
//
// # Expiry
//
// The time left until ExpiresAt is taken when a record is written, and the process's monotonic clock runs it down: a
// step of the wall clock expires nothing and revives nothing. That clock stands still while the machine is suspended.
// An expired record is absent at once; its memory is freed by [Store.Sweep], which somebody has to call (a
// session.Manager does), by a write that needs the room, or by a Create under the same key.
//
// # Bounds
//
// [Options] bounds the number of records and their bytes; the store never holds more. A write that would exceed a bound
// first removes what has expired, then evicts:
//
//   - live anonymous sessions (Principal is empty), then
//   - tombstones of anonymous sessions, then
//   - records of principals, live sessions and tombstones alike,
//
// within each group the one that was written or loaded least recently, of all shards. As long as another record of an
// earlier group is there that was there before the write began, none of a later group is evicted. Only a record of a
// principal evicts records of principals: when these take all the room, another anonymous session is refused with an
// error, so that visitors without an account cannot push users out. A refused write changes nothing.
//
// An evicted tombstone brings no session back, since Replace never creates. But what it would have told is lost: a
// request still in flight drops its changes instead of moving them to the renewed session, and a logout that races with
// a renewal of the same session can miss the new one. It takes a store so small that it is overwritten within the two
// minutes that tombstones live. [Store.OnEvict] tells when records of principals are evicted: then raise the bound.
//
// # Memory
//
// A record takes about 130 bytes besides its texts and data: 365 bytes for a usual one with 200 bytes of data, measured
// with 1 and with 4 million. What the garbage collector needs (GOGC) comes on top. When a record is removed, about 110
// bytes are kept for the next one; the rest is freed.
package memstore

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/store"
)

// Options bounds a Store. The zero value bounds it safely; later changes have no effect.
type Options struct {
	// MaxSessions is the greatest number of records, tombstones and records that have expired but are not yet removed
	// included. 0: 1,000,000. Negative: no bound but the 2^30 records that a Store can address.
	MaxSessions int

	// MaxBytes is the greatest number of bytes of all records. A record counts the bytes of its Key, Principal, Label,
	// MovedTo, Handle, Public and Data, and 128 for what it takes besides. 0: 512 MiB, which is a million records with
	// 200 bytes of data. Negative: no bound. A record that is over it alone is refused with an error.
	MaxBytes int64
}

const (
	defaultMaxSessions = 1_000_000
	defaultMaxBytes    = 512 << 20
	recordCost         = 128 // entry, index, queue, rounding to the allocator's size classes
)

// Store is a [store.Store], [store.Lister], [store.Sweeper] and [store.Evicter] in memory. [New] makes one.
type Store struct {
	start     time.Time // all times inside are counted from here, by the monotonic clock
	seed      maphash.Seed
	room      room
	turn      atomic.Uint32 // of Sweep
	evictions evictions
	shards    [shards]shard
}

const (
	shards     = 128
	maxRecords = 1 << 30 // over 128 shards these stay below 2^slotBits in each, by a margin of thousands of deviations
)

// New returns an empty store; nil: all defaults.
func New(opts *Options) *Store {
	if opts == nil {
		opts = &Options{}
	}
	s := &Store{start: time.Now(), seed: maphash.MakeSeed()}
	s.room.maxRecords = min(bound(int64(opts.MaxSessions), defaultMaxSessions), maxRecords)
	s.room.maxBytes = bound(opts.MaxBytes, defaultMaxBytes)
	for i := range s.shards {
		s.shards[i].init(s.seed, &s.room)
	}
	return s
}

func bound(option, byDefault int64) int64 {
	switch {
	case option == 0:
		return byDefault
	case option < 0:
		return math.MaxInt64
	}
	return option
}

func (s *Store) now() time.Duration { return time.Since(s.start) }

// locate returns the shard of key and the hash for the table inside it. The seed is secret and random, so nobody can
// choose keys that meet in one shard or bucket.
func (s *Store) locate(key string) (*shard, uint32) {
	hash := maphash.String(s.seed, key)
	return &s.shards[hash>>32%shards], uint32(hash)
}

// Load implements [store.Store]. Besides ErrNotFound it returns only the error of ctx.
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	sh, hash := s.locate(key)
	now := s.now()
	sh.mu.Lock()
	slot := sh.find(hash, key)
	if slot == 0 {
		sh.unlock()
		return store.Record{}, store.ErrNotFound
	}
	e := *sh.entries.at(slot)
	expired := sh.expired(slot, now)
	if !expired {
		sh.use(slot, now)
	}
	sh.unlock()

	rec := e.unpack(!expired)
	if expired {
		return store.Record{}, &store.ExpiredError{Record: rec}
	}
	return rec, nil
}

// Create implements [store.Store]. Besides ErrExists it returns the error of ctx, and errors for records over the
// contract's limits or for which there is no room (see Bounds in the package documentation); nothing is stored then.
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	e, err := s.pack(ctx, &rec)
	if err != nil {
		return err
	}
	sh, hash := s.locate(rec.Key)
	t := time.Now()
	now, deadline := t.Sub(s.start), s.deadline(rec.ExpiresAt, t)
	for {
		sh.mu.Lock()
		slot := sh.find(hash, rec.Key)
		if slot != 0 && !sh.expired(slot, now) {
			sh.unlock()
			return store.ErrExists
		}
		if slot != 0 {
			sh.remove(slot)
		}
		if s.room.take(1, e.cost()) {
			sh.insert(hash, e, deadline, now)
			sh.unlock()
			return nil
		}
		sh.unlock()
		if err := s.makeRoom(ctx, &e, sh, 0); err != nil {
			return err
		}
	}
}

// Replace implements [store.Store]. Besides ErrConflict and ErrNotFound it returns the errors that Create does; then
// the record is as it was.
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	e, err := s.pack(ctx, &rec)
	if err != nil {
		return err
	}
	sh, hash := s.locate(rec.Key)
	t := time.Now()
	now, deadline := t.Sub(s.start), s.deadline(rec.ExpiresAt, t)
	for {
		sh.mu.Lock()
		slot, err := sh.match(hash, rec.Key, version, now)
		if err != nil {
			sh.unlock()
			return err
		}
		if s.room.take(0, e.cost()-sh.entries.at(slot).cost()) {
			sh.replace(slot, e, deadline, now)
			sh.unlock()
			return nil
		}
		sh.use(slot, now) // so that it is not the one to go
		sh.unlock()
		if err := s.makeRoom(ctx, &e, sh, slot); err != nil {
			return err
		}
	}
}

// Touch implements [store.Store]. Besides ErrConflict and ErrNotFound it returns only the error of ctx.
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sh, hash := s.locate(key)
	t := time.Now()
	now := t.Sub(s.start)
	sh.mu.Lock()
	defer sh.unlock()
	slot, err := sh.match(hash, key, version, now)
	if err != nil {
		return err
	}
	e := sh.entries.at(slot)
	e.seen, e.expires = seen.UnixMilli(), expires.UnixMilli()
	sh.requeue(slot, s.deadline(expires, t))
	sh.use(slot, now)
	return nil
}

// Delete implements [store.Store]. It returns only the error of ctx.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sh, hash := s.locate(key)
	sh.mu.Lock()
	defer sh.unlock()
	if slot := sh.find(hash, key); slot != 0 {
		sh.remove(slot)
	}
	return nil
}

// match returns the slot of the record under key if it has the given version.
func (sh *shard) match(hash uint32, key string, version uint64, now time.Duration) (uint32, error) {
	slot := sh.find(hash, key)
	switch {
	case slot == 0 || sh.expired(slot, now):
		return 0, store.ErrNotFound
	case sh.entries.at(slot).version != version:
		return 0, store.ErrConflict
	}
	return slot, nil
}

// pack does the part of a write that needs no lock.
func (s *Store) pack(ctx context.Context, rec *store.Record) (entry, error) {
	if err := ctx.Err(); err != nil {
		return entry{}, err
	}
	if err := check(rec); err != nil {
		return entry{}, err
	}
	if n := cost(contentLen(rec)); n > s.room.maxBytes {
		return entry{}, fmt.Errorf("memstore: record of %d bytes is over MaxBytes %d: store less or raise it",
			n, s.room.maxBytes)
	}
	return pack(rec), nil
}
