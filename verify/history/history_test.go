package history_test

import (
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/verify/history"
)

var (
	replay = flag.Uint64("seed", 0, "replay the history of this seed, smaller if that still fails, "+
		"and print its log")
	histories = flag.Int("history.count", 3000, "how many histories at most")
	duration  = flag.Duration("history.duration", 0,
		"for how long to go on with seeds that were never used; 0: until -history.count, or 20 seconds")
)

const budget = 20 * time.Second // of -history.count

// inBubble runs a program in fake time, over one store in memory.
func inBubble(t *testing.T, p history.Program, wrap func(store.Store) store.Store, verbose bool) (h *history.History) {
	cryptotest.SetGlobalRandom(t, p.Seed)
	synctest.Test(t, func(t *testing.T) {
		s := history.SlowListing(memstore.New(nil), 2*history.Bubble.Unit)
		h = history.Run(t.Context(), p, history.Servers{Pace: history.Bubble, Stores: []store.Store{wrap(s)},
			Verbose: verbose})
	})
	return h
}

func unbroken(s store.Store) store.Store { return s }

// totals is what many histories came to.
type totals struct {
	mu                            sync.Mutex
	histories, ops, undecided     int
	refused, lost, late, hung, ok int
}

func (n *totals) add(h *history.History, v history.Verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.histories++
	n.ops += v.Ops
	n.undecided += v.Undecided
	n.ok += h.Faults.Undisturbed
	n.refused += h.Faults.Refused
	n.lost += h.Faults.Lost
	n.late += h.Faults.Late
	n.hung += h.Faults.Hung
}

func (n *totals) report(t *testing.T) {
	t.Logf("%d histories, %d ops; store calls: %d went well, %d refused, %d without an answer, %d late, "+
		"%d hung; %d searches gave up",
		n.histories, n.ops, n.ok, n.refused, n.lost, n.late, n.hung, n.undecided)
	if n.undecided > n.histories/1000 {
		t.Errorf("%d of %d histories could not be decided", n.undecided, n.histories)
	}
}

// seeds yields those of a run: always the same ones, or for hours others.
func seeds(budget time.Duration) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		began := time.Now()
		if *duration > 0 {
			for time.Since(began) < *duration && yield(rand.Uint64()) {
			}
			return
		}
		for seed := range uint64(*histories) {
			if time.Since(began) > budget || !yield(seed+1) {
				return
			}
		}
	}
}

// TestHistories runs random programs over servers with one store in memory.
func TestHistories(t *testing.T) {
	if *replay != 0 {
		explain(t, *replay)
		return
	}
	var n totals
	defer n.report(t)
	for seed := range seeds(budget) {
		h := inBubble(t, history.Generate(seed, history.Bubble), unbroken, false)
		v := h.Check()
		n.add(h, v)
		if len(v.Problems) > 0 {
			explain(t, seed)
			return
		}
	}
}

var numbers = regexp.MustCompile(`[0-9]+`)

// kindOf is what went wrong, without the numbers.
func kindOf(v history.Verdict) string {
	if len(v.Problems) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(v.Problems[0], "\n")
	return numbers.ReplaceAllString(first, "#")
}

// explain replays a history, and prints the smallest part of its program that fails in the same way.
func explain(t *testing.T, seed uint64) {
	p := history.Generate(seed, history.Bubble)
	kind := kindOf(inBubble(t, p, unbroken, false).Check())
	if kind != "" {
		p = history.Shrink(p, func(p history.Program) bool {
			return kindOf(inBubble(t, p, unbroken, false).Check()) == kind
		})
	}
	h := inBubble(t, p, unbroken, true)
	t.Logf("%v\n%s", p, strings.Join(h.Log, "\n"))
	for _, problem := range h.Check().Problems {
		t.Error(problem)
	}
	if kind != "" {
		t.Errorf("replay this with: go test ./history -run TestHistories -v -seed %d", seed)
	}
}

// TestReplaysAreTheSame shows that a seed that failed fails again.
func TestReplaysAreTheSame(t *testing.T) {
	different := 0
	const tried = 100
	for seed := range uint64(tried) {
		var logs [2]string
		for i := range logs {
			h := inBubble(t, history.Generate(seed+1, history.Bubble), unbroken, true)
			logs[i] = fmt.Sprint(h.Log)
		}
		if logs[0] != logs[1] {
			different++
		}
	}
	if different > tried/10 {
		t.Errorf("%d of %d histories went another way when they were replayed", different, tried)
	}
	t.Logf("%d of %d histories went another way when they were replayed", different, tried)
}
