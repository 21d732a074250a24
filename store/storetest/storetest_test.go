package storetest

import (
	"testing"

	"github.com/hipflask/session/store"
)

// boundedTiny opens a store that evicts.
func boundedTiny(testing.TB) store.Store {
	m := newMedium()
	m.max = 100
	return &tiny{m}
}

// TestRunPassesACorrectStore runs the suite as a store's own test would, with two opens of the same data.
func TestRunPassesACorrectStore(t *testing.T) {
	t.Parallel()
	m := newMedium()
	Run(t, func(testing.TB) store.Store { return &tiny{m} }, Bounded(boundedTiny))
}

func TestRunPassesACorrectStoreInABubble(t *testing.T) {
	t.Parallel()
	Run(t, func(testing.TB) store.Store { return &tiny{newMedium()} }, Bounded(boundedTiny), SingleOpen(), Bubble())
}

func TestRunPassesAStoreThatDeclaresItsLimits(t *testing.T) {
	t.Parallel()
	m := newMedium()
	m.maxData = 100_000
	Run(t, func(testing.TB) store.Store { return struct{ store.Store }{&tiny{m}} }, NoIndex(), OwnExpiry(),
		MaxData(m.maxData))
}

// BenchmarkTiny keeps Bench from rotting; what it measures is no store that anybody runs.
func BenchmarkTiny(b *testing.B) {
	Bench(b, func(testing.TB) store.Store { return &tiny{newMedium()} })
}
