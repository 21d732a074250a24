// Package measure compares the speed of pieces of code that run in one process, in turns: on a machine where other
// programs come and go, nanoseconds tell little, but what happens to one in a slice of time happens to all in the next,
// so that their ratio holds.
package measure

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// Subject is a piece of code. Run does its work n times.
type Subject struct {
	Name  string
	Run   func(n int)
	Clock func() time.Duration // for a subject that works in another process; nil: the Plan's
}

// Plan says how long to measure.
type Plan struct {
	Rounds int           // in each of which every subject has one turn
	Slice  time.Duration // about how long a turn takes
	// Wall measures by the clock on the wall, for code that waits for others. Otherwise what counts is the processor
	// time of the process, where the system tells it: what other programs do is left out, and what the garbage
	// collector does on other processors is not.
	Wall bool
}

// heapSize is what the heap holds beside the subjects, about as much as a small server's. With next to nothing in it
// the garbage collector would begin anew every 4 MiB, and what it does at each beginning would be most of what is
// measured.
const heapSize = 64 << 20

// Samples are what was measured of one subject: one value for each round.
type Samples struct {
	Name   string
	Time   []float64 // nanoseconds for one operation
	Allocs float64   // for one operation, of the last round
	Bytes  float64   // allocated for one operation, of the last round
}

// Run measures the subjects in turns, in each round in another order, so that none always follows the same.
func Run(p Plan, subjects ...Subject) []Samples {
	result := make([]Samples, len(subjects))
	counts := make([]int, len(subjects))
	for i, s := range subjects {
		result[i].Name = s.Name
		// Twice, since what else the machine does can make one look slow.
		counts[i] = max(calibrate(s.Run, p.Slice), calibrate(s.Run, p.Slice))
	}
	now := processTime
	if p.Wall {
		now = wallTime
	}
	ballast := make([]byte, heapSize)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range p.Rounds {
		for _, i := range rnd.Perm(len(subjects)) {
			clock := now
			if subjects[i].Clock != nil {
				clock = subjects[i].Clock
			}
			result[i].turn(clock, subjects[i].Run, counts[i])
		}
	}
	runtime.KeepAlive(ballast)
	return result
}

// calibrate returns how many operations take about a slice.
func calibrate(run func(n int), slice time.Duration) int {
	for n := 1; ; n *= 4 {
		start := time.Now()
		run(n)
		if took := time.Since(start); took > slice/8 || n > 1<<30 {
			return max(1, int(float64(n)*float64(slice)/float64(took+1)))
		}
	}
}

// turn collects the garbage of others first, so that nobody pays for it.
func (s *Samples) turn(now func() time.Duration, run func(n int), n int) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := now()
	run(n)
	took := now() - began
	runtime.ReadMemStats(&after)
	s.Time = append(s.Time, float64(took.Nanoseconds())/float64(n))
	s.Allocs = float64(after.Mallocs-before.Mallocs) / float64(n)
	s.Bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
}

var start = time.Now()

func wallTime() time.Duration { return time.Since(start) }

// Ratio is what a subject takes of another one's time: the median of all rounds, and the bounds within which eight
// tenths of them lie.
type Ratio struct{ Median, Low, High float64 }

// Over is the ratio of the times of two samples of one Run.
func (s Samples) Over(other Samples) Ratio { return Quotient(s.Time, other.Time) }

// Quotient divides round by round.
func Quotient(a, b []float64) Ratio {
	ratios := make([]float64, len(a))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return Spread(ratios)
}

// Median returns the median time of one operation.
func (s Samples) Median() time.Duration { return time.Duration(Spread(s.Time).Median) }

// Spread returns the median of the values and the bounds of the middle eight tenths.
func Spread(values []float64) Ratio {
	v := slices.Sorted(slices.Values(values))
	tenth := len(v) / 10
	return Ratio{(v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[tenth], v[len(v)-1-tenth]}
}
