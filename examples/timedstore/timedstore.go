// Package timedstore wraps a store to measure its calls: see docs/write-a-store.md.
package timedstore

import (
	"context"
	"time"

	"github.com/hipflask/session/store"
)

// Store is another store whose calls are measured.
type Store struct {
	store.Store
	observe func(method string, took time.Duration, err error)
}

// New returns a wrapper of s that calls observe after each call. observe must be safe for concurrent use.
func New(s store.Store, observe func(method string, took time.Duration, err error)) *Store {
	return &Store{s, observe}
}

// Unwrap returns the wrapped store. Through it [store.As] finds its Lister, Sweeper, Evicter and StaleLoader.
func (s *Store) Unwrap() store.Store { return s.Store }

func (s *Store) done(method string, begun time.Time, err *error) {
	s.observe(method, time.Since(begun), *err)
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key string) (rec store.Record, err error) {
	defer s.done("Load", time.Now(), &err)
	return s.Store.Load(ctx, key)
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, rec store.Record) (err error) {
	defer s.done("Create", time.Now(), &err)
	return s.Store.Create(ctx, rec)
}

// Replace implements [store.Store].
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) (err error) {
	defer s.done("Replace", time.Now(), &err)
	return s.Store.Replace(ctx, rec, version)
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) (err error) {
	defer s.done("Touch", time.Now(), &err)
	return s.Store.Touch(ctx, key, version, seen, expires)
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) (err error) {
	defer s.done("Delete", time.Now(), &err)
	return s.Store.Delete(ctx, key)
}
