package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
)

func TestOutcome(t *testing.T) {
	t.Parallel()
	o := outcome{Clients: []int{30, 60}, Unavailable: 10, Took: 10 * time.Second,
		Latencies: append(slices.Repeat([]time.Duration{time.Millisecond}, 98), time.Second, time.Second)}
	got := fmt.Sprintf("%.0f %d %.2f %s", o.rate(), o.Unavailable, o.fairness(),
		share(o.Unavailable, o.done()+o.Unavailable))
	if want := "9 10 0.50 10 %"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for p, want := range map[float64]time.Duration{0.5: time.Millisecond, 0.98: time.Millisecond, 0.99: time.Second} {
		if got := o.percentile(p); got != want {
			t.Errorf("percentile %v: got %v, want %v", p, got, want)
		}
	}
}

// Contention is no outage: no client gets a 503, whether all are in one process or in several.
func TestContention(t *testing.T) {
	t.Parallel()
	b := &bench{dir: t.TempDir()}
	if err := b.build("verify/benchmarks/readme"); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"files": "file:" + filepath.Join(b.dir, "hot"),
		"Redis": urlOf(servertest.Redis(t))} {
		for _, processes := range []int{1, 3} {
			o, err := b.contend(url, processes, 48, 300*time.Millisecond)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if o.Unavailable > 0 {
				t.Errorf("%s, %d processes: %d changes were done, and %d requests were answered with 503",
					name, processes, o.done(), o.Unavailable)
			}
			for i, n := range o.Clients {
				if n == 0 {
					t.Errorf("%s, %d processes: client %d made no change", name, processes, i)
				}
			}
		}
	}
}
