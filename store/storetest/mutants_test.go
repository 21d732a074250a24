package storetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// A mutant is a store that breaks one rule, as stores in the wild do, and the clauses that have to catch it.
type mutant struct {
	name   string
	caught []string
	open   func(s *tiny) store.Store
	opts   []Option // beside Bounded
	hangs  bool     // what it gets wrong is that it does not return
}

var mutants = slices.Concat(createMutants, replaceMutants, batchMutants, touchMutants, recordMutants, publicMutants,
	expiryMutants, raceMutants,
	contextMutants, listMutants, indexMutants, loopMutants, sweepMutants, evictMutants, staleMutants, closeMutants,
	wrapperMutants, promiseMutants)

// mutated is a tiny store with some of its methods replaced.
type mutated struct {
	*tiny
	load    func(ctx context.Context, key string) (store.Record, error)
	create  func(ctx context.Context, rec store.Record) error
	replace func(ctx context.Context, rec store.Record, version uint64) error
	touch   func(ctx context.Context, key string, version uint64, seen, expires time.Time) error
	delete  func(ctx context.Context, key string) error
	list    func(ctx context.Context, principal string, all bool) iter.Seq2[store.Record, error]
	sweep   func(ctx context.Context, limit int) (int, error)
	onEvict func(fn func(store.Record)) func()
	close   func() error
}

func (m *mutated) Load(ctx context.Context, key string) (store.Record, error) {
	if m.load != nil {
		return m.load(ctx, key)
	}
	return m.tiny.Load(ctx, key)
}

func (m *mutated) Create(ctx context.Context, rec store.Record) error {
	if m.create != nil {
		return m.create(ctx, rec)
	}
	return m.tiny.Create(ctx, rec)
}

func (m *mutated) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if m.replace != nil {
		return m.replace(ctx, rec, version)
	}
	return m.tiny.Replace(ctx, rec, version)
}

func (m *mutated) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if m.touch != nil {
		return m.touch(ctx, key, version, seen, expires)
	}
	return m.tiny.Touch(ctx, key, version, seen, expires)
}

func (m *mutated) Delete(ctx context.Context, key string) error {
	if m.delete != nil {
		return m.delete(ctx, key)
	}
	return m.tiny.Delete(ctx, key)
}

func (m *mutated) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	if m.list != nil {
		return m.list(ctx, principal, false)
	}
	return m.tiny.Principal(ctx, principal)
}

func (m *mutated) All(ctx context.Context) iter.Seq2[store.Record, error] {
	if m.list != nil {
		return m.list(ctx, "", true)
	}
	return m.tiny.All(ctx)
}

func (m *mutated) Sweep(ctx context.Context, limit int) (int, error) {
	if m.sweep != nil {
		return m.sweep(ctx, limit)
	}
	return m.tiny.Sweep(ctx, limit)
}

func (m *mutated) OnEvict(fn func(store.Record)) func() {
	if m.onEvict != nil {
		return m.onEvict(fn)
	}
	return m.tiny.OnEvict(fn)
}

func (m *mutated) Close() error {
	if m.close != nil {
		return m.close()
	}
	return nil
}

// writing returns a store that changes records before it stores them.
func writing(change func(rec *store.Record)) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s,
			create: func(ctx context.Context, rec store.Record) error {
				change(&rec)
				return s.Create(ctx, rec)
			},
			replace: func(ctx context.Context, rec store.Record, version uint64) error {
				change(&rec)
				return s.Replace(ctx, rec, version)
			},
		}
	}
}

// findings collects what a clause reports, instead of failing the test.
type findings struct {
	mu   sync.Mutex
	list []string
}

func (f *findings) Helper() {}

func (f *findings) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func clauseNamed(t *testing.T, name string) clause {
	t.Helper()
	i := slices.IndexFunc(clauses, func(c clause) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no clause is named %s", name)
	}
	return clauses[i]
}

// tries is how often a clause about a race may fail to notice a mutant before that counts.
const tries = 10

// TestEveryMutantIsCaught runs the named clauses against each mutant, where each has to find something and to say why
// that matters.
func TestEveryMutantIsCaught(t *testing.T) {
	for _, m := range mutants {
		for _, name := range m.caught {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				c := clauseNamed(t, name)
				if !c.alone {
					t.Parallel()
				}
				found := m.run(t, c)
				for range tries {
					// A race can be won by luck, above all on a machine that has other work.
					if races := slices.ContainsFunc(raceClauses, func(r clause) bool {
						return r.name == name
					}); !races || len(found) > 0 {
						break
					}
					found = m.run(t, c)
				}
				if len(found) == 0 {
					t.Fatalf("got no finding: the mutant %q passes the clause %s", m.name, name)
				}
				if last := found[len(found)-1]; !strings.HasPrefix(last, "the rule "+name) {
					t.Errorf("got %q at the end, want the rule", last)
				}
				t.Log(found[0])
			})
		}
	}
}

// run returns what c finds in m.
func (m mutant) run(t *testing.T, c clause) []string {
	var f findings
	cfg := newConfig(append([]Option{Bounded(func(testing.TB) store.Store {
		medium := newMedium()
		medium.max = 100
		return m.open(&tiny{medium})
	})}, m.opts...))
	cfg.out = &f
	if m.hangs {
		cfg.limit = time.Second
	}
	stores := 1
	if c.twoOpens && !cfg.singleOpen {
		stores = 2
	}
	medium := newMedium()
	cfg.check(t, c, func(testing.TB) store.Store { return m.open(&tiny{medium}) }, stores)
	return f.list
}

// TestEveryClauseCatchesAMutant keeps clauses out that cannot fail.
func TestEveryClauseCatchesAMutant(t *testing.T) {
	t.Parallel()
	for _, c := range clauses {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return slices.Contains(m.caught, c.name) }) {
			t.Errorf("no mutant shows that the clause %s can fail", c.name)
		}
	}
}

// TestMutantsAreTinyOtherwise runs the correct store through the same wrapper: what catches a mutant is its fault
// alone.
func TestMutantsAreTinyOtherwise(t *testing.T) {
	t.Parallel()
	correct := mutant{name: "correct", open: func(s *tiny) store.Store { return &mutated{tiny: s} },
		opts: []Option{wrapping(func(s store.Store) store.Store { return &transparent{Store: s} })}}
	for _, c := range clauses {
		if c.about == aboutMaxData {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, found := range correct.run(t, c) {
				t.Error(found)
			}
		})
	}
}
