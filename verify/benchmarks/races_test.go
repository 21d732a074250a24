package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/hipflask/session/verify/benchmarks/peers"
)

// TestRaces holds what the comparison says of this library, and that the races are real: that without its protocol, in
// a cookie, all of them go wrong.
func TestRaces(t *testing.T) {
	t.Parallel()
	for _, l := range peers.All() {
		if l.Module != peers.Ours {
			continue
		}
		cells, err := raceAll(l, t.TempDir(), 2)
		if err != nil {
			t.Fatal(err)
		}
		bad := slices.ContainsFunc(cells, func(cell string) bool { return strings.HasPrefix(cell, "**") })
		if want := l.Keeps == peers.Cookie; bad != want {
			t.Errorf("%s: got %q, want something to go wrong %v", l.Name, cells, want)
		}
	}
}
