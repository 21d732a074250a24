package history

import (
	"math/rand/v2"
	"time"

	"github.com/hipflask/session/store/storetest"
)

// Pace is how fast a history goes: in a bubble of testing/synctest, where time costs nothing, or in real time.
type Pace struct {
	Unit         time.Duration // of latencies, pauses and waits
	StoreTimeout time.Duration
	Grace        time.Duration
	Idle         time.Duration
	Lifetime     time.Duration
	Stale        time.Duration // how old a read from a store's cache may be; 0: the stores have none
	Jumps        bool          // some waits outlast Grace, IdleTimeout or Lifetime
}

// Bubble is the pace of fake time.
var Bubble = Pace{
	Unit: 10 * time.Millisecond, StoreTimeout: 2 * time.Second, Grace: 30 * time.Second, Idle: 20 * time.Minute,
	Lifetime: time.Hour, Jumps: true,
}

// RealTime is the pace for stores that a bubble can't hold, on this machine.
var RealTime = Pace{
	Unit: 200 * time.Microsecond, StoreTimeout: 80 * time.Millisecond, Grace: 500 * time.Millisecond, Idle: time.Hour,
	Lifetime: 10 * time.Hour,
}

// Network is the pace for stores that are on servers.
var Network = Pace{
	Unit: 500 * time.Microsecond, StoreTimeout: 250 * time.Millisecond, Grace: time.Second, Idle: time.Hour,
	Lifetime: 10 * time.Hour,
}

var principals = []string{"ann", "bob"}

// usual is how often each verb is drawn.
var usual = [verbs]int{
	Set: 6, Flag: 2, Delete: 1, Append: 6, Flash: 2, Flashes: 2, Clear: 1, Label: 1, Attribute: 2, Public: 1,
	Code: 3, Take: 3, Save: 3, Reload: 1,
	Login: 3, Renew: 3, Logout: 2, RevokeOthers: 1, Sleep: 5, Write: 1,
}

// MaxManagers is how many servers a program has at most.
const MaxManagers = 4

// Generate makes the program of a seed.
func Generate(seed uint64, pace Pace) Program {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), pace: pace}
	g.weights = usual
	for range g.IntN(5) { // what this history is about
		g.weights[g.IntN(int(RevokeAll))] *= 6
	}
	p := Program{Seed: seed, Managers: 2 + g.IntN(MaxManagers-1), Faults: g.faults(seed)}
	browsers := 1 + g.IntN(5)/3 // 1 or 2
	for b := range browsers {
		tabs := 1 + g.IntN(3)
		if browsers == 1 {
			tabs++
		}
		for range tabs {
			p.Tabs = append(p.Tabs, g.tab(b, p.Managers))
		}
	}
	if g.IntN(2) == 0 {
		p.Tabs = append(p.Tabs, g.admin(browsers, p.Managers))
	}
	if g.IntN(3) > 0 {
		g.begin(&p)
	}
	return p
}

type generator struct {
	*rand.Rand
	pace    Pace
	weights [verbs]int
	next    int
	copies  bool
}

// faults draws how unreliable the store is: perfect, a little, or badly, and in which ways.
func (g *generator) faults(seed uint64) storetest.Faults {
	f := storetest.Faults{Seed: seed, MaxLatency: g.pace.Unit, MaxDelay: 4 * g.pace.StoreTimeout}
	if g.IntN(8) == 0 {
		f.MaxDelay = 4 * g.pace.Grace
	}
	level := []float64{0, 0.03, 0.1, 0.2}[g.IntN(4)]
	for _, share := range []*float64{&f.Refused, &f.Lost, &f.Late, &f.Hung} {
		if g.IntN(3) > 0 {
			*share = level
		}
	}
	g.copies = g.IntN(4) == 0
	return f
}

func (g *generator) tab(browser, managers int) Tab {
	t := Tab{Browser: browser}
	for range 1 + g.IntN(5) {
		r := Request{Manager: g.IntN(managers), Wait: g.wait()}
		for range g.actions() {
			r.Actions = append(r.Actions, g.action())
		}
		if g.IntN(8) == 0 {
			r.Deaf = true
		}
		if g.IntN(12) == 0 {
			r.HangUp = g.upTo(8)
		}
		if g.copies && g.IntN(4) == 0 {
			r.Copied = 1 + g.IntN(8)
		}
		r.Return = g.upTo(3)
		t.Requests = append(t.Requests, g.named(r))
	}
	return t
}

func (g *generator) actions() int {
	if g.IntN(6) == 0 {
		return g.IntN(8)
	}
	return g.IntN(4)
}

func (g *generator) named(r Request) Request {
	g.next++
	r.ID = g.next
	return r
}

// admin is a tab without a browser.
func (g *generator) admin(browser, managers int) Tab {
	t := Tab{Browser: browser}
	for range 1 + g.IntN(4) {
		a := Action{Verb: RevokeAll, Who: g.principal(), Nth: g.IntN(4)}
		if g.IntN(2) == 0 {
			a.Verb = Revoke
		}
		t.Requests = append(t.Requests,
			g.named(Request{Manager: g.IntN(managers), Wait: g.wait(), Actions: []Action{a}}))
	}
	return t
}

// begin gives browsers a session before anything else happens.
func (g *generator) begin(p *Program) {
	done := map[int]bool{}
	later := 20 * g.pace.Unit
	if g.pace.Jumps && g.IntN(5) == 0 {
		later += g.pace.Idle / 8 // so that all of them find that the time of the last activity has to be moved
	}
	for i := range p.Tabs {
		t := &p.Tabs[i]
		if done[t.Browser] || t.Requests[0].Actions != nil && t.Requests[0].Actions[0].Verb >= RevokeAll {
			t.Requests[0].Wait += later
			continue
		}
		done[t.Browser] = true
		first := Request{Calm: true, Wait: time.Duration(i) * g.pace.Unit, Manager: g.IntN(p.Managers),
			Actions: []Action{{Verb: Code, Key: keyCode0}, {Verb: Append}}}
		if g.IntN(2) == 0 {
			first.Actions = append(first.Actions, Action{Verb: Login, Who: g.principal()})
		}
		t.Requests = append([]Request{g.named(first)}, t.Requests...)
		t.Requests[1].Wait += later
	}
}

func (g *generator) principal() string { return principals[g.IntN(len(principals))] }

func (g *generator) upTo(units float64) time.Duration {
	return time.Duration(g.Float64() * units * float64(g.pace.Unit))
}

// wait is mostly so short that requests overlap.
func (g *generator) wait() time.Duration {
	switch n := g.IntN(40); {
	case n < 25:
		return g.upTo(4)
	case n < 36:
		return g.upTo(30)
	case n < 38 || !g.pace.Jumps:
		return g.pace.StoreTimeout + g.upTo(100)
	case n < 39:
		return g.pace.Grace + g.upTo(100)
	}
	return g.pace.Idle*time.Duration(1+g.IntN(8))/4 + g.upTo(100)
}

// pause is what a handler takes, mostly so short that the session is still there.
func (g *generator) pause() time.Duration {
	switch n := g.IntN(40); {
	case n < 28:
		return g.upTo(6)
	case n < 36 || !g.pace.Jumps:
		return g.upTo(30)
	case n < 39:
		return g.pace.Grace + g.upTo(200) - g.pace.StoreTimeout
	}
	return g.pace.Grace + g.upTo(100)
}

func (g *generator) action() Action {
	total := 0
	for _, w := range g.weights {
		total += w
	}
	n := g.IntN(total)
	verb := Set
	for n >= g.weights[verb] {
		n -= g.weights[verb]
		verb++
	}
	a := Action{Verb: verb}
	switch verb {
	case Set:
		a.Key = keyA + g.IntN(2)
	case Delete:
		a.Key = []int{keyA, keyB, keyFlag, keyLog}[g.IntN(4)]
	case Code, Take:
		a.Key = keyCode0 + g.IntN(2)
	case Flag:
		a.Who = []string{"on", "off"}[g.IntN(2)]
	case Login:
		a.Who = g.principal()
	case Sleep:
		a.Time = g.pause()
	}
	return a
}
