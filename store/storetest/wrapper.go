package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// Wrapper checks a store that wraps another one, to measure, log or trace its calls, or to change its keys or records.
// wrap returns a new wrapper around s. It may be called with any store, also with one that has no method besides those
// of [store.Store].
//
//	func TestWrapper(t *testing.T) {
//		storetest.Wrapper(t, func(s store.Store) store.Store { return timed.New(s) }, storetest.Bubble())
//	}
//
// The subtests whose names begin with Wrapper check what the wrapper passes on:
//
//   - [store.As] finds through it a Lister, a Sweeper, an Evicter and a StaleLoader where the wrapped store has them.
//   - If it has Unwrap, every method passes keys and records unchanged, in both directions. A wrapper that changes them
//     must not have Unwrap, and implements Lister, Sweeper, Evicter and StaleLoader itself.
//   - A write reaches the wrapped store once.
//   - [errors.Is] and [errors.As] still recognise its errors, an [store.ExpiredError] with its record.
//   - The context that it passes on has the caller's values, and ends when the caller's does.
//
// The others are those of [Run], on a wrapped memstore. opts are the options of Run, for what the wrapper restricts;
// [SingleOpen] and [Bounded] are set.
func Wrapper(t *testing.T, wrap func(s store.Store) store.Store, opts ...Option) {
	t.Helper()
	Run(t, func(testing.TB) store.Store { return wrap(memstore.New(nil)) }, append(opts[:len(opts):len(opts)],
		SingleOpen(),
		Bounded(func(testing.TB) store.Store {
			return wrap(memstore.New(&memstore.Options{MaxSessions: overflow / 10}))
		}),
		wrapping(wrap),
	)...)
}

// wrapping declares that the store under test is a wrapper.
func wrapping(wrap func(store.Store) store.Store) Option { return func(c *config) { c.wrap = wrap } }

var wrapperClauses = []clause{{
	name: "WrapperKeepsCapabilities", about: aboutWrapping,
	rule: "store.As finds through a wrapper what the wrapped store can do, and nothing that it can't: " +
		"without the Lister \"log out everywhere\" fails, without the Sweeper nothing removes expired " +
		"records, and a list that is empty because nobody can list looks as if nobody were logged in.",
	run: wrapperKeepsCapabilities,
}, {
	name: "WrapperPassesCalls", about: aboutWrapping,
	rule: "a wrapper with Unwrap passes keys and records unchanged, in both directions, since As reaches " +
		"the wrapped store past it: with other keys a list would name sessions that Load doesn't find. " +
		"A write is sent once.",
	run: wrapperPassesCalls,
}, {
	name: "WrapperPassesErrors", about: aboutWrapping,
	rule: "errors.Is and errors.As recognise an error through the wrapper: an ErrNotFound that can't " +
		"be recognised is an outage to the core, and an outage that looks like ErrNotFound ends a session.",
	run: wrapperPassesErrors,
}, {
	name: "WrapperPassesTheContext", about: aboutWrapping,
	rule: "the wrapped store gets the caller's context or one made from it: otherwise a call goes on " +
		"when the request has ended, and a trace ends at the wrapper.",
	run: wrapperPassesTheContext,
}}

// A call is a call of a store's method, with its arguments.
type call struct {
	method        string
	key           string
	rec           store.Record
	version       uint64
	seen, expires time.Time
	principal     string
	limit         int
}

// calls returns a call of each method.
func calls() []call {
	rec := newRecord()
	return []call{
		{method: "Load", key: rec.Key},
		{method: "LoadStale", key: rec.Key},
		{method: "Create", rec: rec},
		{method: "Replace", rec: changed(rec), version: rec.Version},
		{method: "Touch", key: rec.Key, version: store.NewVersion(), seen: rec.LastSeenAt, expires: rec.ExpiresAt},
		{method: "Delete", key: rec.Key},
		{method: "Principal", principal: rec.Principal},
		{method: "All"},
		{method: "Sweep", limit: 17},
	}
}

// writes tells whether the call changes something.
func (c call) writes() bool { return strings.Contains("Create Replace Touch Delete", c.method) }

// diff says in what the call got differs from c.
func (c call) diff(got call) string {
	d := diff(got.rec, c.rec)
	got.rec, c.rec = store.Record{}, store.Record{}
	if got.seen.Equal(c.seen) && got.expires.Equal(c.expires) {
		got.seen, got.expires = c.seen, c.expires
	}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", c); g != w {
		d = strings.TrimPrefix(d+"; got "+g+", want "+w, "; ")
	}
	return d
}

// A result is what a call returned: one record of Load, any number of a listing.
type result struct {
	recs []store.Record
	n    int // of Sweep
	err  error
}

// on makes the call on s. It returns false if s has no such method.
func (c call) on(ctx context.Context, s store.Store) (r result, ok bool) {
	list := func(seq iter.Seq2[store.Record, error]) {
		for rec, err := range seq {
			if err != nil {
				r.err = err
				continue
			}
			r.recs = append(r.recs, rec)
		}
	}
	l, lists := store.As[store.Lister](s)
	sw, sweeps := store.As[store.Sweeper](s)
	stale, caches := store.As[store.StaleLoader](s)
	switch {
	case c.method == "Load":
		var rec store.Record
		if rec, r.err = s.Load(ctx, c.key); r.err == nil {
			r.recs = []store.Record{rec}
		}
	case c.method == "LoadStale" && caches:
		var rec store.Record
		if rec, r.err = stale.LoadStale(ctx, c.key); r.err == nil {
			r.recs = []store.Record{rec}
		}
	case c.method == "Create":
		r.err = s.Create(ctx, c.rec)
	case c.method == "Replace":
		r.err = s.Replace(ctx, c.rec, c.version)
	case c.method == "Touch":
		r.err = s.Touch(ctx, c.key, c.version, c.seen, c.expires)
	case c.method == "Delete":
		r.err = s.Delete(ctx, c.key)
	case c.method == "Principal" && lists:
		list(l.Principal(ctx, c.principal))
	case c.method == "All" && lists:
		list(l.All(ctx))
	case c.method == "Sweep" && sweeps:
		r.n, r.err = sw.Sweep(ctx, c.limit)
	default:
		return r, false
	}
	return r, true
}

// spy is a store that keeps nothing: it notes the calls that reach it and returns what it was told to.
type spy struct {
	mu     sync.Mutex
	got    []call
	answer result
	during func(ctx context.Context) // called by every method

	evicted  func(store.Record) // given to OnEvict
	canceled bool
}

func (s *spy) take(ctx context.Context, c call) result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, c)
	if s.during != nil {
		s.during(ctx)
	}
	return s.answer
}

func (s *spy) Load(ctx context.Context, key string) (store.Record, error) {
	return s.load(ctx, "Load", key)
}

func (s *spy) LoadStale(ctx context.Context, key string) (store.Record, error) {
	return s.load(ctx, "LoadStale", key)
}

func (s *spy) load(ctx context.Context, method, key string) (rec store.Record, err error) {
	r := s.take(ctx, call{method: method, key: key})
	if r.err == nil && len(r.recs) > 0 {
		rec = cloned(r.recs[0])
	}
	return rec, r.err
}

func (s *spy) Create(ctx context.Context, rec store.Record) error {
	return s.take(ctx, call{method: "Create", rec: cloned(rec)}).err
}

func (s *spy) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return s.take(ctx, call{method: "Replace", rec: cloned(rec), version: version}).err
}

func (s *spy) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return s.take(ctx, call{method: "Touch", key: key, version: version, seen: seen, expires: expires}).err
}

func (s *spy) Delete(ctx context.Context, key string) error {
	return s.take(ctx, call{method: "Delete", key: key}).err
}

func (s *spy) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return s.list(ctx, call{method: "Principal", principal: principal})
}

func (s *spy) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return s.list(ctx, call{method: "All"})
}

func (s *spy) list(ctx context.Context, c call) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		r := s.take(ctx, c)
		for _, rec := range r.recs {
			if !yield(withoutData(cloned(rec)), nil) {
				return
			}
		}
		if r.err != nil {
			yield(store.Record{}, r.err)
		}
	}
}

func (s *spy) Sweep(ctx context.Context, limit int) (int, error) {
	r := s.take(ctx, call{method: "Sweep", limit: limit})
	return r.n, r.err
}

func (s *spy) OnEvict(fn func(store.Record)) (cancel func()) {
	s.evicted = fn
	return func() { s.canceled = true }
}

// wrapped returns a wrapped spy, and whether the wrapper has Unwrap and so changes nothing.
func (p *probe) wrapped() (w store.Store, s *spy, transparent bool) {
	s = &spy{}
	w = p.cfg.wrap(s)
	found, transparent := store.As[*spy](w)
	return w, s, transparent && found == s
}

func wrapperKeepsCapabilities(p *probe, _, _ store.Store) {
	w, s, transparent := p.wrapped()
	if _, unwraps := w.(interface{ Unwrap() store.Store }); unwraps && !transparent {
		p.Errorf("%T: Unwrap leads to another store than the one that it wraps", w)
	}
	lost := func(capability string) {
		p.Errorf("%T around a %s: store.As finds none: give it Unwrap, or, if it changes keys or records, "+
			"the methods of %s", w, capability, capability)
	}
	if _, ok := store.As[store.Lister](w); !ok {
		lost("store.Lister")
	}
	if _, ok := store.As[store.Sweeper](w); !ok {
		lost("store.Sweeper")
	}
	if _, ok := store.As[store.StaleLoader](w); !ok {
		lost("store.StaleLoader")
	}
	if e, ok := store.As[store.Evicter](w); !ok {
		lost("store.Evicter")
	} else {
		p.evictsThrough(e, s, transparent)
	}

	bare := p.cfg.wrap(struct{ store.Store }{s})
	for _, c := range calls() {
		if c.method != "Principal" && c.method != "All" && c.method != "LoadStale" {
			continue
		}
		if r, ok := c.on(p.ctx, bare); ok && !errors.Is(r.err, errors.ErrUnsupported) {
			p.Errorf("%s of a %T around a store that has no such method: got %v, want errors.ErrUnsupported",
				c.method, w, quoted(r.err))
		}
	}
}

// evictsThrough reports unless the wrapper's Evicter is that of s.
func (p *probe) evictsThrough(e store.Evicter, s *spy, transparent bool) {
	p.Helper()
	want := withoutData(newRecord())
	var got []store.Record
	cancel := e.OnEvict(func(rec store.Record) { got = append(got, rec) })
	if s.evicted == nil {
		p.Errorf("OnEvict: the wrapped store got no function")
		return
	}
	s.evicted(want)
	switch {
	case len(got) != 1:
		p.Errorf("OnEvict: got %d calls for one evicted record, want 1", len(got))
	case transparent && diff(got[0], want) != "":
		p.Errorf("OnEvict: the record that was evicted comes through changed: %s", diff(got[0], want))
	}
	if cancel(); !s.canceled {
		p.Errorf("OnEvict: the function that it returned does not undo it in the wrapped store")
	}
}

func wrapperPassesCalls(p *probe, _, _ store.Store) {
	for _, c := range calls() {
		w, s, transparent := p.wrapped()
		s.answer = result{recs: recordsOf("principal", 1), n: 3}
		switch c.method {
		case "Load", "LoadStale":
			s.answer.recs[0].Key = c.key
		case "Principal", "All":
			s.answer.recs = recordsOf("principal", 3)
		}
		r, ok := c.on(p.ctx, w)
		if !ok {
			continue // WrapperKeepsCapabilities reports it
		}
		p.want(nil, r.err, c.method+" through the wrapper")
		if n := len(s.got); n == 0 || n > 1 && c.writes() {
			p.Errorf("%s: got %d calls of the wrapped store for one, want 1", c.method, n)
			continue
		}
		if !transparent {
			continue // the clauses of Run tell whether it does this right
		}
		if d := c.diff(s.got[0]); d != "" {
			p.Errorf("%s: the wrapped store was called with something else: %s", c.method, d)
		}
		p.passesResult(c, r, s.answer)
	}
}

// passesResult reports unless r is what the wrapped store returned.
func (p *probe) passesResult(c call, r, want result) {
	p.Helper()
	switch c.method {
	case "Sweep":
		if r.n != want.n {
			p.Errorf("Sweep: got %d removed, want %d as the wrapped store says", r.n, want.n)
		}
		return
	case "Principal", "All":
		for i := range want.recs {
			want.recs[i] = withoutData(want.recs[i])
		}
	case "Load", "LoadStale":
	default:
		return
	}
	if len(r.recs) != len(want.recs) {
		p.Errorf("%s: got %d records, want %d as the wrapped store returned", c.method, len(r.recs), len(want.recs))
		return
	}
	for i, rec := range r.recs {
		if d := diff(rec, want.recs[i]); d != "" {
			p.Errorf("%s: a record comes through changed: %s", c.method, d)
		}
	}
}

// errUnknown is an error that no wrapper knows.
type errUnknown struct{ text string }

func (e *errUnknown) Error() string { return e.text }

func wrapperPassesErrors(p *probe, _, _ store.Store) {
	unknown := &errUnknown{"storetest: some error"}
	ended := &store.ExpiredError{Record: withoutData(newRecord())}
	for _, c := range calls() {
		for _, err := range []error{
			store.ErrNotFound, store.ErrExists, store.ErrConflict, ended, context.Canceled,
			context.DeadlineExceeded, unknown,
		} {
			w, s, transparent := p.wrapped()
			s.answer.err = err
			r, ok := c.on(p.ctx, w)
			if !ok {
				continue
			}
			if n := len(s.got); n > 1 && c.writes() {
				p.Errorf("%s that failed: got %d calls of the wrapped store for one, want 1: a write is sent once",
					c.method, n)
			}
			if !errors.Is(r.err, err) {
				p.Errorf("%s: got %v, want an error that errors.Is takes for %q", c.method, quoted(r.err), err)
				continue
			}
			for _, a := range answers {
				if errors.Is(r.err, a) != errors.Is(err, a) {
					p.Errorf("%s: got %v, which is %q: %v; the wrapped store's error %q is: %v", c.method,
						quoted(r.err), a, errors.Is(r.err, a), err, errors.Is(err, a))
				}
			}
			var expired *store.ExpiredError
			if errors.As(r.err, &expired) && transparent {
				if d := diff(expired.Record, ended.Record); d != "" {
					p.Errorf("%s: the record of the ExpiredError comes through changed: %s", c.method, d)
				}
			}
		}
	}
}

func wrapperPassesTheContext(p *probe, _, _ store.Store) {
	type wrapperKey struct{}
	for _, c := range calls() {
		if p.found > 0 {
			break // one method is enough to wait for
		}
		w, s, _ := p.wrapped()
		ctx, cancel := context.WithCancel(context.WithValue(p.ctx, wrapperKey{}, c.method))
		s.during = func(got context.Context) {
			if got.Value(wrapperKey{}) != c.method {
				p.Errorf("%s: the wrapped store's context has not the values of the caller's", c.method)
			}
			cancel()
			patience := time.NewTimer(time.Second)
			defer patience.Stop()
			select {
			case <-got.Done():
			case <-patience.C:
				p.Errorf("%s: the wrapped store's context goes on when the caller's has ended", c.method)
			}
		}
		_, _ = c.on(ctx, w) // any answer may be right
		cancel()
	}
}
