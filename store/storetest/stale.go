package storetest

import (
	"errors"
	"time"

	"github.com/hipflask/session/store"
)

var staleClauses = []clause{{
	name: "StaleLoadSeesOwnWrites",
	rule: "LoadStale of a StaleLoader never returns what was there before a write of the same store: " +
		"a process that has logged somebody out doesn't serve that session again. What it returns belongs " +
		"to the caller.",
	run: staleLoadSeesOwnWrites,
}}

func staleLoadSeesOwnWrites(p *probe, s, _ store.Store) {
	l, ok := store.As[store.StaleLoader](s)
	if !ok {
		return
	}
	rec := newRecord()
	if _, err := l.LoadStale(p.ctx, rec.Key); errors.Is(err, errors.ErrUnsupported) {
		return
	}
	want := func(rec store.Record, after string) {
		p.Helper()
		for range 2 { // of which the second one is from the cache
			got, err := l.LoadStale(p.ctx, rec.Key)
			p.want(nil, err, "LoadStale after "+after)
			if d := diff(got, rec); err == nil && d != "" {
				p.Errorf("LoadStale after %s: %s", after, d)
			}
			clear(got.Data)
			clear(got.Public)
		}
	}
	p.create(s, rec)
	want(rec, "Create")
	next := changed(rec)
	p.replace(s, next, rec.Version)
	want(next, "Replace")
	next.LastSeenAt, next.ExpiresAt = next.LastSeenAt.Add(time.Second), next.ExpiresAt.Add(time.Second)
	p.want(nil, s.Touch(p.ctx, next.Key, next.Version, next.LastSeenAt, next.ExpiresAt), "Touch")
	want(next, "Touch")
	tombstone := changed(next)
	tombstone.Kind, tombstone.Data = store.Ended, nil
	p.want(nil, s.Replace(p.ctx, tombstone, next.Version), "Replace by a tombstone")
	want(tombstone, "Replace by a tombstone")
	p.want(nil, s.Delete(p.ctx, rec.Key), "Delete")
	_, err := l.LoadStale(p.ctx, rec.Key)
	p.want(store.ErrNotFound, err, "LoadStale after Delete")
}
