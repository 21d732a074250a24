package storetest

import (
	"bytes"
	"errors"
	"iter"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/store"
)

// writers is how many goroutines fight for one record.
const writers = 64

var raceClauses = []clause{{
	name: "CreateHasOneWinner", twoOpens: true,
	rule: "of many Creates of one key exactly one answers nil and the others ErrExists: looking first " +
		"and writing then is two steps.",
	run: createHasOneWinner,
}, {
	name: "ReplaceHasOneWinner", twoOpens: true,
	rule: "of many Replaces of one version exactly one answers nil, the others ErrConflict, and the " +
		"winner's record is there: otherwise overlapping requests lose each other's writes (15 of 16, in peers).",
	run: replaceHasOneWinner,
}, {
	name: "ReplaceLosesNoUpdate", twoOpens: true,
	rule: "whoever loads, changes and replaces until the answer is nil has changed the record exactly " +
		"once: a counter counts every one.",
	run: replaceLosesNoUpdate,
}, {
	name: "TouchLosesNoReplace", twoOpens: true,
	rule: "a Touch that races with a Replace never takes it back: it conflicts, or comes before it.",
	run:  touchLosesNoReplace,
}, {
	name: "DeleteIsFinal", twoOpens: true,
	rule: "once Delete has answered, no Replace or Touch that was under way brings the record back: " +
		"a session that was removed stays removed.",
	run: deleteIsFinal,
}, {
	name: "LoadSeesAnsweredWrites", twoOpens: true,
	rule: "a Load sees every write that was answered before it began: no cache, no replica. A logout " +
		"that another server does not see yet has not happened.",
	run: loadSeesAnsweredWrites,
}, {
	name: "ReadersSeeWholeRecords", twoOpens: true,
	rule: "each method is one atomic step: a Load that overlaps a Replace returns all of the old record " +
		"or all of the new.",
	run: readersSeeWholeRecords,
}}

// pick returns a for even i and b for odd: half of the goroutines of a race use each store.
func pick(i int, a, b store.Store) store.Store {
	if i%2 == 0 {
		return a
	}
	return b
}

// rounds repeats a race that a fast store may win by luck: so many times at least, then for a moment.
func (p *probe) rounds(least int) iter.Seq[int] {
	most := 100
	if p.cfg.bubble {
		most = 10 // time stands still there
	}
	return func(yield func(int) bool) {
		start := time.Now()
		for i := 0; i < least || i < most && time.Since(start) < 100*time.Millisecond; i++ {
			if !yield(i) {
				return
			}
		}
	}
}

// heavy returns a record that takes a while to copy.
func (p *probe) heavy() store.Record {
	rec := newRecord()
	rec.Data = bytes.Repeat([]byte{'h'}, min(256<<10, p.cfg.maxData))
	return rec
}

// crowd calls f while many others load the records under keys, which are there and heavy.
//
// It is what finds a store that looks first and then writes, and is fast: the gap between the two is a tenth of a
// microsecond long, and no other goroutine gets there by itself. Where many wait for a lock that is held for longer,
// each that comes back for it has to queue again, and others are in between.
func (p *probe) crowd(s store.Store, f func(), keys ...string) {
	var done atomic.Bool
	p.each(1+p.crowdSize(s, keys[0])*len(keys), func(i int) {
		if i == 0 {
			defer done.Store(true)
			f()
			return
		}
		for !done.Load() && p.ctx.Err() == nil {
			_, _ = s.Load(p.ctx, keys[i%len(keys)]) // it may be gone by now
		}
	})
}

// crowdSize returns how many loads of a record take some milliseconds one after the other: a sync.Mutex serves its
// queue in order once somebody has waited for one. More would only make slow stores and machines slower.
func (p *probe) crowdSize(s store.Store, key string) int {
	const least, most, wait = 8, 64, 3 * time.Millisecond
	if p.cfg.bubble {
		return least // no clock to measure by
	}
	shortest := wait
	for range 3 {
		start := time.Now()
		_, err := s.Load(p.ctx, key)
		p.ok(err, "Load")
		shortest = min(shortest, time.Since(start))
	}
	return max(least, int(wait/max(shortest, wait/most)))
}

func createHasOneWinner(p *probe, a, b store.Store) {
	other := p.heavy()
	p.create(a, other)
	p.crowd(a, func() {
		for range p.rounds(3) {
			key := newKey()
			p.deletes(a, key)
			recs, won := make([]store.Record, writers), make([]bool, writers)
			p.each(writers, func(i int) {
				recs[i] = newRecord()
				recs[i].Key = key
				won[i] = p.race(pick(i, a, b).Create(p.ctx, recs[i]), store.ErrExists, "Create")
			})
			p.oneWinner(a, recs, won)
		}
	}, other.Key)
}

func replaceHasOneWinner(p *probe, a, b store.Store) {
	rec := p.heavy()
	p.create(a, rec)
	p.crowd(a, func() {
		for range p.rounds(3) {
			recs, won := make([]store.Record, writers), make([]bool, writers)
			p.each(writers, func(i int) {
				recs[i] = changed(rec)
				recs[i].Data = rec.Data
				won[i] = p.race(pick(i, a, b).Replace(p.ctx, recs[i], rec.Version), store.ErrConflict, "Replace")
			})
			rec = p.oneWinner(a, recs, won)
		}
	}, rec.Key)
}

// race tells whether a call of a race won, and reports an answer that is neither nil nor the loser's.
func (p *probe) race(err, loser error, method string) bool {
	p.Helper()
	if err != nil {
		p.want(loser, err, method+" that lost a race")
	}
	return err == nil
}

// oneWinner reports unless exactly one call won and its record is there; it returns that record.
func (p *probe) oneWinner(s store.Store, recs []store.Record, won []bool) store.Record {
	p.Helper()
	winner, winners := recs[0], 0
	for i, w := range won {
		if w {
			winner = recs[i]
			winners++
		}
	}
	if winners != 1 {
		p.Fatalf("%d of %d racing calls answered nil, want 1", winners, len(won))
	}
	p.present(s, winner, "after a race, of the winner's record")
	return winner
}

func replaceLosesNoUpdate(p *probe, a, b store.Store) {
	const each = 2
	rec := newRecord()
	rec.Label = "0"
	p.create(a, rec)
	p.each(writers, func(i int) {
		for range each {
			p.increment(pick(i, a, b), rec.Key)
		}
	})
	got, err := a.Load(p.ctx, rec.Key)
	p.ok(err, "Load")
	if want := strconv.Itoa(writers * each); got.Label != want {
		p.Errorf("%d goroutines counted to %s together, want %s", writers, got.Label, want)
	}
}

// increment adds one to the number that is the record's label, as a save does: load, change, replace, again on
// conflict.
func (p *probe) increment(s store.Store, key string) {
	p.Helper()
	for p.ctx.Err() == nil {
		rec, err := s.Load(p.ctx, key)
		p.ok(err, "Load")
		n, err := strconv.Atoi(rec.Label)
		p.ok(err, "reading the number in Label")
		runtime.Gosched() // in memory, too, others come between
		base := rec.Version
		rec.Version = store.NewVersion()
		rec.Label = strconv.Itoa(n + 1)
		err = s.Replace(p.ctx, rec, base)
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrConflict) {
			p.Fatalf("Replace that lost a race: got error %q, want %q", err, store.ErrConflict)
		}
	}
}

func touchLosesNoReplace(p *probe, a, b store.Store) {
	rec := p.heavy()
	p.create(a, rec)
	p.crowd(a, func() {
		for range p.rounds(3) {
			next := changed(rec)
			next.Data = rec.Data
			p.each(8, func(i int) {
				s := pick(i, a, b)
				if i == 4 {
					p.want(nil, s.Replace(p.ctx, next, rec.Version), "Replace that only Touches race with")
					return
				}
				if err := s.Touch(p.ctx, rec.Key, rec.Version, now(), rec.ExpiresAt.Add(time.Minute)); err != nil {
					p.want(store.ErrConflict, err, "Touch that came after a Replace")
				}
			})
			p.present(b, next, "after a Replace that raced with Touches")
			rec = next
		}
	}, rec.Key)
}

func deleteIsFinal(p *probe, a, b store.Store) {
	rec, other := p.heavy(), p.heavy()
	p.create(a, other)
	p.deletes(a, rec.Key)
	p.crowd(a, func() {
		for round := range p.rounds(6) {
			p.ok(a.Create(p.ctx, rec), "Create of a deleted key")
			p.each(12, func(i int) {
				s := pick(i, a, b)
				switch {
				case i == 6: // only one: a second would hide what the first let pass
					p.want(nil, s.Delete(p.ctx, rec.Key), "Delete that races with other writes")
				case round%2 == 0:
					_ = s.Touch(p.ctx, rec.Key, rec.Version, now(), rec.ExpiresAt) // any answer may be right
				default:
					_ = s.Replace(p.ctx, changed(rec), rec.Version)
				}
			})
			p.absent(a, rec.Key, "after a Delete that raced with other writes")
			p.absent(b, rec.Key, "after a Delete that raced with other writes")
		}
	}, other.Key, rec.Key)
}

func loadSeesAnsweredWrites(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	for range 50 {
		next := changed(rec)
		p.replace(a, next, rec.Version)
		p.present(b, next, "right after Replace")
		rec = p.touch(b, next, next.LastSeenAt.Add(time.Second), next.ExpiresAt.Add(time.Second))
		p.present(a, rec, "right after Touch")
		a, b = b, a
	}
	p.ok(a.Delete(p.ctx, rec.Key), "Delete")
	p.absent(b, rec.Key, "right after Delete")
	p.ok(b.Create(p.ctx, rec), "Create of a deleted key")
	p.present(a, rec, "right after Create")
}

func readersSeeWholeRecords(p *probe, a, b store.Store) {
	first, heavy := newRecord(), p.heavy()
	// shape makes a record whose every field follows from one number, and whose length changes.
	shape := func(n int) store.Record {
		rec := first
		rec.Version = first.Version&^0xffff | uint64(n+1)
		rec.Label = strconv.Itoa(n)
		rec.LastSeenAt = first.LastSeenAt.Add(time.Duration(n) * time.Second)
		rec.ExpiresAt = first.ExpiresAt.Add(time.Duration(n) * time.Second)
		rec.Data = bytes.Repeat([]byte{byte(n)}, max(0, len(heavy.Data)/6*(6-n%3)-n%8))
		return rec
	}
	p.create(a, shape(0))
	var done atomic.Bool
	write := func() {
		defer done.Store(true)
		for n := range p.rounds(10) {
			p.replace(a, shape(n+1), shape(n).Version)
		}
	}
	read := func() {
		for !done.Load() && p.ctx.Err() == nil {
			got, err := b.Load(p.ctx, first.Key)
			p.ok(err, "Load while the record is replaced")
			n, err := strconv.Atoi(got.Label)
			p.ok(err, "reading the number in Label")
			if d := diff(got, shape(n)); d != "" {
				p.Fatalf("Load while the record is replaced, a mixture: %s", d)
			}
		}
	}
	p.crowd(a, func() {
		p.each(6, func(i int) {
			if i == 0 {
				write()
			} else {
				read()
			}
		})
	}, first.Key)
}
