package history_test

import (
	"context"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/verify/history"
)

// maxStale is long enough for several requests.
const maxStale = 30 * 10 * time.Millisecond

// inStaleBubble runs a program over servers with caches whose records are as old as that, where the model allows
// maxStale. wrap changes the servers' stores.
func inStaleBubble(
	t *testing.T, seed uint64, age time.Duration, wrap func(store.Store) store.Store, verbose bool,
) (h *history.History) {
	cryptotest.SetGlobalRandom(t, seed)
	pace := history.Bubble
	pace.Stale = maxStale
	synctest.Test(t, func(t *testing.T) {
		s := history.SlowListing(memstore.New(nil), 2*pace.Unit)
		views := history.Cached(s, age, history.MaxManagers)
		for i := range views {
			views[i] = wrap(views[i])
		}
		h = history.Run(t.Context(), history.Generate(seed, pace),
			history.Servers{Pace: pace, Stores: views, Verbose: verbose})
	})
	return h
}

// TestHistoriesWithCaches runs random programs over servers that answer plain reads with what was there a moment ago.
func TestHistoriesWithCaches(t *testing.T) {
	var n totals
	defer n.report(t)
	for seed := range seeds(budget / 8) {
		h := inStaleBubble(t, seed, maxStale, unbroken, false)
		v := h.Check()
		n.add(h, v)
		if len(v.Problems) > 0 {
			h = inStaleBubble(t, seed, maxStale, unbroken, true)
			t.Fatalf("seed %d: %v\n%s\n%s", seed, h.Program, strings.Join(h.Log, "\n"),
				strings.Join(h.Check().Problems, "\n"))
		}
	}
}

// strictlyStale is a store whose Load is its LoadStale.
type strictlyStale struct{ store.Store }

func (s strictlyStale) Unwrap() store.Store { return s.Store }

func (s strictlyStale) Load(ctx context.Context, key string) (store.Record, error) {
	l, _ := store.As[store.StaleLoader](s.Store)
	rec, err := l.LoadStale(ctx, key)
	if err != nil {
		return s.Store.Load(ctx, key)
	}
	return rec, nil
}

// forgetful is a store that doesn't forget what it writes: the writes go past the cache.
type forgetful struct {
	store.Store
	past store.Store
}

func (f forgetful) Unwrap() store.Store { return f.Store }

func (f forgetful) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return f.past.Replace(ctx, rec, version)
}

// TestStaleMutantsAreCaught shows that the bound is one.
func TestStaleMutantsAreCaught(t *testing.T) {
	for name, run := range map[string]func(seed uint64) *history.History{
		"records are older than the bound": func(seed uint64) *history.History {
			return inStaleBubble(t, seed, 3*maxStale, unbroken, false)
		},
		"Load is stale as well": func(seed uint64) *history.History {
			return inStaleBubble(t, seed, maxStale, func(s store.Store) store.Store { return strictlyStale{s} }, false)
		},
		"a server's own writes are stale": func(seed uint64) *history.History {
			var first store.Store
			return inStaleBubble(t, seed, maxStale, func(s store.Store) store.Store {
				if first == nil {
					first = s
				}
				return forgetful{s, first} // only the first one forgets
			}, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= mutantHistories; seed++ {
				if v := run(seed).Check(); len(v.Problems) > 0 {
					t.Logf("caught by history %d: %s", seed, v.Problems[0])
					return
				}
			}
			t.Errorf("not caught by %d histories", mutantHistories)
		})
	}
}
