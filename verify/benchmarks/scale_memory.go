package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2/memstore"

	hipflask "github.com/hipflask/session/store/memstore"
)

// inMemory is a memory store to be filled up. A fifth of its sessions expire at the same time.
type inMemory struct {
	name   string
	create func(i int, expires time.Time) error
	load   func(i int) error
	sweep  func() error // removes what has expired; nil: it does so by itself
	close  func()
}

// scsCleanup is how often scs's store looks at its sessions here. A minute, its default, would only make one wait.
const scsCleanup = time.Second

// dataSize is how many bytes of values a session of the scale parts has.
const dataSize = 200

var memoryStores = []func(n int) inMemory{
	func(n int) inMemory {
		s, ctx := hipflask.New(&hipflask.Options{MaxSessions: n, MaxBytes: -1}), context.Background()
		return inMemory{
			name: "Hipflask",
			create: func(i int, expires time.Time) error {
				rec := record(i, dataSize, "")
				rec.ExpiresAt = expires
				return s.Create(ctx, rec)
			},
			load: func(i int) error { _, err := s.Load(ctx, recordKey(i)); return err },
			sweep: func() error {
				for { // as session.Manager does
					if n, err := s.Sweep(ctx, 500); err != nil || n < 500 {
						return err
					}
				}
			},
			close: func() {},
		}
	},
	func(int) inMemory {
		s := memstore.NewWithCleanupInterval(scsCleanup)
		return inMemory{
			name: "scs",
			create: func(i int, expires time.Time) error {
				return s.Commit(recordKey(i), make([]byte, dataSize), expires)
			},
			load: func(i int) error {
				if _, found, err := s.Find(recordKey(i)); err != nil || !found {
					return fmt.Errorf("session %d is not there: %v", i, err)
				}
				return nil
			},
			close: s.StopCleanup,
		}
	},
}

// memoryResult is what was measured of a store with so many sessions.
type memoryResult struct {
	bytes, load  float64 // for one session; nanoseconds
	stall, noise time.Duration
	sweep        float64 // nanoseconds for one expired session; 0: the store does it by itself
}

// scaleMemory fills up the memory stores, and measures how long requests wait while they remove what has expired.
func (b *bench) scaleMemory() error {
	sizes := b.sizes(5_000_000)[1:] // a thousand are lost in the noise
	t := table{head: []string{"memory store", "sessions", "bytes per session", "one load", "longest load in a sweep",
		"without a store", "sweep, for each expired"}}
	stalls := chart{
		title: "Longest wait of a request while a fifth of the sessions expire", x: "sessions in memory",
		y: "the longest of all loads during the sweep", format: nanoseconds,
	}
	sweeps := 5
	if b.plan.Rounds == 1 {
		sweeps = 1
	}
	var noise series
	var last []memoryResult
	for _, open := range memoryStores {
		line := series{}
		for _, n := range sizes {
			r, name, err := growMemory(open, n, sweeps)
			if err != nil {
				return err
			}
			sweep := "by itself"
			if r.sweep > 0 {
				sweep = nanoseconds(r.sweep)
			}
			t.add(name, thousands(n), fmt.Sprintf("%.0f", r.bytes), nanoseconds(r.load), duration(r.stall),
				duration(r.noise), sweep)
			line.name = name
			line.add(n, float64(r.stall))
			if n == sizes[len(sizes)-1] {
				last = append(last, r)
			}
			if name == "Hipflask" {
				noise.add(n, float64(r.noise))
			}
		}
		stalls.series = append(stalls.series, line)
	}
	noise.name = "no store at all"
	stalls.series = append(stalls.series, noise)
	most := thousands(sizes[len(sizes)-1])
	b.limit("memory store, bytes per session at "+most, fmt.Sprintf("%.0f", last[1].bytes),
		func(v float64) string { return fmt.Sprintf("%.0f", v) }, 400, 300, last[0].bytes)
	b.limit("memory store, longest stall at "+most, duration(last[1].stall), nanoseconds,
		1e6, 3e5, float64(last[0].stall))
	if err := b.draw("memory.svg", stalls); err != nil {
		return err
	}
	return b.publish("scale-memory", "Sessions in memory", t)
}

// growMemory fills a store with n sessions, a fifth of which expire and are removed several times. The stall is the
// shortest of these times: what a store does to a request it does in each of them, and what other programs do, not.
func growMemory(open func(n int) inMemory, n, sweeps int) (r memoryResult, name string, err error) {
	empty := heap()
	s := open(n)
	defer s.close()
	// Those that stay come first; the others expire when all are there.
	create := func(from, to int, expires time.Time) error {
		for i := from; i < to; i++ {
			if err := s.create(i, expires); err != nil {
				return err
			}
		}
		return nil
	}
	if err := create(n/5, n, time.Now().Add(time.Hour)); err != nil {
		return r, s.name, err
	}
	r.bytes = float64(heap()-empty) / float64(n-n/5)
	var stalls, noises, took []time.Duration
	for range sweeps {
		expiry := time.Now().Add(100 * time.Millisecond)
		if s.sweep == nil {
			expiry = time.Now().Add(3*time.Second + time.Duration(n/5)*20*time.Microsecond)
		}
		if err := create(0, n/5, expiry); err != nil {
			return r, s.name, err
		}
		// Only what sweeps by itself must not have begun.
		if s.sweep == nil && time.Until(expiry) < 0 {
			return r, s.name, fmt.Errorf("%s: the machine is too slow to fill it with %d sessions in time", s.name, n)
		}
		if r.load, err = lookAround(s, n); err != nil {
			return r, s.name, err
		}
		time.Sleep(time.Until(expiry))
		stall, noise, sweep, err := stallOf(s, n, time.Duration(r.load))
		if err != nil {
			return r, s.name, err
		}
		stalls, noises, took = append(stalls, stall), append(noises, noise), append(took, sweep)
	}
	r.stall, r.noise = slices.Min(stalls), slices.Min(noises)
	r.sweep = float64(slices.Min(took)) / float64(n/5)
	return r, s.name, nil
}

// lookAround returns the nanoseconds of a load of any session.
func lookAround(s inMemory, n int) (float64, error) {
	const loads = 20_000
	rnd := rand.New(rand.NewPCG(1, 1))
	start := time.Now()
	for range loads {
		if err := s.load(n/5 + rnd.IntN(n-n/5)); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / loads, nil
}

//go:noinline
func garbage() []byte { return make([]byte, dataSize) }

// stallOf returns the longest load of a session that stays, while the others are swept, and beside it the
// longest time of a piece of work that uses no store: it allocates as much and takes as long as a load does, so that
// the scheduler, the garbage collector and the machine stop it as often.
func stallOf(s inMemory, n int, load time.Duration) (stall, noise, sweep time.Duration, err error) {
	swept := make(chan error, 1)
	began := time.Now()
	if s.sweep != nil {
		go func() { swept <- s.sweep() }()
	}
	rnd := rand.New(rand.NewPCG(2, 2))
	over := time.After(2 * scsCleanup) // of a store that does not say when it has swept
	for {
		select {
		case err := <-swept:
			return stall, noise, time.Since(began), err
		case <-over:
			if s.sweep == nil {
				return stall, noise, 0, nil
			}
		default:
		}
		i := n/5 + rnd.IntN(n-n/5)
		called := time.Now()
		if err := s.load(i); err != nil {
			return 0, 0, 0, err
		}
		stall = max(stall, time.Since(called))
		called = time.Now()
		data := garbage()
		for time.Since(called) < load {
			data[0]++
		}
		noise = max(noise, time.Since(called))
	}
}

// heap returns the bytes in use after a garbage collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first one may leave what was swept late
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
