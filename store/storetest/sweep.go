package storetest

import (
	"context"
	"time"

	"github.com/hipflask/session/store"
)

var sweepClauses = []clause{{
	name: "SweepRemovesWhatHasExpired", about: aboutSweeping, alone: true,
	rule: "Sweep removes expired records, tombstones too, at most as many as it is told, and returns " +
		"how many; fewer than the limit means that none are left: the core calls it again and again " +
		"until then, and a store that is swept in one go stops everybody for as long.",
	run: sweepRemovesWhatHasExpired,
}, {
	name: "SweepSparesTheLiving", about: aboutSweeping, alone: true,
	rule: "Sweep removes nothing that has not expired, also if it would have by an earlier ExpiresAt: " +
		"a session that Touch or Replace gave a longer life, or whose key was taken again, stays.",
	run: sweepSparesTheLiving,
}, {
	name: "SweepFindsWhatWasShortened", about: aboutSweeping, alone: true,
	rule: "Sweep removes a record whose life Touch or Replace made shorter as soon as that has ended: " +
		"tombstones live minutes where sessions lived days, and must not pile up for days.",
	run: sweepFindsWhatWasShortened,
}, {
	name: "SweepCostIgnoresTheLiving", about: aboutSweeping, alone: true, realTime: true,
	rule: "the work of Sweep is proportional to what it removes: with a million live sessions and nothing " +
		"to remove it costs nothing, or every request behind it waits.",
	run: sweepCostIgnoresTheLiving,
}, {
	name: "SweepReportsItsEnd", about: aboutSweeping, alone: true,
	rule: "Sweep with a context that has ended returns an error: 0 without one would mean that nothing " +
		"is left to remove.",
	run: sweepReportsItsEnd,
}}

// sweepRounds is how often Sweep is called before it counts as never ending.
const sweepRounds = 10_000

// sweep calls Sweep until none are left, and returns how many it removed. It reports an answer over the limit.
func (p *probe) sweep(s store.Store, limit int) int {
	p.Helper()
	total := 0
	for range sweepRounds {
		n, err := p.sweeper(s).Sweep(p.ctx, limit)
		p.ok(err, "Sweep")
		if n < 0 || n > limit {
			p.Errorf("Sweep with limit %d: got %d removed, want 0 to %d", limit, n, limit)
		}
		total += n
		if n < limit {
			return total
		}
	}
	p.Fatalf("Sweep with limit %d: still not fewer than the limit after %d calls", limit, sweepRounds)
	return total
}

// fleetingAll stores n records with short lives, a third of them tombstones, and waits until they have expired.
func (p *probe) fleetingAll(s store.Store, n int) {
	p.Helper()
	var last time.Time
	for i := range n {
		rec := newRecord()
		if i%3 == 0 {
			rec = retired(rec, tombstones[i/3%len(tombstones)])
		}
		if _, dead := p.fleeting(s, rec); dead.After(last) {
			last = dead
		}
	}
	p.waitUntil(last)
}

func sweepRemovesWhatHasExpired(p *probe, a, _ store.Store) {
	p.sweep(a, 100) // what earlier runs left
	const expired, limit = 10, 4
	p.createAll(a, recordsOf(newRecord().Principal, 5))
	p.fleetingAll(a, expired)
	if n, err := p.sweeper(a).Sweep(p.ctx, 0); n != 0 || err != nil {
		p.Errorf("Sweep with limit 0: got %d removed and error %v, want 0 and nil", n, err)
	}
	n, err := p.sweeper(a).Sweep(p.ctx, limit)
	p.ok(err, "Sweep")
	if n != limit {
		p.Errorf("Sweep with limit %d where %d records have expired: got %d removed, want %d", limit, expired, n, limit)
	}
	if total := n + p.sweep(a, limit); total != expired {
		p.Errorf("Sweep until none are left: got %d removed, want %d", total, expired)
	}
	if n := p.sweep(a, limit); n != 0 {
		p.Errorf("Sweep where nothing is left: got %d removed, want 0", n)
	}
}

func sweepSparesTheLiving(p *probe, a, _ store.Store) {
	live := recordsOf(newRecord().Principal, 3)
	p.createAll(a, live)
	short := recordsOf(live[0].Principal, 4)
	touched, _ := p.rescued(a, short[0], p.touching(a))
	replaced, _ := p.rescued(a, short[1], p.replacing(a))
	deleted, _ := p.fleeting(a, short[2])
	p.ok(a.Delete(p.ctx, deleted.Key), "Delete")
	deleted.ExpiresAt = now().Add(hour)
	p.ok(a.Create(p.ctx, deleted), "Create of a deleted key")
	expired, dead := p.fleeting(a, short[3])
	p.waitUntil(dead)
	expired.ExpiresAt = now().Add(hour)
	p.ok(a.Create(p.ctx, expired), "Create of an expired key")
	live = append(live, touched, replaced, deleted, expired)
	p.sweep(a, 2)
	p.sweep(a, 1000)
	for _, rec := range live {
		p.present(a, rec, "of a record that has not expired, after Sweep")
	}
	if !p.cfg.noIndex {
		p.listsPrincipal(a, live[0].Principal, live, "of records that have not expired, after Sweep")
	}
}

func sweepFindsWhatWasShortened(p *probe, a, _ store.Store) {
	p.sweep(a, 100)
	recs := recordsOf(newRecord().Principal, 2)
	p.createAll(a, recs)
	start := time.Now()
	touched := p.touch(a, recs[0], now(), now().Add(shortLife))
	tomb := retired(recs[1], store.Ended)
	tomb.ExpiresAt = touched.ExpiresAt
	p.replace(a, tomb, recs[1].Version)
	p.waitUntil(p.dead(touched.ExpiresAt, time.Since(start)))
	if n := p.sweep(a, 100); n != len(recs) {
		p.Errorf("Sweep after %d lives were made shorter and ended: got %d removed", len(recs), n)
	}
}

func sweepCostIgnoresTheLiving(p *probe, a, _ store.Store) {
	const few, many = 100, 1600
	p.sweep(a, 1000)
	principal := newRecord().Principal
	p.createAll(a, recordsOf(principal, few))
	before := p.sweepTime(a)
	p.createAll(a, recordsOf(principal, many-few))
	after := p.sweepTime(a)
	// 16 times as many records: a scan takes 16 times as long, an ordered index less than twice.
	for range 3 {
		if after < 6*before || after < 20*time.Microsecond {
			return
		}
		after = min(after, p.sweepTime(a))
	}
	p.Errorf("Sweep with nothing to remove takes %v with %d live records and %v with %d", before, few, after, many)
}

// sweepTime returns the shortest of many times that a Sweep without anything to remove takes.
func (p *probe) sweepTime(s store.Store) time.Duration {
	p.Helper()
	shortest := time.Duration(1<<63 - 1)
	for range 50 {
		start := time.Now()
		_, err := p.sweeper(s).Sweep(p.ctx, 100)
		shortest = min(shortest, time.Since(start))
		p.ok(err, "Sweep")
	}
	return shortest
}

func sweepReportsItsEnd(p *probe, a, _ store.Store) {
	for name, ctx := range p.endedContexts() {
		n, err := p.sweepWith(ctx, a)
		p.failed(err, "Sweep with a "+name+" context")
		if n != 0 {
			p.Errorf("Sweep with a %s context: got %d removed, want 0", name, n)
		}
	}
}

func (p *probe) sweepWith(ctx context.Context, s store.Store) (int, error) {
	p.Helper()
	return p.sweeper(s).Sweep(ctx, 100)
}
