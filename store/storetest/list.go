package storetest

import (
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/hipflask/session/store"
)

var listClauses = []clause{{
	name: "PrincipalListsItsRecords", about: aboutIndex, twoOpens: true,
	rule: "Principal yields every record of the principal exactly once, with every field but Data, Public " +
		"too, and nobody else's: a session that is missing survives \"log out everywhere\".",
	run: principalListsItsRecords,
}, {
	name: "PrincipalListsTombstones", about: aboutIndex, twoOpens: true,
	rule: "tombstones are listed like live records: \"log out everywhere\" follows them to a session " +
		"that is just being renewed.",
	run: principalListsTombstones,
}, {
	name: "PrincipalOfNobody", about: aboutIndex,
	rule: "Principal of \"\" yields nothing, and so does a principal without records: anonymous sessions " +
		"are nobody's list.",
	run: principalOfNobody,
}, {
	name: "PrincipalNamesAreExact", about: aboutIndex,
	rule: "principals that differ in a byte are different, however alike they look to a pattern or a " +
		"collation: \"log out " +
		"everywhere\" must not reach another user, nor miss one.",
	run: principalNamesAreExact,
}, {
	name: "ListingAtSize", about: aboutIndex,
	rule: "a listing of many records has all of them, each once, over as many pages as it takes.",
	run:  listingAtSize,
}, {
	name: "AllListsEveryRecord", about: aboutIndex, twoOpens: true,
	rule: "All yields every record exactly once, of whatever principal or kind, the anonymous too.",
	run:  allListsEveryRecord,
}, {
	name: "ListingOmitsData", about: aboutIndex,
	rule: "records are listed without Data: a page of devices must not read, or show, megabytes of what " +
		"is in the sessions.",
	run: listingOmitsData,
}, {
	name: "ListingOmitsExpired", about: aboutIndex, twoOpens: true, waits: true,
	rule: "expired records are not listed, before any cleanup has run: a page of devices shows who is logged in now.",
	run:  listingOmitsExpired,
}, {
	name: "ListingOmitsDeleted", about: aboutIndex, twoOpens: true,
	rule: "deleted records are not listed, and the others still are.",
	run:  listingOmitsDeleted,
}, {
	name: "ListingReportsItsEnd", about: aboutIndex,
	rule: "a listing whose context ends, before or in the loop, yields an error with a zero record and " +
		"nothing after it: a list that is cut short without a word looks whole, and \"log out everywhere\" " +
		"would believe it.",
	run: listingReportsItsEnd,
}}

// listed collects what a listing yields under the keys of mine, or under any key if mine is nil. A record that comes
// twice is reported, and so is Data.
func (p *probe) listed(seq iter.Seq2[store.Record, error], mine map[string]bool, what string) map[string]store.Record {
	p.Helper()
	got := map[string]store.Record{}
	for rec, err := range seq {
		if err != nil {
			p.Fatalf("%s: got error %q, want records", what, err)
		}
		if mine != nil && !mine[rec.Key] {
			continue
		}
		if _, twice := got[rec.Key]; twice {
			p.Errorf("%s: the same record was yielded twice", what)
		}
		got[rec.Key] = rec
	}
	return got
}

// lists reports unless got is exactly want, without Data.
func (p *probe) lists(got map[string]store.Record, want []store.Record, what string) {
	p.Helper()
	missing := 0
	for _, w := range want {
		g, ok := got[w.Key]
		if !ok {
			missing++
			continue
		}
		if d := diff(withoutData(g), withoutData(w)); d != "" {
			p.Errorf("%s: %s", what, d)
		}
	}
	if missing > 0 {
		p.Errorf("%s: %d of %d records are missing", what, missing, len(want))
	}
	if extra := len(got) - (len(want) - missing); extra > 0 {
		p.Errorf("%s: got %d records that do not belong there", what, extra)
	}
}

// listsPrincipal reports unless Principal yields exactly want.
func (p *probe) listsPrincipal(s store.Store, principal string, want []store.Record, when string) {
	p.Helper()
	p.lists(p.listed(p.lister(s).Principal(p.ctx, principal), nil, "Principal "+when), want, "Principal "+when)
}

// listsAll reports unless All yields exactly want of the records whose keys are those of mine.
func (p *probe) listsAll(s store.Store, mine, want []store.Record, when string) {
	p.Helper()
	p.lists(p.listed(p.lister(s).All(p.ctx), keysOf(mine), "All "+when), want, "All "+when)
}

func keysOf(recs []store.Record) map[string]bool {
	keys := make(map[string]bool, len(recs))
	for _, rec := range recs {
		keys[rec.Key] = true
	}
	return keys
}

func principalListsItsRecords(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, 5)
	others := recordsOf(newRecord().Principal, 3)
	p.createAll(a, recs)
	p.createAll(a, others)
	p.listsPrincipal(b, recs[0].Principal, recs, "of 5 records")
	p.listsPrincipal(b, others[0].Principal, others, "of 3 records")
	more := recordsOf(recs[0].Principal, 1)
	p.create(b, more[0])
	p.listsPrincipal(a, recs[0].Principal, append(recs, more...), "after one more")
}

func principalListsTombstones(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, len(tombstones)+1)
	p.createAll(a, recs)
	for i, kind := range tombstones {
		tomb := retired(recs[i], kind)
		p.replace(b, tomb, recs[i].Version)
		recs[i] = tomb
	}
	p.listsPrincipal(a, recs[0].Principal, recs, "of a live record and tombstones")
	p.listsAll(a, recs, recs, "with tombstones")
}

func principalOfNobody(p *probe, a, _ store.Store) {
	anonymous := newRecord()
	anonymous.Principal = ""
	p.create(a, anonymous)
	p.listsPrincipal(a, "", nil, `of ""`)
	p.listsPrincipal(a, newRecord().Principal, nil, "of somebody without records")
}

func principalNamesAreExact(p *probe, a, _ store.Store) {
	salt := newKey()
	var recs []store.Record
	for _, text := range unusual {
		for _, principal := range []string{salt + text, text + salt, salt + text + salt} {
			rec := newRecord()
			rec.Principal = principal
			recs = append(recs, rec)
		}
	}
	bare := newRecord()
	bare.Principal = salt
	recs = append(recs, bare)
	p.createAll(a, recs)
	for i, rec := range recs {
		p.listsPrincipal(a, rec.Principal, recs[i:i+1], "of an unusual name")
	}
}

// pages is how many records make more than one page in any store.
const pages = 1100

func listingAtSize(p *probe, a, _ store.Store) {
	recs := recordsOf(newRecord().Principal, pages)
	p.createAll(a, recs)
	p.listsPrincipal(a, recs[0].Principal, recs, "of many records")
	p.listsAll(a, recs, recs, "of many records")
}

func allListsEveryRecord(p *probe, a, b store.Store) {
	recs := make([]store.Record, 40)
	for i := range recs {
		recs[i] = newRecord()
		switch i % 4 {
		case 1:
			recs[i].Principal = ""
		case 2:
			recs[i].Principal = recs[i-1].Principal
		case 3:
			recs[i] = retired(recs[i], tombstones[i%len(tombstones)])
		}
	}
	p.createAll(a, recs)
	p.listsAll(b, recs, recs, "of records of all kinds")
}

func listingOmitsData(p *probe, a, _ store.Store) {
	recs := recordsOf(newRecord().Principal, 3)
	p.createAll(a, recs)
	next := changed(recs[0])
	p.replace(a, next, recs[0].Version)
	for what, got := range map[string]map[string]store.Record{
		"Principal": p.listed(p.lister(a).Principal(p.ctx, recs[0].Principal), nil, "Principal"),
		"All":       p.listed(p.lister(a).All(p.ctx), keysOf(recs), "All"),
	} {
		if len(got) != len(recs) {
			p.Errorf("%s: got %d records, want %d", what, len(got), len(recs))
		}
		for _, rec := range got {
			if len(rec.Data) > 0 {
				p.Errorf("%s: got a record with %d bytes of Data, want none", what, len(rec.Data))
			}
		}
	}
}

func listingOmitsExpired(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, 4)
	p.createAll(a, recs[2:])
	start := time.Now()
	for i := range 2 {
		recs[i], _ = p.fleeting(a, recs[i])
	}
	touched := p.touch(a, recs[3], now(), now().Add(shortLife))
	p.waitUntil(p.dead(touched.ExpiresAt, time.Since(start)))
	p.listsPrincipal(b, recs[0].Principal, recs[2:3], "after others expired")
	p.listsAll(b, recs, recs[2:3], "after others expired")
}

func listingOmitsDeleted(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, 4)
	p.createAll(a, recs)
	tomb := retired(recs[1], store.Ended)
	p.replace(a, tomb, recs[1].Version)
	for _, rec := range recs[:2] {
		p.ok(a.Delete(p.ctx, rec.Key), "Delete")
	}
	p.listsPrincipal(b, recs[0].Principal, recs[2:], "after Deletes")
	p.listsAll(b, recs, recs[2:], "after Deletes")
	again := changed(recs[0])
	p.ok(b.Create(p.ctx, again), "Create of a deleted key")
	p.listsPrincipal(a, again.Principal, append(slices.Clone(recs[2:]), again), "after Create of a deleted key")
}

func listingReportsItsEnd(p *probe, a, _ store.Store) {
	recs := recordsOf(newRecord().Principal, 20)
	p.createAll(a, recs)
	for _, l := range listings(p.lister(a), recs[0].Principal) {
		for name, ctx := range p.endedContexts() {
			p.endsWithError(l.seq(ctx), func() {}, 0, l.name+" with a "+name+" context")
		}
		ctx, cancel := cancelable(p)
		p.endsWithError(l.seq(ctx), cancel, 1, l.name+" with a context that is cancelled at the first record")
		cancel()
	}
}

// endsWithError reports unless seq yields at most the given number of records, after the first of which atFirst is
// called, and then an error with a zero record and no more.
func (p *probe) endsWithError(seq iter.Seq2[store.Record, error], atFirst func(), most int, what string) {
	p.Helper()
	records, failed := 0, false
	for rec, err := range seq {
		switch {
		case failed:
			p.Errorf("%s: the sequence goes on after an error", what)
			return
		case err != nil:
			failed = true
			p.failed(err, what)
			if !reflect.ValueOf(rec).IsZero() {
				p.Errorf("%s: got a record together with an error, want a zero record", what)
			}
		default:
			records++
			atFirst()
		}
	}
	if !failed || records > most {
		p.Errorf("%s: got %d records and then an error: %v; want at most %d and an error", what, records, failed, most)
	}
}
