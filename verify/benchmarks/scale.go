package main

import (
	"errors"
	"fmt"
	"time"
)

// sizes returns the numbers of sessions at which a part that grows is measured.
func (b *bench) sizes(largest int) (sizes []int) {
	switch {
	case b.plan.Rounds == 1:
		largest = 2000
	case b.quick:
		largest = 100_000
	}
	for n := 1000; n < largest; n *= 10 {
		sizes = append(sizes, n)
	}
	return append(sizes, largest)
}

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// timed returns the nanoseconds of one of n calls.
func timed(n int, op func(i int) error) (float64, error) {
	start := time.Now()
	for i := range n {
		if err := op(i); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n), nil
}

var errLost = errors.New("a session is not there")
