package main

import (
	"fmt"
	"testing"

	"github.com/hipflask/session/verify/benchmarks/peers"
)

// TestScenes runs every kind of request against every library, a few times for each session, and lets newScene and the
// checks say whether the sessions are distinct, really loaded and really changed.
func TestScenes(t *testing.T) {
	t.Parallel()
	for _, l := range peers.All() {
		t.Run(l.Name, func(t *testing.T) {
			t.Parallel()
			s := openScene(t, l, 5)
			for _, op := range operations {
				subject, check := s.subject(op)
				subject.Run(17)
				if err := check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func openScene(tb testing.TB, l peers.Library, n int) *scene {
	tb.Helper()
	s, err := newScene(l, tb.TempDir(), n)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.app.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// BenchmarkRequest is for benchstat, and for profiles of one library alone:
//
//	go test -run '^$' -bench 'Request/op=read/library=Hipflask,_memory' -cpuprofile cpu.out
func BenchmarkRequest(b *testing.B) {
	n := 1000
	if testing.Short() {
		n = 10
	}
	for _, op := range operations {
		for _, l := range peers.All() {
			b.Run(fmt.Sprintf("op=%s/library=%s", op.short, l.Name), func(b *testing.B) {
				subject, check := openScene(b, l, n).subject(op)
				b.ReportAllocs()
				for b.Loop() {
					subject.Run(1)
				}
				if err := check(); err != nil {
					b.Error(err)
				}
			})
		}
	}
}
