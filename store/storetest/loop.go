package storetest

import (
	"context"
	"iter"
	"runtime"
	"sync/atomic"

	"github.com/hipflask/session/store"
)

var indexClauses = []clause{{
	name: "ListingIsCurrent", about: aboutIndex, twoOpens: true,
	rule: "a listing shows the records as they are now, not as they were when they were created: the " +
		"core ends the version that it sees in the list.",
	run: listingIsCurrent,
}, {
	name: "IndexEntryComesFirst", about: aboutIndex, twoOpens: true,
	rule: "a principal's index entry is there before the record can be loaded: \"log out everywhere\" " +
		"must not miss a session that somebody is already using.",
	run: indexEntryComesFirst,
}, {
	name: "IndexOutlivesTheFirstExpiry", about: aboutIndex, twoOpens: true, waits: true,
	rule: "a record that Touch or Replace gave a longer life is still listed after its first expiry: " +
		"an index entry that expires by itself must not do so before the record.",
	run: indexOutlivesTheFirstExpiry,
}, {
	name: "IndexFollowsTheKey", about: aboutIndex, twoOpens: true, waits: true,
	rule: "a key that was free and was taken by another principal is in that one's list only: a stale " +
		"index entry must not show, or end, somebody else's session.",
	run: indexFollowsTheKey,
}}

var loopClauses = []clause{{
	name: "LoopMayDelete", about: aboutIndex, twoOpens: true,
	rule: "the body of a loop over a listing may delete what it is given, and still meets every record " +
		"once: \"log out " +
		"everywhere\" is that loop. No lock, cursor or connection is held while it runs.",
	run: loopMayDelete,
}, {
	name: "LoopMayWrite", about: aboutIndex, twoOpens: true,
	rule: "the body of a loop over a listing may call any method, also another listing, and a record " +
		"that it changes is not met again.",
	run: loopMayWrite,
}, {
	name: "LoopMayStop", about: aboutIndex,
	rule: "a loop that is left early leaves nothing behind: everything works as before, also a second " +
		"loop over the same sequence.",
	run: loopMayStop,
}, {
	name: "ListingDuringWrites", about: aboutIndex, twoOpens: true,
	rule: "a record that is there from the beginning of a loop to its end is yielded exactly once, whatever " +
		"others do meanwhile: pages by position skip a record when an earlier one goes.",
	run: listingDuringWrites,
}}

// A listing is one of the two kinds of loops.
type listing struct {
	name string
	seq  func(context.Context) iter.Seq2[store.Record, error]
}

func listings(l store.Lister, principal string) []listing {
	return []listing{
		{"Principal", func(ctx context.Context) iter.Seq2[store.Record, error] { return l.Principal(ctx, principal) }},
		{"All", l.All},
	}
}

func cancelable(p *probe) (context.Context, context.CancelFunc) { return context.WithCancel(p.ctx) }

func listingIsCurrent(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, 3)
	p.createAll(a, recs)
	next := changed(recs[0])
	p.replace(b, next, recs[0].Version)
	touched := p.touch(b, recs[1], now(), recs[1].ExpiresAt.Add(hour))
	tomb := retired(recs[2], store.Replaced)
	p.replace(b, tomb, recs[2].Version)
	want := []store.Record{next, touched, tomb}
	p.listsPrincipal(a, next.Principal, want, "after Replace and Touch")
	p.listsAll(a, want, want, "after Replace and Touch")
}

func indexEntryComesFirst(p *probe, a, b store.Store) {
	for range 64 {
		rec := newRecord()
		p.each(2, func(i int) {
			if i == 0 {
				p.create(a, rec)
				return
			}
			for p.ctx.Err() == nil {
				if _, err := b.Load(p.ctx, rec.Key); err == nil {
					break
				}
				runtime.Gosched() // where there are fewer processors than loops, let Create get one
			}
			p.listsPrincipal(b, rec.Principal, []store.Record{rec}, "as soon as the record can be loaded")
		})
	}
}

func indexOutlivesTheFirstExpiry(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, 2)
	touched, dead := p.rescued(a, recs[0], p.touching(b))
	next, later := p.rescued(a, recs[1], p.replacing(b))
	p.waitUntil(dead)
	p.waitUntil(later)
	want := []store.Record{touched, next}
	p.listsPrincipal(a, touched.Principal, want, "after the first expiry")
	p.listsAll(a, want, want, "after the first expiry")
}

func indexFollowsTheKey(p *probe, a, b store.Store) {
	old := newRecord()
	p.create(a, old)
	p.ok(a.Delete(p.ctx, old.Key), "Delete")
	expired, dead := p.fleeting(a, newRecord())
	p.waitUntil(dead)
	for _, before := range []store.Record{old, expired} {
		rec := newRecord()
		rec.Key = before.Key
		p.ok(b.Create(p.ctx, rec), "Create of a free key")
		p.listsPrincipal(a, before.Principal, nil, "of the one who had the key before")
		p.listsPrincipal(a, rec.Principal, []store.Record{rec}, "of the one who has the key now")
	}
}

func loopMayDelete(p *probe, a, b store.Store) {
	for _, i := range []int{0, 1} {
		recs := recordsOf(newRecord().Principal, 150)
		p.createAll(a, recs)
		mine, met := keysOf(recs), 0
		l := listings(p.lister(a), recs[0].Principal)[i]
		for rec, err := range l.seq(p.ctx) {
			p.ok(err, l.name+" whose loop deletes")
			if mine[rec.Key] {
				met++
				p.ok(pick(met, a, b).Delete(p.ctx, rec.Key), "Delete in a loop over "+l.name)
			}
		}
		if met != len(recs) {
			p.Errorf("%s whose loop deletes: got %d records, want %d", l.name, met, len(recs))
		}
		p.listsPrincipal(b, recs[0].Principal, nil, "after a loop that deleted all")
	}
}

func loopMayWrite(p *probe, a, b store.Store) {
	for _, i := range []int{0, 1} {
		recs := recordsOf(newRecord().Principal, 30)
		p.createAll(a, recs)
		mine, met := keysOf(recs), map[string]bool{}
		l := listings(p.lister(a), recs[0].Principal)[i]
		for rec, err := range l.seq(p.ctx) {
			p.ok(err, l.name+" whose loop writes")
			if !mine[rec.Key] {
				continue
			}
			if met[rec.Key] {
				p.Fatalf("%s whose loop writes: the same record was yielded twice", l.name)
			}
			met[rec.Key] = true
			p.writeInLoop(pick(len(met), a, b), rec, l.name)
		}
		if len(met) != len(recs) {
			p.Errorf("%s whose loop writes: got %d records, want %d", l.name, len(met), len(recs))
		}
	}
}

// writeInLoop calls every method on rec, and lists its principal in the middle of a listing.
func (p *probe) writeInLoop(s store.Store, rec store.Record, name string) {
	p.Helper()
	what := " in a loop over " + name
	got, err := s.Load(p.ctx, rec.Key)
	p.ok(err, "Load"+what)
	next := changed(got)
	p.ok(s.Replace(p.ctx, next, got.Version), "Replace"+what)
	p.ok(s.Touch(p.ctx, next.Key, next.Version, now(), now().Add(2*hour)), "Touch"+what)
	p.create(s, newRecord())
	inner := 0
	for _, err := range p.lister(s).Principal(p.ctx, rec.Principal) {
		p.ok(err, "Principal"+what)
		inner++
	}
	if inner == 0 {
		p.Errorf("Principal%s: got no records", what)
	}
}

func loopMayStop(p *probe, a, _ store.Store) {
	recs := recordsOf(newRecord().Principal, 10)
	p.createAll(a, recs)
	for _, l := range listings(p.lister(a), recs[0].Principal) {
		seq := l.seq(p.ctx)
		for range 3 {
			for _, err := range seq {
				p.ok(err, l.name+" whose loop stops")
				break
			}
		}
		p.lists(p.listed(seq, keysOf(recs), l.name), recs, l.name+" after loops that stopped")
	}
	p.ok(a.Delete(p.ctx, recs[0].Key), "Delete after loops that stopped")
	p.listsPrincipal(a, recs[0].Principal, recs[1:], "after loops that stopped")
}

func listingDuringWrites(p *probe, a, b store.Store) {
	principal := newRecord().Principal
	recs := recordsOf(principal, 200)
	p.createAll(a, recs)
	mine := keysOf(recs)
	var done atomic.Bool
	p.each(3, func(i int) {
		if i == 0 {
			defer done.Store(true)
			for range 4 {
				for _, l := range listings(p.lister(a), principal) {
					what := l.name + " while others write"
					got := p.listed(l.seq(p.ctx), mine, what)
					if len(got) != len(recs) {
						p.Errorf("%s: got %d of the records that were there all the time, want %d", what,
							len(got), len(recs))
					}
				}
			}
			return
		}
		for n := i; !done.Load() && p.ctx.Err() == nil; n += 2 {
			p.churn(pick(n, a, b), principal, recs[n%len(recs)])
		}
	})
}

// churn creates and deletes a record of the principal, and touches one that stays.
func (p *probe) churn(s store.Store, principal string, stays store.Record) {
	p.Helper()
	rec := newRecord()
	rec.Principal = principal
	p.create(s, rec)
	p.ok(s.Touch(p.ctx, stays.Key, stays.Version, now(), now().Add(2*hour)), "Touch while others list")
	p.ok(s.Delete(p.ctx, rec.Key), "Delete while others list")
}
