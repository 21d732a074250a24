// Package layouttest tests a store in Flask-Session's layout: [Run] holds it to the contract of package store, [Shared]
// to what a Flask application and a Go application may do to each other's sessions.
package layouttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/storetest"
)

// Run runs storetest.Run. Stores in the layout drop the fields that it has no room for and make versions of the
// content. So Run puts whole records into the documents, and tests everything else: comparing, creating, ending,
// expiring, races, and the promises of package session. It keeps two things outside the documents that the layout does
// not tell: when a record was last seen, and its expiry to the millisecond.
//
// open returns a store over the same data each time. wrap makes a document that the layout accepts of any bytes, and
// unwrap is the reverse; nil if the layout accepts any bytes. Each clause gets two stores, as two processes would have,
// and uses them in turn.
func Run(t *testing.T, open func(testing.TB) store.Store, wrap func([]byte) []byte, unwrap func([]byte) []byte,
	opts ...storetest.Option) {
	t.Helper()
	asItIs := func(b []byte) []byte { return b }
	if wrap == nil {
		wrap, unwrap = asItIs, asItIs
	}
	times := &sync.Map{}
	storetest.Run(t, func(tb testing.TB) store.Store {
		a := &adapter{layouts: [2]store.Store{open(tb), open(tb)}, wrap: wrap, unwrap: unwrap, times: times}
		if sweeper, ok := store.As[store.Sweeper](a.layouts[0]); ok {
			return &sweeping{a, sweeper}
		}
		return a
	}, append(opts,
		storetest.NoIndex(),
		storetest.SingleOpen(),
		// Package session never touches or replaces a tombstone; here both are conflicts. Shared tests the rest of
		// Touch.
		storetest.Except("TouchMovesTimesOnly", "a mark is never touched"),
		storetest.Except("KindsAndTargets", "a mark is never replaced"),
		storetest.Except("LongestTexts", "a mark is never replaced"),
	)...)
}

type adapter struct {
	layouts [2]store.Store
	calls   atomic.Uint32
	wrap    func([]byte) []byte
	unwrap  func([]byte) []byte
	times   *sync.Map // of moment, by version
}

func (a *adapter) layout() store.Store { return a.layouts[a.calls.Add(1)%2] }

type sweeping struct {
	*adapter
	store.Sweeper
}

type moment struct{ seen, expires time.Time }

func (a *adapter) Close() (err error) {
	for _, s := range a.layouts {
		if c, ok := s.(interface{ Close() error }); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// find loads the record and the layout's version of it.
func (a *adapter) find(ctx context.Context, key string) (rec store.Record, content uint64, err error) {
	outer, err := a.layout().Load(ctx, key)
	if err != nil || outer.Kind != store.Live {
		return outer, outer.Version, err
	}
	// The data stands behind the rest as it is: it is large in some clauses, and JSON is slow under the race detector.
	head, data, _ := bytes.Cut(a.unwrap(outer.Data), []byte{'\n'})
	if err := json.Unmarshal(head, &rec); err != nil {
		return rec, 0, errors.New("layouttest: what was stored can't be read")
	}
	rec.Data = data
	if m, ok := a.times.Load(rec.Version); ok {
		rec.LastSeenAt, rec.ExpiresAt = m.(moment).seen, m.(moment).expires
	}
	return rec, outer.Version, nil
}

func (a *adapter) Load(ctx context.Context, key string) (store.Record, error) {
	rec, _, err := a.find(ctx, key)
	return rec, err
}

func (a *adapter) outer(rec store.Record) (store.Record, error) {
	if rec.Kind != store.Live {
		return rec, nil
	}
	data := rec.Data
	rec.Data = nil
	head, err := json.Marshal(rec)
	whole := append(append(head, '\n'), data...)
	return store.Record{Key: rec.Key, Version: rec.Version, ExpiresAt: rec.ExpiresAt, Data: a.wrap(whole)}, err
}

func (a *adapter) Create(ctx context.Context, rec store.Record) error {
	outer, err := a.outer(rec)
	if err != nil {
		return err
	}
	return a.layout().Create(ctx, outer)
}

// Replace translates the version. The layout's own comparison makes it one step: if the record changes in between, that
// is the conflict.
func (a *adapter) Replace(ctx context.Context, rec store.Record, version uint64) error {
	now, content, err := a.find(ctx, rec.Key)
	switch {
	case err != nil:
		return err
	case now.Version != version:
		return store.ErrConflict
	}
	outer, err := a.outer(rec)
	if err != nil {
		return err
	}
	return a.layout().Replace(ctx, outer, content)
}

func (a *adapter) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	now, content, err := a.find(ctx, key)
	switch {
	case err != nil:
		return err
	case now.Version != version:
		return store.ErrConflict
	}
	if err = a.layout().Touch(ctx, key, content, seen, expires); err == nil {
		a.times.Store(version, moment{seen, expires})
	}
	return err
}

func (a *adapter) Delete(ctx context.Context, key string) error { return a.layout().Delete(ctx, key) }
