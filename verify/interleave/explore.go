package interleave

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// frame is a choice of the run that is explored: alternatives before i have been explored to their ends.
type frame struct {
	n, i  int
	state uint64
	paths uint64 // interleavings from here on
}

// explorer runs a world again and again, depth first, each time by another choice, until all have been taken. Go can't
// save and restore goroutines, so that every run begins at the start. A state that has been met before is not explored
// again.
type explorer struct {
	w       *world
	stack   []frame
	depth   int
	seen    map[uint64]uint64 // states and the interleavings from there on
	choices []choice

	fresh bool // a finding has no schedule yet
	first bool // stop at the first finding that is not documented
	all   bool // explore known states again, to see that this makes no difference
	result
}

// result is what an exploration found.
type result struct {
	runs, states int
	paths        uint64            // interleavings that the runs stand for
	ends         map[uint64]bool   // what runs ended in
	findings     map[string]string // texts of broken rules, and the schedule of one run for each
	complete     bool
}

// bad returns the findings that have to be mended; the others can't be avoided by a server, and are documented.
func (r *result) bad() (list []string) {
	for f := range r.findings {
		if !strings.HasPrefix(f, documented) {
			list = append(list, f)
		}
	}
	slices.Sort(list)
	return list
}

func (r *result) documented() (list []string) {
	for f := range r.findings {
		if strings.HasPrefix(f, documented) {
			list = append(list, f)
		}
	}
	slices.Sort(list)
	return list
}

// explore runs all interleavings of a scenario. It has to be called within a synctest bubble. limit bounds the number
// of runs; 0: none.
func (x *explorer) explore(t testing.TB, sc *scenario, o options, limit int) result {
	w := newWorld(t, sc, o)
	defer w.close()
	x.w, x.seen, x.findings, x.ends = w, map[uint64]uint64{}, map[string]string{}, map[uint64]bool{}
	for {
		paths := x.run()
		x.runs++
		if x.fresh {
			x.replay()
		}
		if !x.next(paths) {
			x.complete = true
			break
		}
		if limit > 0 && x.runs >= limit || x.first && len(x.bad()) > 0 {
			break
		}
	}
	for !x.complete && len(x.stack) > 0 { // as many as there were until then
		top := len(x.stack) - 1
		x.paths += x.stack[top].paths
		x.stack = x.stack[:top]
	}
	x.states = len(x.seen)
	return x.result
}

// next goes back to the last choice that has an alternative left.
func (x *explorer) next(paths uint64) bool {
	for len(x.stack) > 0 {
		f := &x.stack[len(x.stack)-1]
		f.paths += paths
		if f.i++; f.i < f.n {
			return true
		}
		x.seen[f.state] = f.paths
		paths = f.paths
		x.stack = x.stack[:len(x.stack)-1]
	}
	x.paths = paths
	return false
}

// run takes the choices of the stack, and from there on the first of each. It returns the number of interleavings that
// it stands for: those from a known state on, if it came to one.
func (x *explorer) run() (paths uint64) {
	w := x.w
	w.reset()
	defer w.drain()
	x.depth = 0
	for {
		w.settle()
		if x.depth >= len(x.stack) {
			w.checkAlways()
			x.collect()
		}
		x.choices = w.choices(x.choices)
		switch len(x.choices) {
		case 0:
			if !w.over() {
				return 0 // a request that could have been sent was not: another run sends it
			}
			w.checkEnd()
			x.collect()
			x.ends[w.endHash()] = true
			return 1
		case 1:
			w.take(x.choices[0])
			continue
		}
		if x.depth == len(x.stack) {
			state := w.hash()
			if paths, known := x.seen[state]; known && !x.all {
				return paths
			}
			x.stack = append(x.stack, frame{n: len(x.choices), state: state})
		}
		f := &x.stack[x.depth]
		if f.n != len(x.choices) {
			panic(fmt.Sprintf("the run is not deterministic: %d choices where there were %d", len(x.choices), f.n))
		}
		x.depth++
		w.take(x.choices[f.i])
	}
}

// over reports whether all requests have been answered.
func (w *world) over() bool {
	for _, q := range w.q {
		if !q.sent {
			return false
		}
		if q.out == running {
			w.broken("request stuck: it waits for something that does not come")
		}
	}
	return true
}

// collect takes over the findings of the run.
func (x *explorer) collect() {
	for _, f := range x.w.found {
		if _, known := x.findings[f]; !known {
			x.findings[f] = ""
			x.fresh = true
		}
	}
	x.w.found = x.w.found[:0]
}

// replay takes the last run again and keeps what happened, for findings that are new.
func (x *explorer) replay() {
	w := x.w
	w.tracing, x.fresh = true, false
	defer func() { w.tracing = false }()
	w.reset()
	defer w.drain()
	for depth := 0; ; {
		w.settle()
		w.checkAlways()
		x.choices = w.choices(x.choices)
		n := len(x.choices)
		if n == 0 && w.over() {
			w.checkEnd()
		}
		for _, f := range w.found {
			if x.findings[f] == "" {
				x.findings[f] = strings.Join(w.trail, "\n")
			}
		}
		switch {
		case n == 0 || n > 1 && depth == len(x.stack):
			return
		case n == 1:
			w.take(x.choices[0])
		default:
			w.take(x.choices[x.stack[depth].i])
			depth++
		}
	}
}
