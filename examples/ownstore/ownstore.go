// Package ownstore is a complete store, to begin your own with: see docs/write-a-store.md.
package ownstore

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

// Store keeps records in a map.
type Store struct {
	mu      sync.Mutex
	records map[string]entry
}

type entry struct {
	rec    store.Record
	expiry *time.Timer
}

// New returns an empty Store.
func New() *Store { return &Store{records: map[string]entry{}} }

// find returns the live record under key, if it has that version; 0 is any version. The caller holds the lock.
func (s *Store) find(ctx context.Context, key string, version uint64) (store.Record, error) {
	e, ok := s.records[key]
	switch {
	case ctx.Err() != nil:
		return store.Record{}, ctx.Err()
	case !ok || !time.Now().Before(e.rec.ExpiresAt): // the timer may be late
		return store.Record{}, store.ErrNotFound
	case version != 0 && version != e.rec.Version:
		return store.Record{}, store.ErrConflict
	}
	return clone(e.rec), nil // the bytes belong to the caller
}

func clone(rec store.Record) store.Record {
	rec.Public, rec.Data = bytes.Clone(rec.Public), bytes.Clone(rec.Data)
	return rec
}

// put stores rec until it expires. The caller holds the lock.
func (s *Store) put(rec store.Record) {
	s.remove(rec.Key)
	rec = clone(rec) // the caller may change its bytes afterwards
	s.records[rec.Key] = entry{rec, time.AfterFunc(time.Until(rec.ExpiresAt), func() { s.expire(rec.Key) })}
}

func (s *Store) remove(key string) {
	if e, ok := s.records[key]; ok {
		e.expiry.Stop()
		delete(s.records, key)
	}
}

func (s *Store) expire(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.find(context.Background(), key, 0); err != nil {
		s.remove(key)
	}
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(ctx, key, 0)
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.find(ctx, rec.Key, 0)
	switch err {
	case nil:
		return store.ErrExists
	case store.ErrNotFound:
		s.put(rec)
		return nil
	}
	return err
}

// Replace implements [store.Store].
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return s.update(ctx, rec.Key, version, func(store.Record) store.Record { return rec })
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return s.update(ctx, key, version, func(rec store.Record) store.Record {
		rec.LastSeenAt, rec.ExpiresAt = seen, expires
		return rec
	})
}

func (s *Store) update(ctx context.Context, key string, version uint64, change func(store.Record) store.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.find(ctx, key, version)
	if err == nil {
		s.put(change(rec))
	}
	return err
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
	return ctx.Err() // with an error the record may be removed or not
}
