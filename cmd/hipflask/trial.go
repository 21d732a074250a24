package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// trial tries the contract of package store on records of its own. storetest does so in depth for whoever writes a
// store; here it is about this server, with its permissions and settings.
type trial struct {
	store     store.Store
	principal string
	keys      []string
}

func newTrial(s store.Store) *trial {
	return &trial{store: s, principal: "hipflask-check-" + session.NewSecretKey()[:16]}
}

// record returns a new record that is not stored yet. It lives a minute, should its removal fail.
func (t *trial) record(data []byte) store.Record {
	key := "check-" + session.NewSecretKey()
	t.keys = append(t.keys, key)
	now := time.Now().Truncate(time.Millisecond)
	return store.Record{Key: key, Version: store.NewVersion(), Principal: t.principal,
		Handle: session.NewSecretKey()[:16], Label: "hipflask check",
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(time.Minute), Data: data}
}

// clean removes what was stored.
func (t *trial) clean(ctx context.Context) error {
	var all error
	for _, key := range t.keys {
		if err := t.store.Delete(ctx, key); err != nil {
			all = fmt.Errorf("records of the check could not be removed; they expire within a minute: %w", err)
		}
	}
	return all
}

func refused(about string, err error) []finding {
	return []finding{{problem, about, err.Error(),
		"Look at the permissions of the user that the URL names, and at the server's log."}}
}

// records creates, reads, changes and removes.
func (t *trial) records(ctx context.Context) []finding {
	const about = "records"
	r := t.record([]byte(`{"check":true}`))
	if err := t.store.Create(ctx, r); err != nil {
		return refused(about, err)
	}
	got, err := t.store.Load(ctx, r.Key)
	if err != nil {
		return refused(about, err)
	}
	broken := func(what string) []finding {
		return []finding{{problem, about, what,
			"This is no store that keeps sessions safely: is something in between, such as a proxy or a replica?"}}
	}
	if got.Version != r.Version || got.Principal != r.Principal || !bytes.Equal(got.Data, r.Data) ||
		!got.ExpiresAt.Equal(r.ExpiresAt) {
		return broken("a record comes back other than it was stored")
	}
	next := r
	next.Version, next.Data = store.NewVersion(), []byte(`{"check":2}`)
	for _, c := range []struct {
		what string
		call func() error
		want error
	}{
		{"a taken key is overwritten", func() error { return t.store.Create(ctx, r) }, store.ErrExists},
		{"a change on an old version is not refused", func() error {
			return t.store.Replace(ctx, next, r.Version^1)
		}, store.ErrConflict},
		{"a change is refused", func() error { return t.store.Replace(ctx, next, r.Version) }, nil},
		{"a touch is refused", func() error {
			return t.store.Touch(ctx, r.Key, next.Version, next.LastSeenAt, next.ExpiresAt.Add(time.Second))
		}, nil},
		{"a removal is refused", func() error { return t.store.Delete(ctx, r.Key) }, nil},
		{"a removed record comes back", func() error {
			return t.store.Replace(ctx, next, next.Version)
		}, store.ErrNotFound},
	} {
		if err := c.call(); !errors.Is(err, c.want) {
			if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) &&
				!errors.Is(err, store.ErrExists) {
				return refused(about, err)
			}
			return broken(c.what)
		}
	}
	return []finding{{fine, about, "created, read, changed and removed as they have to be", ""}}
}

// race lets several change a record at once: exactly one may win.
func (t *trial) race(ctx context.Context) []finding {
	const about, rounds, writers = "races", 5, 8
	for range rounds {
		r := t.record(nil)
		if err := t.store.Create(ctx, r); err != nil {
			return refused(about, err)
		}
		var mu sync.Mutex
		var won int
		var failure error
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				next := r
				next.Version = store.NewVersion()
				err := t.store.Replace(ctx, next, r.Version)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if !errors.Is(err, store.ErrConflict) {
					failure = err
				}
			})
		}
		all.Wait()
		if failure != nil {
			return refused(about, failure)
		}
		if won != 1 {
			return []finding{{problem, about,
				fmt.Sprintf("of %d changes at once %d were taken, and one may be", writers, won),
				"Writes get lost here. Use one server that all writes go to."}}
		}
	}
	return []finding{{fine, about, fmt.Sprintf("of %d changes at once exactly one is taken", writers), ""}}
}

// expiry watches a record expire. When it does tells how the store's clock runs.
func (t *trial) expiry(ctx context.Context) []finding {
	// memcached's clock moves once a second, so it is late by up to two.
	const about, life, tolerance = "expiry", 1500 * time.Millisecond, 2500 * time.Millisecond
	r := t.record(nil)
	r.ExpiresAt = time.Now().Truncate(time.Millisecond).Add(life)
	if err := t.store.Create(ctx, r); err != nil {
		return refused(about, err)
	}
	for {
		_, err := t.store.Load(ctx, r.Key)
		late := time.Since(r.ExpiresAt)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return refused(about, err)
		case err != nil && late < -time.Second:
			return []finding{{problem, about,
				fmt.Sprintf("a record expired %v too early", -late.Round(time.Millisecond)),
				"Synchronise the clocks of this machine and the server (NTP)."}}
		case err != nil:
			return []finding{{fine, about, "a record expires when it has to", ""}}
		case late > tolerance:
			return []finding{{problem, about,
				fmt.Sprintf("a record is still there %v after it expired", late.Round(time.Millisecond)),
				"Synchronise the clocks of this machine and the server (NTP)."}}
		}
		select {
		case <-ctx.Done():
			return refused(about, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// list looks a record up by its principal, which is what "log out everywhere" needs.
func (t *trial) list(ctx context.Context) []finding {
	const about = "lists"
	l, ok := store.As[store.Lister](t.store)
	if !ok {
		return []finding{{warning, about, "this store can't list sessions: no \"log out everywhere\", no hipflask ls",
			"Where users or administrators have to end sessions, use another store."}}
	}
	r := t.record(nil)
	if err := t.store.Create(ctx, r); err != nil {
		return refused(about, err)
	}
	found := 0
	for got, err := range l.Principal(ctx, t.principal) {
		if err != nil {
			return refused(about, err)
		}
		found += count(got.Key == r.Key)
	}
	for _, err := range l.All(ctx) {
		if err != nil {
			return refused(about, err)
		}
		break // that it can be asked is enough: there may be millions
	}
	if found != 1 {
		return []finding{{problem, about, fmt.Sprintf("a user's session is in the list of the user's sessions %d times",
			found), "Logging out everywhere would miss sessions here."}}
	}
	return []finding{{fine, about, "a user's sessions are found", ""}}
}

// sizes finds out whether the largest session that a Config allows by default fits.
func (t *trial) sizes(ctx context.Context) []finding {
	const about = "sizes"
	for _, size := range []int{1 << 20, 64 << 10} {
		r := t.record(bytes.Repeat([]byte("x"), size))
		err := t.store.Create(ctx, r)
		got, loadErr := t.store.Load(ctx, r.Key)
		if err == nil && loadErr == nil && len(got.Data) == size {
			if size == 1<<20 {
				return []finding{{fine, about, "a session of 1 MiB fits", ""}}
			}
			return []finding{{warning, about,
				"a session of 64 KiB fits, and one of 1 MiB, which Config.MaxBytes allows by default, does not",
				"Set Config.MaxBytes to 65536, so that the limit is told to whoever goes beyond it."}}
		}
	}
	return []finding{{problem, about, "a session of 64 KiB does not fit", "Look at the limits of the server."}}
}

// latency measures a load and a change.
func (t *trial) latency(ctx context.Context) []finding {
	const about, times = "latency", 50
	r := t.record(bytes.Repeat([]byte("x"), 500))
	if err := t.store.Create(ctx, r); err != nil {
		return refused(about, err)
	}
	var loads, changes []time.Duration
	for range times {
		began := time.Now()
		if _, err := t.store.Load(ctx, r.Key); err != nil {
			return refused(about, err)
		}
		loads = append(loads, time.Since(began))
		next := r
		next.Version = store.NewVersion()
		began = time.Now()
		if err := t.store.Replace(ctx, next, r.Version); err != nil {
			return refused(about, err)
		}
		changes = append(changes, time.Since(began))
		r = next
	}
	slices.Sort(loads)
	slices.Sort(changes)
	text := fmt.Sprintf("a read takes %v, a change %v (the slowest of %d: %v and %v)", rounded(loads[times/2]),
		rounded(changes[times/2]),
		times, rounded(loads[times-1]), rounded(changes[times-1]))
	if slowest := max(loads[times-1], changes[times-1]); slowest > time.Second {
		return []finding{{warning, about, text,
			"Config.StoreTimeout bounds both, 5 seconds by default. Is the server far away, or short of something?"}}
	}
	return []finding{{fine, about, text, ""}}
}

func rounded(d time.Duration) time.Duration {
	switch {
	case d > 100*time.Millisecond:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
