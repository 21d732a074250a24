package storetest

import (
	"container/heap"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

// medium is what several opens of a tiny store share: a table, an index and a heap of expiries.
type medium struct {
	mu       sync.Mutex
	recs     map[string]store.Record
	index    map[string]map[string]bool // principal to keys; entries may be stale
	expiries expiryHeap
	maxData  int // 0: any
	max      int // records; 0: any
	order    []string
	evicted  map[int]func(store.Record)
	next     int
}

func newMedium() *medium {
	return &medium{recs: map[string]store.Record{}, index: map[string]map[string]bool{},
		evicted: map[int]func(store.Record){}}
}

// tiny is a correct store, small enough to be seen to be correct. The mutants are made from it.
type tiny struct{ *medium }

var errTooLarge = errors.New("tiny: data too large")

func expired(rec store.Record) bool { return !time.Now().Before(rec.ExpiresAt) }

// get returns the record under key, if it is there and has not expired. The lock is held.
func (m *medium) get(key string) (store.Record, bool) {
	rec, ok := m.recs[key]
	return rec, ok && !expired(rec)
}

// at returns the record under key if it has that version. The lock is held.
func (m *medium) at(key string, version uint64) (store.Record, error) {
	rec, ok := m.get(key)
	switch {
	case !ok:
		return rec, store.ErrNotFound
	case rec.Version != version:
		return rec, store.ErrConflict
	}
	return rec, nil
}

// put stores a copy of rec. The lock is held.
func (m *medium) put(rec store.Record) {
	rec = cloned(rec)
	m.recs[rec.Key] = rec
	if rec.Principal != "" {
		if m.index[rec.Principal] == nil {
			m.index[rec.Principal] = map[string]bool{}
		}
		m.index[rec.Principal][rec.Key] = true
	}
	heap.Push(&m.expiries, deadline{rec.Key, rec.ExpiresAt})
}

func (m *medium) remove(key string) {
	delete(m.index[m.recs[key].Principal], key)
	delete(m.recs, key)
}

func (m *medium) tooLarge(rec store.Record) bool { return m.maxData > 0 && len(rec.Data) > m.maxData }

func (s *tiny) Load(ctx context.Context, key string) (store.Record, error) {
	if ctx.Err() != nil {
		return store.Record{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.get(key)
	if !ok {
		return store.Record{}, store.ErrNotFound
	}
	return cloned(rec), nil
}

func (s *tiny) Create(ctx context.Context, rec store.Record) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.evict()
	defer s.mu.Unlock()
	if s.tooLarge(rec) {
		return errTooLarge
	}
	if _, ok := s.get(rec.Key); ok {
		return store.ErrExists
	}
	s.remove(rec.Key)
	s.put(rec)
	if s.max > 0 {
		s.order = append(s.order, rec.Key)
	}
	return nil
}

func (s *tiny) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tooLarge(rec) {
		return errTooLarge
	}
	_, err := s.at(rec.Key, version)
	if err == nil {
		s.put(rec)
	}
	return err
}

func (s *tiny) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.at(key, version)
	if err == nil {
		rec.LastSeenAt, rec.ExpiresAt = seen, expires
		s.put(rec)
	}
	return err
}

func (s *tiny) Delete(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key)
	return nil
}

func (s *tiny) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return s.list(ctx, func() []string { return slices.Collect(maps.Keys(s.index[principal])) },
		func(rec store.Record) bool {
			return rec.Principal == principal
		})
}

func (s *tiny) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return s.list(ctx, func() []string { return slices.Collect(maps.Keys(s.recs)) }, func(store.Record) bool {
		return true
	})
}

// list yields what is under the keys that were there in the beginning and are there when their turn comes.
func (s *tiny) list(ctx context.Context, keys func() []string,
	belongs func(store.Record) bool) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		s.mu.Lock()
		all := keys()
		s.mu.Unlock()
		for _, key := range all {
			if ctx.Err() != nil {
				break
			}
			s.mu.Lock()
			rec, ok := s.get(key)
			s.mu.Unlock()
			if ok && belongs(rec) && !yield(cloned(withoutData(rec)), nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(store.Record{}, ctx.Err())
		}
	}
}

func (s *tiny) Sweep(ctx context.Context, limit int) (int, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sweep(limit), nil
}

func (m *medium) sweep(limit int) (removed int) {
	for removed < limit && len(m.expiries) > 0 && !time.Now().Before(m.expiries[0].at) {
		d := heap.Pop(&m.expiries).(deadline)
		if rec, ok := m.recs[d.key]; ok && expired(rec) {
			m.remove(d.key)
			removed++
		}
	}
	return removed
}

func (s *tiny) OnEvict(fn func(store.Record)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next
	s.next++
	s.evicted[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.evicted, id)
	}
}

// evict removes the oldest records until the bound is kept, and reports them without the lock.
func (m *medium) evict() {
	m.mu.Lock()
	var gone []store.Record
	for m.max > 0 && len(m.recs) > m.max {
		key := m.order[0]
		m.order = m.order[1:]
		if rec, ok := m.recs[key]; ok {
			m.remove(key)
			gone = append(gone, withoutData(rec)) // nobody else has it now
		}
	}
	fns := slices.Collect(maps.Values(m.evicted))
	m.mu.Unlock()
	for _, rec := range gone {
		for _, fn := range fns {
			fn(rec)
		}
	}
}

type deadline struct {
	key string
	at  time.Time
}

// expiryHeap has an entry for each write; what is stale is dropped when it is due.
type expiryHeap []deadline

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(deadline)) }
func (h *expiryHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
