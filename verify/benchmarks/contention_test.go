package main

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(contended) != "" {
		if err := contend(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	o := outcome{Clients: []int{30, 60}, Unavailable: 9, Uncertain: 1, Took: 10 * time.Second,
		Buckets: map[int]int{bucket(time.Millisecond): 98, bucket(time.Second): 2}}
	got := fmt.Sprintf("%.0f %d %.2f %s", o.rate(), o.failed(), o.fairness(), share(o.failed(), o.done()+o.failed()))
	if want := "9 10 0.50 10 %"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for p, want := range map[float64]time.Duration{0.5: time.Millisecond, 0.98: time.Millisecond, 0.99: time.Second} {
		if got := o.percentile(p); got < want || got > want*11/10 {
			t.Errorf("percentile %v: got %v, want %v", p, got, want)
		}
	}
}
