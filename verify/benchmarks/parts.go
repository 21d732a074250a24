package main

import (
	"fmt"
	"os"

	"github.com/hipflask/session/verify/benchmarks/measure"
	"github.com/hipflask/session/verify/benchmarks/peers"
)

// requests measures whole requests of all libraries side by side.
func (b *bench) requests() error {
	libraries := peers.All()
	scenes := make([]*scene, len(libraries))
	for i, l := range libraries {
		var err error
		if scenes[i], err = newScene(l, b.dir, b.sessions); err != nil {
			return err
		}
		defer scenes[i].app.Close()
	}
	bare := peers.Bare().Prepare()
	floors := []measure.Subject{
		{Name: "a bare handler", Run: repeat(func() error { bare.Send(""); return nil })},
		hmacFloor(),
	}
	all := map[string]map[string]measure.Samples{}
	for _, op := range operations {
		subjects := floors
		var checks []func() error
		for _, s := range scenes {
			subject, check := s.subject(op)
			subjects, checks = append(subjects, subject), append(checks, check)
		}
		all[op.name] = map[string]measure.Samples{}
		for _, samples := range measure.Run(b.plan, subjects...) {
			all[op.name][samples.Name] = samples
		}
		for _, check := range checks {
			if err := check(); err != nil {
				return err
			}
		}
	}
	for _, t := range requestTargets {
		b.row(t.target, all[t.operation][t.us], all[t.operation][t.them])
	}
	return b.sideBySide(all)
}

// bursts are requests of one session at the same time, each of which counts a visit.
var bursts = []struct {
	name string
	size int
	target
}{
	{"a page of 8 requests at once", 8, target{"memory store, a page of 8 requests at once", "scs, memory",
		0.25, 1. / 8, 0}},
	{"one hot session, 64 at once", 64, target{"memory store, one hot session, 64 requests at once",
		"scs, memory", 0.25, 1. / 8, 0}},
}

// parallel measures requests of one session at the same time, and counts how many of the visits are kept.
func (b *bench) parallel() error {
	t := table{head: []string{"time for each request"}}
	var names []string
	cells := map[string][]string{}
	for _, burst := range bursts {
		t.head = append(t.head, burst.name, "visits kept")
		dir, err := os.MkdirTemp(b.dir, "burst")
		if err != nil {
			return err
		}
		var subjects []measure.Subject
		var kepts []func() (string, error)
		for _, l := range peers.All() {
			if l.Keeps == peers.Cookie { // where the last response wins
				continue
			}
			s, err := newScene(l, dir, b.sessions)
			if err != nil {
				return err
			}
			defer s.app.Close()
			subject, kept := s.burst(burst.size)
			subjects, kepts = append(subjects, subject), append(kepts, kept)
		}
		plan := b.plan
		plan.Wall = true // requests of one session wait for each other
		samples := map[string]measure.Samples{}
		for i, s := range measure.Run(plan, subjects...) {
			kept, err := kepts[i]()
			if err != nil {
				return err
			}
			if cells[s.Name] == nil {
				names = append(names, s.Name)
			}
			for k := range s.Time {
				s.Time[k] /= float64(burst.size)
			}
			s.Allocs /= float64(burst.size)
			samples[s.Name] = s
			cells[s.Name] = append(cells[s.Name], duration(s.Median()), kept)
		}
		b.row(burst.target, samples["Hipflask, memory"], samples["scs, memory"])
	}
	for _, name := range names {
		t.add(append([]string{name}, cells[name]...)...)
	}
	return b.publish("parallel", "Requests of one session at the same time", t)
}

// requestTargets are the rows of the table of targets that come from whole requests.
var requestTargets = []struct {
	target
	operation, us, them string
}{
	{target{"no cookie, untouched", "scs", 0.55, 0.4, 3}, "no cookie, untouched", "Hipflask, memory", "scs, memory"},
	{target{"valid cookie, untouched", "scs", 1. / 45, 1. / 70, 3}, "valid cookie, untouched", "Hipflask, memory",
		"scs, memory"},
	{target{"memory store, read one key", "scs, memory", 1. / 14, 1. / 22, 10}, "read one key", "Hipflask, memory",
		"scs, memory"},
	{target{"memory store, change one key", "scs, memory", 1. / 12, 1. / 20, 0}, "change one key", "Hipflask, memory",
		"scs, memory"},
	{target{"Flask's cookie, read", "gorilla, signed cookie", 1. / 8, 1. / 12, 0},
		"read one key", "Hipflask, Flask's cookie", "gorilla, signed cookie"},
	{target{"encrypted cookie, change", "gorilla, encrypted cookie", 1. / 5, 1. / 8, 0}, "change one key",
		"Hipflask, encrypted cookie", "gorilla, encrypted cookie"},
}

// files measures the file store alone.
func (b *bench) files() error {
	load, replace, read, change, err := measureFiles(b.plan, b.dir, b.sessions)
	if err != nil {
		return err
	}
	b.row(target{"file store, Load alone", read.Name, 1.6, 1.3, 0}, load, read)
	b.row(target{"file store, Replace alone", change.Name, 2, 1.5, 0}, replace, change)
	return nil
}

// sideBySide prints what every library takes for every operation.
func (b *bench) sideBySide(all map[string]map[string]measure.Samples) error {
	t := table{head: []string{"", "version"}}
	for _, op := range operations {
		t.head = append(t.head, op.name)
	}
	add := func(name, version string) {
		line := []string{name, version}
		for _, op := range operations {
			s := all[op.name][name]
			line = append(line, fmt.Sprintf("%s, %.0f", duration(s.Median()), s.Allocs))
		}
		t.add(line...)
	}
	for _, l := range peers.All() {
		add(l.Name, l.Version())
	}
	add("a bare handler", "")
	add("HMAC-SHA256 alone", "")
	return b.publish("requests", "Time and allocations of one request", t)
}
