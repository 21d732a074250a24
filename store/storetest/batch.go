package storetest

import (
	"errors"
	"time"

	"github.com/hipflask/session/store"
)

// A store that is no BatchReplacer keeps these rules by having no such method.
var batchClauses = []clause{{
	name: "BatchReplacesEach", twoOpens: true,
	rule: "ReplaceBatch does for each record what Replace does, and says which it has replaced: a session that was " +
		"renewed meanwhile and counts as ended stays logged in, and one that was deleted comes back.",
	run: batchReplacesEach,
}, {
	name: "BatchHasOneWinner", twoOpens: true,
	rule: "of a ReplaceBatch and a Replace of one version at the same time exactly one replaces the " +
		"record: otherwise a slow request brings a session back that was ended.",
	run: batchHasOneWinner,
}}

// batchReplacer returns s as a BatchReplacer, or nil if it is none, or wraps one that is none.
func (p *probe) batchReplacer(s store.Store) store.BatchReplacer {
	b, ok := store.As[store.BatchReplacer](s)
	if !ok {
		return nil
	}
	none, err := b.ReplaceBatch(p.ctx, nil, nil)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	p.want(nil, err, "ReplaceBatch of nothing")
	if len(none) != 0 {
		p.Errorf("ReplaceBatch of nothing: got %d results", len(none))
	}
	return b
}

func batchReplacesEach(p *probe, a, b store.Store) {
	batches := p.batchReplacer(a)
	if batches == nil {
		return
	}
	for _, n := range []int{1, 2, 5, 300} {
		var before, recs []store.Record
		var versions []uint64
		for i := range n {
			rec := newRecord()
			if i%7 == 5 {
				rec.ExpiresAt = time.Now().Add(-time.Hour)
			}
			next := changed(rec)
			if i%3 == 1 {
				next = retired(rec, store.Ended)
			}
			before, recs, versions = append(before, rec), append(recs, next), append(versions, rec.Version)
		}
		p.spread(n, func(i int) {
			if i%7 == 3 {
				p.deletes(a, before[i].Key) // never there
				return
			}
			p.create(a, before[i])
			if i%7 == 2 {
				next := changed(before[i])
				p.replace(b, next, before[i].Version)
				before[i] = next
			}
		})
		replaced, err := batches.ReplaceBatch(p.ctx, recs, versions)
		p.ok(err, "ReplaceBatch")
		if len(replaced) != n {
			p.Fatalf("ReplaceBatch of %d records: got %d results", n, len(replaced))
		}
		p.spread(n, func(i int) {
			what, want := "after ReplaceBatch", false
			switch i % 7 {
			case 2:
				p.present(b, before[i], "after ReplaceBatch of another version")
				what = "a record of another version"
			case 3, 5:
				p.absent(b, recs[i].Key, "after ReplaceBatch of a record that is not there")
				what = "a record that is not there"
			default:
				p.present(b, recs[i], what)
				what, want = "a record of that version", true
			}
			if replaced[i] != want {
				p.Errorf("ReplaceBatch of %d: %s counts as replaced: %v", n, what, replaced[i])
			}
		})
	}
}

func batchHasOneWinner(p *probe, a, b store.Store) {
	batches := p.batchReplacer(a)
	if batches == nil {
		return
	}
	const n = 32
	for range p.rounds(3) {
		before, ends, later, versions := recordsOf("principal", n), []store.Record{}, []store.Record{}, []uint64{}
		for _, rec := range before {
			ends, later = append(ends, retired(rec, store.Ended)), append(later, changed(rec))
			versions = append(versions, rec.Version)
		}
		p.createAll(a, before)
		var replaced []bool
		failures := make([]error, n)
		p.each(n+1, func(i int) {
			if i > 0 {
				failures[i-1] = b.Replace(p.ctx, later[i-1], versions[i-1])
				return
			}
			var err error
			replaced, err = batches.ReplaceBatch(p.ctx, ends, versions)
			p.want(nil, err, "ReplaceBatch in a race")
		})
		for i, rec := range later {
			if len(replaced) == n && replaced[i] {
				p.want(store.ErrConflict, failures[i], "Replace of a version that ReplaceBatch has replaced")
				rec = ends[i]
			} else {
				p.want(nil, failures[i], "Replace of a version that ReplaceBatch has not replaced")
			}
			p.present(a, rec, "after the race")
		}
	}
}
