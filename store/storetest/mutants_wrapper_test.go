package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// transparent is a wrapper that changes nothing. Its functions, where set, make a mutant of it.
type transparent struct {
	store.Store
	before func(ctx context.Context, c *call) context.Context
	after  func(err error) error
	times  int // a write is sent; 0: once
	loaded func(rec *store.Record)
}

func (w *transparent) Unwrap() store.Store { return w.Store }

func (w *transparent) do(ctx context.Context, c call, send func(ctx context.Context, c call) error) (err error) {
	if w.before != nil {
		ctx = w.before(ctx, &c)
	}
	for range max(1, w.times) {
		err = send(ctx, c)
	}
	if w.after != nil {
		err = w.after(err)
	}
	return err
}

func (w *transparent) Load(ctx context.Context, key string) (rec store.Record, err error) {
	err = w.do(ctx, call{key: key}, func(ctx context.Context, c call) (err error) {
		rec, err = w.Store.Load(ctx, c.key)
		return err
	})
	if w.loaded != nil {
		w.loaded(&rec)
	}
	return rec, err
}

func (w *transparent) Create(ctx context.Context, rec store.Record) error {
	return w.do(ctx, call{rec: rec}, func(ctx context.Context, c call) error { return w.Store.Create(ctx, c.rec) })
}

func (w *transparent) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return w.do(ctx, call{rec: rec, version: version}, func(ctx context.Context, c call) error {
		return w.Store.Replace(ctx, c.rec, c.version)
	})
}

func (w *transparent) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return w.do(ctx, call{key: key, version: version, seen: seen, expires: expires},
		func(ctx context.Context, c call) error {
			return w.Store.Touch(ctx, c.key, c.version, c.seen, c.expires)
		})
}

func (w *transparent) Delete(ctx context.Context, key string) error {
	return w.do(ctx, call{key: key}, func(ctx context.Context, c call) error { return w.Store.Delete(ctx, c.key) })
}

// prefixing adds a prefix to keys. So it has no Unwrap, and lists, sweeps and evicts itself.
type prefixing struct {
	s      store.Store
	prefix string
}

func (w prefixing) in(rec store.Record) store.Record {
	rec.Key = w.prefix + rec.Key
	return rec
}

func (w prefixing) out(rec store.Record) store.Record {
	rec.Key = strings.TrimPrefix(rec.Key, w.prefix)
	return rec
}

func (w prefixing) Load(ctx context.Context, key string) (store.Record, error) {
	rec, err := w.s.Load(ctx, w.prefix+key)
	return w.out(rec), err
}

func (w prefixing) LoadStale(ctx context.Context, key string) (store.Record, error) {
	l, ok := store.As[store.StaleLoader](w.s)
	if !ok {
		return store.Record{}, errors.ErrUnsupported
	}
	rec, err := l.LoadStale(ctx, w.prefix+key)
	return w.out(rec), err
}

func (w prefixing) Create(ctx context.Context, rec store.Record) error {
	return w.s.Create(ctx, w.in(rec))
}

func (w prefixing) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return w.s.Replace(ctx, w.in(rec), version)
}

func (w prefixing) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return w.s.Touch(ctx, w.prefix+key, version, seen, expires)
}

func (w prefixing) Delete(ctx context.Context, key string) error {
	return w.s.Delete(ctx, w.prefix+key)
}

func (w prefixing) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return w.list(func(l store.Lister) sequence { return l.Principal(ctx, principal) })
}

func (w prefixing) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return w.list(func(l store.Lister) sequence { return l.All(ctx) })
}

func (w prefixing) list(records func(store.Lister) sequence) sequence {
	return func(yield func(store.Record, error) bool) {
		l, ok := store.As[store.Lister](w.s)
		if !ok {
			yield(store.Record{}, errors.ErrUnsupported)
			return
		}
		for rec, err := range records(l) {
			if err == nil && !strings.HasPrefix(rec.Key, w.prefix) {
				continue
			}
			if !yield(w.out(rec), err) {
				return
			}
		}
	}
}

func (w prefixing) Sweep(ctx context.Context, limit int) (int, error) {
	if s, ok := store.As[store.Sweeper](w.s); ok {
		return s.Sweep(ctx, limit)
	}
	return 0, nil
}

func (w prefixing) OnEvict(fn func(store.Record)) func() {
	if e, ok := store.As[store.Evicter](w.s); ok {
		return e.OnEvict(func(rec store.Record) { fn(w.out(rec)) })
	}
	return func() {}
}

// without returns a prefixing wrapper with a method replaced.
type without struct {
	prefixing
	list    func() sequence
	sweep   func(ctx context.Context, limit int) (int, error)
	onEvict func(fn func(store.Record)) func()
}

func (w without) All(ctx context.Context) sequence {
	if w.list != nil {
		return w.list()
	}
	return w.prefixing.All(ctx)
}

func (w without) Principal(ctx context.Context, principal string) sequence {
	if w.list != nil {
		return w.list()
	}
	return w.prefixing.Principal(ctx, principal)
}

func (w without) Sweep(ctx context.Context, limit int) (int, error) {
	if w.sweep != nil {
		return w.sweep(ctx, limit)
	}
	return w.prefixing.Sweep(ctx, limit)
}

func (w without) OnEvict(fn func(store.Record)) func() {
	if w.onEvict != nil {
		return w.onEvict(fn)
	}
	return w.prefixing.OnEvict(fn)
}

type unwrapsAnother struct{ store.Store }

func (unwrapsAnother) Unwrap() store.Store { return &tiny{newMedium()} }

// counting is a wrapper whose own Sweeper is wrong. Its Lister is the wrapped store's.
type counting struct{ *transparent }

func (counting) Sweep(context.Context, int) (int, error) { return 0, nil }

type wrapFunc = func(store.Store) store.Store

func wrap(change func(w *transparent)) wrapFunc {
	return func(s store.Store) store.Store {
		w := &transparent{Store: s}
		change(w)
		return w
	}
}

// inContext returns a wrapper that passes another context on.
func inContext(change func(ctx context.Context) context.Context) wrapFunc {
	return wrap(func(w *transparent) {
		w.before = func(ctx context.Context, _ *call) context.Context { return change(ctx) }
	})
}

// valueless has the end of a context and nothing of its values.
type valueless struct{ context.Context }

func (valueless) Value(any) any { return nil }

// wrapperMutants are wrong wrappers, and the clauses that have to catch them.
var wrapperMutants = func() (all []mutant) {
	for _, m := range []struct {
		name   string
		caught []string
		wrap   wrapFunc
	}{
		{"wraps without Unwrap", []string{"WrapperKeepsCapabilities"}, func(s store.Store) store.Store {
			return struct{ store.Store }{s}
		}},
		{"unwraps another store", []string{"WrapperKeepsCapabilities"}, func(s store.Store) store.Store {
			return unwrapsAnother{s}
		}},
		{"lists nothing where nobody can list", []string{"WrapperKeepsCapabilities"}, func(s store.Store) store.Store {
			if _, ok := store.As[store.Lister](s); ok {
				return prefixing{s, "a"}
			}
			return without{prefixing: prefixing{s, "a"}, list: func() sequence {
				return func(func(store.Record, error) bool) {}
			}}
		}},
		{"forgets OnEvict's function", []string{"WrapperKeepsCapabilities"}, func(s store.Store) store.Store {
			return without{prefixing: prefixing{s, "a"}, onEvict: func(func(store.Record)) func() { return func() {} }}
		}},
		{"does not undo OnEvict", []string{"WrapperKeepsCapabilities"}, func(s store.Store) store.Store {
			return without{prefixing: prefixing{s, "a"}, onEvict: func(fn func(store.Record)) func() {
				prefixing{s, "a"}.OnEvict(fn)
				return func() {}
			}}
		}},
		{"changes keys and has Unwrap", []string{"WrapperPassesCalls"}, wrap(func(w *transparent) {
			w.before = func(ctx context.Context, c *call) context.Context {
				if c.key != "" {
					c.key = "prefix-" + c.key
				} else {
					c.rec.Key = "prefix-" + c.rec.Key
				}
				return ctx
			}
			w.loaded = func(rec *store.Record) { rec.Key = strings.TrimPrefix(rec.Key, "prefix-") }
		})},
		{"changes data and has Unwrap", []string{"WrapperPassesCalls"}, wrap(func(w *transparent) {
			reverse := func(rec *store.Record) {
				rec.Data = slices.Clone(rec.Data)
				slices.Reverse(rec.Data)
			}
			w.before = func(ctx context.Context, c *call) context.Context {
				reverse(&c.rec)
				return ctx
			}
			w.loaded = reverse
		})},
		{"loads records without Public", []string{"WrapperPassesCalls"}, wrap(func(w *transparent) {
			w.loaded = func(rec *store.Record) { rec.Public = nil }
		})},
		{"says that it swept nothing", []string{"WrapperPassesCalls"}, func(s store.Store) store.Store {
			return counting{&transparent{Store: s}}
		}},
		{"writes twice", []string{"WrapperPassesCalls", "WrapperPassesErrors"},
			wrap(func(w *transparent) { w.times = 2 })},
		{"hides errors behind a text", []string{"WrapperPassesErrors"}, wrap(func(w *transparent) {
			w.after = func(err error) error {
				if err != nil {
					return fmt.Errorf("wrapper: %v", err)
				}
				return nil
			}
		})},
		{"takes every error for ErrNotFound", []string{"WrapperPassesErrors"}, wrap(func(w *transparent) {
			w.after = func(err error) error {
				if err != nil {
					return fmt.Errorf("%w (%w)", store.ErrNotFound, err)
				}
				return nil
			}
		})},
		{"forgets the expired record", []string{"WrapperPassesErrors"}, wrap(func(w *transparent) {
			w.after = func(err error) error {
				if e, ok := errors.AsType[*store.ExpiredError](err); ok {
					return errors.Join(&store.ExpiredError{}, e)
				}
				return err
			}
		})},
		{"calls under no context", []string{"WrapperPassesTheContext"},
			inContext(func(context.Context) context.Context { return context.Background() })},
		{"calls under a context without end", []string{"WrapperPassesTheContext"}, inContext(context.WithoutCancel)},
		{"calls under a context without values", []string{"WrapperPassesTheContext"},
			inContext(func(ctx context.Context) context.Context { return valueless{ctx} })},
	} {
		all = append(all, mutant{name: m.name, caught: m.caught, opts: []Option{wrapping(m.wrap)},
			open: func(s *tiny) store.Store { return s }})
	}
	return all
}()

// Wrapper as a whole passes a wrapper that changes nothing, and one that changes keys and says so.
func TestWrapperPasses(t *testing.T) {
	t.Parallel()
	const full = "the longest keys have no room for a prefix"
	for name, wrapper := range map[string]struct {
		wrap wrapFunc
		opts []Option
	}{
		"transparent": {wrap: wrap(func(*transparent) {})},
		"twice": {func(s store.Store) store.Store {
			return &transparent{Store: &transparent{Store: s}}
		}, only(wrapperClauses)},
		"prefixing": {func(s store.Store) store.Store { return prefixing{s, "a"} },
			[]Option{Except("LongestTexts", full), Except("PublicOf512Bytes", full), Except("KeysAreOpaque", full)}},
		"faulty": {func(s store.Store) store.Store { return NewFaulty(s, Faults{}) }, only(wrapperClauses)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Wrapper(t, wrapper.wrap, append(wrapper.opts, Bubble())...)
		})
	}
}

// only returns the options that leave out all clauses but some.
func only(some []clause) (opts []Option) {
	for _, c := range clauses {
		if !slices.ContainsFunc(some, func(s clause) bool { return s.name == c.name }) {
			opts = append(opts, Except(c.name, "another test runs it"))
		}
	}
	return opts
}

// Wrapper fails for the wrappers that each of its clauses is there for, and the usual clauses see what a
// change of keys behind an Unwrap does.
func TestWrapperFails(t *testing.T) {
	t.Parallel()
	for name, caught := range map[string][]string{
		"wraps without Unwrap":        {"WrapperKeepsCapabilities", "DeclaresWhatItIs", "PrincipalListsItsRecords"},
		"changes keys and has Unwrap": {"WrapperPassesCalls", "PrincipalListsItsRecords"},
		"changes data and has Unwrap": {"WrapperPassesCalls"},
		"calls under no context":      {"WrapperPassesTheContext", "EndedContextIsAnError"},
		"hides errors behind a text":  {"WrapperPassesErrors", "LoadOfNothingIsNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := wrapperMutants[slices.IndexFunc(wrapperMutants, func(m mutant) bool { return m.name == name })]
			cfg := newConfig(m.opts)
			var f findings
			var named []clause
			for _, name := range caught {
				named = append(named, clauseNamed(t, name))
			}
			t.Run("named", func(t *testing.T) {
				Wrapper(t, cfg.wrap, append(only(named), Bubble(), func(c *config) { c.out = &f })...)
			})
			for _, clause := range caught {
				if !slices.ContainsFunc(f.list, func(found string) bool {
					return strings.HasPrefix(found, "the rule "+clause+":")
				}) {
					t.Errorf("the clause %s found nothing", clause)
				}
			}
		})
	}
}
