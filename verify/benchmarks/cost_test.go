//go:build !race

// The race detector changes what is allocated and how long things take: ./test runs these with the benchmarks, which it
// runs without it.

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/hipflask/session/verify/benchmarks/measure"
	"github.com/hipflask/session/verify/benchmarks/peers"
)

// TestCostAllocations holds the number of allocations of each path to what it is, so that one more is noticed.
func TestCostAllocations(t *testing.T) {
	for _, c := range []struct {
		op, library string
		most        float64
	}{
		{"nocookie", "Hipflask, memory", 1},
		{"untouched", "Hipflask, memory", 1},
		{"read", "Hipflask, memory", 9},
		{"change", "Hipflask, memory", 13},
		{"read", "Hipflask, memory, traced", 9},
		{"change", "Hipflask, memory, traced", 13},
		{"read", "Hipflask, files", 13},
		{"change", "Hipflask, files", 19},
		{"read", "Hipflask, Flask's cookie", 9},
		{"read", "Hipflask, encrypted cookie", 11},
		{"change", "Hipflask, encrypted cookie", 21},
	} {
		subject, check := openScene(t, peers.Named(c.library), 1).subject(operationNamed(c.op))
		got := testing.AllocsPerRun(1000, func() { subject.Run(1) })
		if got > c.most {
			t.Errorf("%s, %s: got %v allocations, want at most %v", c.library, c.op, got, c.most)
		} else if got < c.most {
			t.Logf("%s, %s: got %v allocations, fewer than %v: lower the bound", c.library, c.op, got, c.most)
		}
		if err := check(); err != nil {
			t.Error(err)
		}
	}
}

// TestCostRatios finds what has become slow by a multiple, not by a share: its bounds are several times what is
// measured, and of all rounds the fastest counts, which has the fewest other programs in it.
func TestCostRatios(t *testing.T) {
	for _, c := range []struct {
		op, us, them string
		most         float64
	}{
		{"nocookie", "Hipflask, memory", "scs, memory", 2},
		{"untouched", "Hipflask, memory", "scs, memory", 1. / 8},
		{"read", "Hipflask, memory", "scs, memory", 1. / 3},
		{"change", "Hipflask, memory", "scs, memory", 1},
		{"change", "Hipflask, encrypted cookie", "gorilla, encrypted cookie", 2},
	} {
		op := operationNamed(c.op)
		us, _ := openScene(t, peers.Named(c.us), 100).subject(op)
		them, _ := openScene(t, peers.Named(c.them), 100).subject(op)
		if got := fastest(us, them); got > c.most {
			t.Errorf("%s: %s takes %.2f of the time of %s, want at most %.2f", c.op, c.us, got, c.them, c.most)
		}
	}
}

// TestCostFiles is the same for the file store, against the system calls that it can't do without.
func TestCostFiles(t *testing.T) {
	load, replace, read, change, err := measureFiles(guardPlan, t.TempDir(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ us, floor measure.Samples }{{load, read}, {replace, change}} {
		if got := slices.Min(c.us.Time) / slices.Min(c.floor.Time); got > 8 {
			t.Errorf("%s takes %.1f times as long as %s, want at most 8", c.us.Name, got, c.floor.Name)
		}
	}
}

var guardPlan = measure.Plan{Rounds: 9, Slice: 4 * time.Millisecond}

func fastest(us, them measure.Subject) float64 {
	samples := measure.Run(guardPlan, us, them)
	return slices.Min(samples[0].Time) / slices.Min(samples[1].Time)
}

func operationNamed(short string) operation {
	return operations[slices.IndexFunc(operations, func(op operation) bool { return op.short == short })]
}
