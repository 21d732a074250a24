package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hipflask/session/store"
	"golang.org/x/sync/errgroup"
)

// outcome is what became of one session.
type outcome int

const (
	copied   outcome = iota // it was not in TO
	updated                 // its copy was brought up to date, or ended as it was in FROM
	same                    // there was nothing to do
	kept                    // TO's has a life of its own: it stays as it is
	gone                    // it was copied before and has ended in TO: it does not come back
	vanished                // it ended in FROM while the list was read
	failed                  // it could not be copied
	outcomes
)

// migration copies the sessions of one store to another. The application may use FROM meanwhile, or TO already:
//
//   - What is not in TO is created there. Create never overwrites.
//   - What is in TO as it was copied follows FROM.
//   - What the application has changed in TO stays. Only an end in FROM counts for it: a logout is final.
//   - What has ended in TO never comes back, although FROM still has it.
type migration struct {
	from, to store.Store
	journal  *journal
	dry      bool
	workers  int
	began    time.Time
	progress func(int)

	mu     sync.Mutex
	counts [outcomes]int
	row    int   // failures without a success in between
	err    error // the last of them
}

// maxFailures in a row are an outage; less of them are sessions that TO does not take.
const maxFailures = 20

func (m *migration) note(o outcome, err error) (stop bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[o]++
	if m.progress != nil {
		m.progress(1)
	}
	if o != failed {
		m.row = 0
		return false
	}
	m.row++
	m.err = err
	return m.row >= maxFailures
}

// each calls fn for all records of a list with several workers, and returns the first error of the list or of fn.
func (m *migration) each(parent context.Context, l lists, fn func(context.Context, store.Record) error) error {
	workers, ctx := errgroup.WithContext(parent)
	workers.SetLimit(max(1, m.workers))
	var err error
	for r, e := range l.All(ctx) {
		if err = e; err != nil || ctx.Err() != nil {
			break
		}
		workers.Go(func() error { return fn(ctx, r) })
	}
	return cmp.Or(workers.Wait(), err, parent.Err())
}

// copy copies all sessions.
func (m *migration) copy(ctx context.Context, l lists) error {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { m.journal.keep(stop); close(stopped) }()
	err := m.each(ctx, l, func(ctx context.Context, r store.Record) error {
		o, err := m.patiently(ctx, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if m.note(o, err) {
			return fmt.Errorf("%d sessions in a row could not be copied, the last one: %w", maxFailures, err)
		}
		return nil
	})
	close(stop)
	<-stopped
	return errors.Join(err, m.journal.flush())
}

// patiently tries again what fails.
func (m *migration) patiently(ctx context.Context, r store.Record) (o outcome, err error) {
	for pause := 50 * time.Millisecond; ; pause *= 4 {
		if o, err = m.one(ctx, r); err == nil || pause > time.Second {
			return o, err
		}
		select {
		case <-ctx.Done():
			return failed, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// one brings the copy of a listed record up to date.
func (m *migration) one(ctx context.Context, listed store.Record) (outcome, error) {
	before, known := m.journal.get(listed.Key)
	if known && before.read(listed) && before.next == 0 {
		return same, nil
	}
	f, err := m.from.Load(ctx, listed.Key)
	if errors.Is(err, store.ErrNotFound) {
		return vanished, nil
	} else if err != nil {
		return failed, fmt.Errorf("read from the old store: %w", err)
	}
	raw := f
	m.adapt(&f)
	for range 10 {
		t, err := m.to.Load(ctx, f.Key)
		absent := errors.Is(err, store.ErrNotFound)
		if err != nil && !absent {
			return failed, fmt.Errorf("read from the new store: %w", err)
		}
		o := m.decide(f, t, absent, before, known)
		if m.dry || o == gone || o == kept {
			return o, nil
		}
		if o == same {
			m.journal.put(f.Key, raw, t)
			return same, nil
		}
		if err := m.journal.intend(f.Key, f); err != nil {
			return failed, fmt.Errorf("write the journal: %w", err)
		}
		switch {
		case absent:
			err = m.to.Create(ctx, f)
		case f.Version == t.Version && f.Kind == t.Kind && bytes.Equal(f.Data, t.Data):
			err = m.to.Touch(ctx, f.Key, t.Version, f.LastSeenAt, f.ExpiresAt)
		default:
			err = m.to.Replace(ctx, f, t.Version)
		}
		switch {
		case err == nil:
			return o, m.seal(ctx, raw, f)
		case !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrConflict) &&
			!errors.Is(err, store.ErrNotFound):
			return failed, fmt.Errorf("write to the new store: %w", err)
		}
	}
	return failed, errors.New("the session changes too often in the new store")
}

// decide says what is to be done about f, of which t is in TO.
func (m *migration) decide(f, t store.Record, absent bool, before entry, known bool) outcome {
	untouched := known && before.wrote(t)
	switch {
	case absent && known && int64(before.expires) > time.Now().Unix():
		return gone
	case absent:
		return copied
	case digest(f) == digest(t) && bytes.Equal(f.Data, t.Data):
		return same
	case t.Kind != store.Live:
		return gone
	case f.Kind == store.Ended, f.Kind == store.Replaced, untouched:
		return updated
	case before.from == 0 && f.LastSeenAt.After(t.LastSeenAt):
		return updated // of a run whose journal is lost: requests that change a session move LastSeenAt
	}
	return kept
}

// seal reads back what was written of f, for the journal, and to be sure of it. raw is f as FROM has it.
func (m *migration) seal(ctx context.Context, raw, f store.Record) error {
	t, err := m.to.Load(ctx, f.Key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil // expired, or ended at once
	case err != nil:
		return fmt.Errorf("read back from the new store: %w", err)
	case t.Version == f.Version && !bytes.Equal(t.Data, f.Data):
		return errors.New("the new store gives back other data than it was given")
	}
	m.journal.put(f.Key, raw, t)
	return nil
}

// maxMissing bounds how many copies one run ends.
const maxMissing = 1_000_000

// missing returns the keys of copies that nobody has touched in TO, that have not expired, and that FROM no longer has:
// they were logged out or renewed there, longer ago than their tombstones live. total counts all copies.
func (m *migration) missing(ctx context.Context, l lists) (keys []string, total int, err error) {
	var mu sync.Mutex
	err = m.each(ctx, l, func(ctx context.Context, t store.Record) error {
		before, known := m.journal.get(t.Key)
		if !known || t.Kind != store.Live {
			return nil
		}
		mu.Lock()
		total++
		mu.Unlock()
		if !before.wrote(t) {
			return nil
		}
		_, err := m.from.Load(ctx, t.Key)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if len(keys) < maxMissing {
			keys = append(keys, t.Key)
		}
		return nil
	})
	return keys, total, err
}

// end ends a copy, unless somebody has touched it meanwhile.
func (m *migration) end(ctx context.Context, key string) (bool, error) {
	t, err := m.to.Load(ctx, key)
	before, _ := m.journal.get(key)
	if errors.Is(err, store.ErrNotFound) || err == nil && (t.Kind != store.Live || !before.wrote(t)) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	now := time.Now()
	marker := t
	marker.Kind, marker.Version, marker.Label, marker.Public, marker.Data = store.Ended, store.NewVersion(),
		"", nil, nil
	marker.LastSeenAt, marker.ExpiresAt = now, now.Add(5*time.Minute) // longer than Grace
	err = m.to.Replace(ctx, marker, t.Version)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// comparison is the check at the end.
type comparison struct {
	Equal   int `json:"equal"`
	Newer   int `json:"newer_in_from"` // changed in FROM since they were copied
	Own     int `json:"changed_in_to"` // changed, or ended, in TO
	Differs int `json:"different"`     // neither, and yet not the same
	Missing int `json:"missing"`       // in FROM, never copied
}

// compare reads both stores again.
func (m *migration) compare(ctx context.Context, l lists) (c comparison, err error) {
	var mu sync.Mutex
	err = m.each(ctx, l, func(ctx context.Context, listed store.Record) error {
		f, err := m.from.Load(ctx, listed.Key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		t, err := m.to.Load(ctx, listed.Key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if m.progress != nil {
			m.progress(1)
		}
		*m.judge(&c, f, t, err != nil)++
		return nil
	})
	return c, err
}

// judge tells which of a comparison's numbers counts f, of which t is in TO.
func (m *migration) judge(c *comparison, f, t store.Record, absent bool) *int {
	before, _ := m.journal.get(f.Key)
	known := before.from != 0
	changed := known && !before.read(f)
	m.adapt(&f)
	switch {
	case absent && !known && f.LastSeenAt.Before(m.began):
		return &c.Missing // what was not seen since then has not been renewed either, and so was in the list
	case absent && !known, absent && changed && int64(before.expires) <= time.Now().Unix():
		return &c.Newer
	case absent:
		return &c.Own
	case bytes.Equal(f.Data, t.Data) && f.Kind == t.Kind &&
		(f.Principal == t.Principal && bytes.Equal(f.Public, t.Public) || isForeign(m.to)) &&
		f.ExpiresAt.Sub(t.ExpiresAt).Abs() <= 2*time.Second && !changed && (!known || before.wrote(t)):
		return &c.Equal
	case !known || !before.wrote(t):
		return &c.Own
	case changed:
		return &c.Newer
	}
	return &c.Differs
}
