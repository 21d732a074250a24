package interleave

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/hipflask/session/store"
)

// op is a kind of store call, or another place where a request stops.
type op uint8

const (
	opLoad op = iota
	opCreate
	opReplace
	opTouch
	opDelete
	opIndex   // the first half of Create, where the index is apart from the records
	opList    // the next record of a listing
	opHandler // between the load and the handler's changes
)

var opNames = [...]string{"Load", "Create", "Replace", "Touch", "Delete", "index", "list", "handler"}

// call is a store call that has stopped, for the scheduler to decide about.
type call struct {
	op            op
	name          string // the store's key, a random one
	key           int8   // its place in world.entries, the same in every run
	record        store.Record
	version       uint64 // that the call is conditional on
	seen, expires time.Time
	principal     string
	listing       *listing
	at            time.Time
}

type answer struct {
	record store.Record
	err    error
}

// gated is the store under the Managers. It does nothing itself: each call stops until the scheduler has let it go, and
// the scheduler, the only goroutine that runs then, applies it to the world. Calls outside of a request (the set-up of
// a scenario) are applied at once.
type gated struct{ w *world }

var (
	_ store.Store         = gated{}
	_ store.Lister        = gated{}
	_ store.BatchReplacer = gated{}
)

// errStore stands for everything that a store can fail with.
var errStore = errors.New("the store failed")

type requestKey struct{}

func (s gated) stop(ctx context.Context, c call) answer {
	if q, ok := ctx.Value(requestKey{}).(*request); ok {
		return q.stop(ctx, c)
	}
	s.w.resolve(nil, &c)
	return s.w.apply(nil, &c)
}

func (s gated) Load(ctx context.Context, key string) (store.Record, error) {
	a := s.stop(ctx, call{op: opLoad, name: key})
	return a.record, a.err
}

func (s gated) Create(ctx context.Context, rec store.Record) error {
	c := call{op: opCreate, name: rec.Key, record: s.clocked(ctx, rec)}
	if !s.w.scenario.apart {
		return s.stop(ctx, c).err
	}
	i := c
	i.op = opIndex
	first, second := i, c
	if s.w.options.indexLast {
		first, second = c, i
	}
	if err := s.stop(ctx, first).err; err != nil {
		return err
	}
	return s.stop(ctx, second).err
}

func (s gated) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return s.stop(ctx, call{op: opReplace, name: rec.Key, record: s.clocked(ctx, rec), version: version}).err
}

// ReplaceBatch stops before each record: others may come in between.
func (s gated) ReplaceBatch(ctx context.Context, recs []store.Record, versions []uint64) ([]bool, error) {
	replaced := make([]bool, len(recs))
	for i := range recs {
		err := s.Replace(ctx, recs[i], versions[i])
		replaced[i] = err == nil
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	return replaced, nil
}

func (s gated) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return s.stop(ctx, call{op: opTouch, name: key, version: version, seen: seen, expires: expires}).err
}

func (s gated) Delete(ctx context.Context, key string) error {
	return s.stop(ctx, call{op: opDelete, name: key}).err
}

func (s gated) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		l := &listing{next: s.w.scenario.scan.first()}
		for {
			a := s.stop(ctx, call{op: opList, principal: principal, listing: l})
			if errors.Is(a.err, errListed) || !yield(a.record, a.err) || a.err != nil {
				return
			}
		}
	}
}

// All is not used by any scenario.
func (s gated) All(context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) { yield(store.Record{}, errors.ErrUnsupported) }
}

// clocked returns a copy of a record as the request writes it. Where the order of logins counts, each of them has a
// time of its own, the same in every run.
func (s gated) clocked(ctx context.Context, r store.Record) store.Record {
	r = copied(r)
	q, ok := ctx.Value(requestKey{}).(*request)
	if ok && s.w.scenario.most > 0 && q.life == login && r.Kind == store.Live {
		r.CreatedAt = s.w.start.Add(time.Duration(10*q.i+q.clock*10) * time.Millisecond)
	}
	return r
}

func copied(r store.Record) store.Record {
	r.Data = slices.Clone(r.Data)
	return r
}

// scan is the order in which a listing comes by the records. The contract says nothing of those that come or go
// meanwhile, so stores differ.
type scan uint8

const (
	scanUp       scan = iota // older requests' records first
	scanDown                 // newer ones first
	scanSnapshot             // all as they were when the listing began
)

func (s scan) first() int8 {
	if s == scanDown {
		return maxKeys - 1
	}
	return 0
}

// listing is how far a listing has come.
type listing struct {
	next     int8
	began    bool
	snapshot []store.Record
}

// errListed ends a listing.
var errListed = errors.New("no more records")

// entry is one place for a record.
type entry struct {
	there  bool
	index  bool // has an index entry, where that is apart
	record store.Record
	value  value
	epoch  uint8 // of the write
}

func (w *world) live(k int8) bool {
	return w.entries[k].there && w.entries[k].record.Kind == store.Live
}

// expire removes what has expired. Time moves only by a jump, so it is called after that.
func (w *world) expire() {
	for k := range w.entries {
		if e := &w.entries[k]; e.there && !time.Now().Before(e.record.ExpiresAt) {
			e.there = false
		}
	}
}

// apply does what a store does, in one atomic step. q is the request that the call is for.
func (w *world) apply(q *request, c *call) answer {
	if c.op == opList {
		return w.list(q, c)
	}
	e := &w.entries[c.key]
	switch c.op {
	case opLoad:
		if !e.there {
			return answer{err: store.ErrNotFound}
		}
		return answer{record: copied(e.record)}
	case opIndex:
		e.index = true
	case opCreate:
		if e.there {
			return answer{err: store.ErrExists}
		}
		w.put(q, c)
		w.wasCreated(q, c.key)
	case opReplace, opTouch:
		if !e.there {
			return answer{err: store.ErrNotFound}
		}
		if e.record.Version != c.version {
			return answer{err: store.ErrConflict}
		}
		if c.op == opTouch {
			q.wrote = true
			e.record.LastSeenAt, e.record.ExpiresAt = c.seen, c.expires
		} else {
			w.put(q, c)
			w.wasReplaced(q, c.key)
		}
	case opDelete:
		q.wrote = true
		w.wasDeleted(q, c.key)
		e.there = false
	}
	return answer{}
}

func (w *world) put(q *request, c *call) {
	if q != nil {
		q.wrote = true
	}
	e := &w.entries[c.key]
	e.there, e.record, e.value, e.epoch = true, copied(c.record), parse(c.record.Data), w.epoch
	if !w.scenario.apart {
		e.index = true
	}
	if q != nil && q.out == running && c.record.Kind == store.Live {
		q.target = c.key
	}
}

func (w *world) list(q *request, c *call) answer {
	l := c.listing
	if !l.began {
		l.began = true
		if q != nil && q.revokes() {
			w.listingBegan(q, c.principal)
		}
		if w.scenario.scan == scanSnapshot {
			for k := range int8(maxKeys) {
				if r, ok := w.listed(k, c.principal); ok {
					l.snapshot = append(l.snapshot, r)
				}
			}
		}
	}
	if w.scenario.scan == scanSnapshot {
		if len(l.snapshot) == 0 {
			return answer{err: errListed}
		}
		r := l.snapshot[0]
		l.snapshot = l.snapshot[1:]
		return answer{record: r}
	}
	step := int8(1)
	if w.scenario.scan == scanDown {
		step = -1
	}
	for k := l.next; k >= 0 && k < maxKeys; k += step {
		if r, ok := w.listed(k, c.principal); ok {
			l.next = k + step
			return answer{record: r}
		}
	}
	l.next = maxKeys
	return answer{err: errListed}
}

// listed returns what a listing of the principal has to say of place k.
func (w *world) listed(k int8, principal string) (store.Record, bool) {
	e := &w.entries[k]
	if !e.index {
		return store.Record{}, false
	}
	if !e.there && w.options.indexCleans {
		e.index = false
	}
	if !e.there || e.record.Principal != principal {
		return store.Record{}, false
	}
	r := copied(e.record)
	r.Data = nil
	return r, true
}
