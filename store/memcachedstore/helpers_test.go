package memcachedstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
)

// newRecord returns a record with data of that size and a key of its own.
func newRecord(size int) store.Record {
	now := time.Now().Truncate(time.Millisecond)
	key := rand.Text()
	return store.Record{
		Key: key, Version: 1, Principal: "ann", Label: "Firefox on Linux", Handle: key[:22], CreatedAt: now,
		LastSeenAt: now,
		ExpiresAt:  now.Add(time.Hour), Data: bytes.Repeat([]byte(key[:1]), size),
	}
}

func create(tb testing.TB, s store.Store, rec store.Record) {
	tb.Helper()
	if err := s.Create(tb.Context(), rec); err != nil {
		tb.Fatalf("Create: %v", err)
	}
}

// is reports unless err is want, or wraps it.
func is(tb testing.TB, what string, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// fails reports unless err says nothing about a record.
func fails(tb testing.TB, what string, err error) {
	tb.Helper()
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) ||
		errors.Is(err, store.ErrConflict) {
		tb.Errorf("%s: got %v, want an error that is no answer", what, err)
	}
}

// present reports unless s has rec.
func present(tb testing.TB, s store.Store, rec store.Record) {
	tb.Helper()
	got, err := s.Load(tb.Context(), rec.Key)
	if err != nil {
		tb.Errorf("Load: %v", err)
	} else if got.Key != rec.Key || got.Version != rec.Version || got.Principal != rec.Principal ||
		!bytes.Equal(got.Data, rec.Data) {
		tb.Errorf("Load: got %d bytes of version %d, want %d of version %d", len(got.Data), got.Version,
			len(rec.Data), rec.Version)
	}
}

// within returns a context that ends soon.
func within(tb testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(tb.Context(), d)
	tb.Cleanup(cancel)
	return ctx
}

// bare returns a client of its own for the server at addr.
func bare(tb testing.TB, addr string) *memcache.Client {
	c := memcache.New(addr)
	c.Timeout = 10 * time.Second
	tb.Cleanup(func() { c.Close() })
	return c
}

// through returns a store whose client is the caller's.
func through(tb testing.TB, c *memcache.Client, opts *memcachedstore.Options) *memcachedstore.Store {
	tb.Helper()
	s, err := memcachedstore.New(c, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}
