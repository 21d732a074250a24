package filestore_test

import (
	"bytes"
	"iter"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

func open(tb testing.TB, dir string, opts *filestore.Options) *filestore.Store {
	tb.Helper()
	s, err := filestore.Open(dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// newRecord returns a record as the core makes them, with 200 bytes of data.
func newRecord(key, principal string) store.Record {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return store.Record{
		Key:        key,
		Version:    store.NewVersion(),
		Principal:  principal,
		Label:      "Firefox on Windows",
		CreatedAt:  now,
		LastSeenAt: now,
		ExpiresAt:  now.Add(24 * time.Hour),
		Handle:     "hAnDlE0123456789abcdef",
		Data:       bytes.Repeat([]byte(`{"cart":1}`), 20),
	}
}

func create(tb testing.TB, s store.Store, rec store.Record) {
	tb.Helper()
	if err := s.Create(tb.Context(), rec); err != nil {
		tb.Fatalf("Create: %v", err)
	}
}

// replace stores rec under a new version, and returns it.
func replace(tb testing.TB, s store.Store, rec store.Record) store.Record {
	tb.Helper()
	old := rec.Version
	rec.Version = store.NewVersion()
	if err := s.Replace(tb.Context(), rec, old); err != nil {
		tb.Fatalf("Replace: %v", err)
	}
	return rec
}

func list(tb testing.TB, seq iter.Seq2[store.Record, error]) []store.Record {
	tb.Helper()
	var recs []store.Record
	for rec, err := range seq {
		if err != nil {
			tb.Fatalf("list: %v", err)
		}
		recs = append(recs, rec)
	}
	return recs
}

func nowMilli() int64 { return time.Now().UnixMilli() }
