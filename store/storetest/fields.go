package storetest

import (
	"math"
	"strings"
	"time"

	"github.com/hipflask/session/store"
)

var fieldClauses = []clause{{
	name: "TimesToTheMillisecond",
	rule: "CreatedAt, LastSeenAt and ExpiresAt come back as they were given, to the millisecond, in " +
		"whatever time zone and however far away, also as zero: the core compares them with its own timeouts.",
	run: timesToTheMillisecond,
}, {
	name: "VersionsAreExact",
	rule: "versions are whole numbers of 63 bits, kept and compared in every bit: JSON, Lua and JavaScript " +
		"round them to 53, and two versions that compare equal are a lost write.",
	run: versionsAreExact,
}, {
	name: "KindsAndTargets",
	rule: "Kind, MovedTo and Handle come back as they were given: requests in flight follow MovedTo to the renewed " +
		"session, and Kind says whether they may.",
	run: kindsAndTargets,
}}

var textClauses = []clause{{
	name: "TextIsExact",
	rule: "Principal and Label are any UTF-8 and come back byte for byte: what a database trims, folds or normalises " +
		"can make two users one.",
	run: textIsExact,
}, {
	name: "LongestTexts",
	rule: "Key, MovedTo and Handle of 128 bytes, Principal and Label of 256 bytes are kept whole; bytes, " +
		"not characters.",
	run: longestTexts,
}}

func timesToTheMillisecond(p *probe, a, _ store.Store) {
	rec := newRecord()
	far := func(year int) time.Time { return time.Date(year, 12, 31, 23, 59, 58, 999e6, time.UTC) }
	zone := time.FixedZone("far east", 14*3600)
	rows := []struct {
		what                   string
		created, seen, expires time.Time
	}{
		{"one millisecond apart", rec.CreatedAt, rec.CreatedAt.Add(time.Millisecond),
			rec.ExpiresAt.Add(-time.Millisecond)},
		{"the last millisecond of a second", far(2001), far(2020),
			rec.ExpiresAt.Truncate(time.Second).Add(999 * time.Millisecond)},
		{"a whole second", rec.CreatedAt.Truncate(time.Second), rec.CreatedAt.Truncate(time.Second),
			rec.ExpiresAt.Truncate(time.Second)},
		{"another time zone", rec.CreatedAt.In(zone), rec.LastSeenAt.In(zone), rec.ExpiresAt.In(zone)},
		{"finer than a millisecond", rec.CreatedAt.Add(123456), rec.LastSeenAt.Add(999999), rec.ExpiresAt.Add(500001)},
		{"zero, as in a tombstone", time.Time{}, time.Time{}, rec.ExpiresAt},
		{"1970 and 2038", time.UnixMilli(1), time.UnixMilli(-1), far(2038)},
		{"the longest", time.UnixMilli(0), far(9998), far(9999)},
	}
	for _, row := range rows {
		rec := newRecord()
		rec.CreatedAt, rec.LastSeenAt, rec.ExpiresAt = row.created, row.seen, row.expires
		p.create(a, rec)
		p.present(a, rec, "after Create with times: "+row.what)
		next := newRecord()
		next.Key, next.Principal = rec.Key, rec.Principal
		p.replace(a, next, rec.Version)
		rec.Version = next.Version
		next = p.touch(a, next, row.seen, row.expires)
		p.present(a, next, "after Touch with times: "+row.what)
	}
}

func versionsAreExact(p *probe, a, _ store.Store) {
	const exact = 1 << 53 // the last whole number up to which a float64 has them all
	for _, pair := range [][2]uint64{
		{1, 2},
		{exact, exact + 1},
		{exact + 1, exact},
		{math.MaxInt64, math.MaxInt64 - 1},
		{math.MaxInt64 - 1, math.MaxInt64},
		{1<<62 + 1, 1 << 62},
		{1 << 32, 1},
		{1<<31 + 1<<40, 1 << 31},
	} {
		rec := newRecord()
		rec.Version = pair[0]
		p.create(a, rec)
		p.present(a, rec, "after Create")
		next := changed(rec)
		p.want(store.ErrConflict, a.Replace(p.ctx, next, pair[1]),
			"Replace of a version that differs in some bits only")
		p.want(store.ErrConflict, a.Touch(p.ctx, rec.Key, pair[1], now(), rec.ExpiresAt),
			"Touch of a version that differs in some bits only")
		p.present(a, rec, "after refused writes")
		next.Version = pair[1]
		p.want(nil, a.Replace(p.ctx, next, pair[0]), "Replace of the version that is there")
		p.present(a, next, "after Replace")
	}
}

func kindsAndTargets(p *probe, a, _ store.Store) {
	for _, kind := range tombstones {
		rec := newRecord() // every field set: more than the core does
		rec.Kind = kind
		if kind != store.Ended {
			rec.MovedTo = newKey()
		}
		p.create(a, rec)
		p.present(a, rec, "after Create of kind "+kind.String())
		live := newRecord()
		live.Handle = ""
		p.create(a, live)
		rec.Key, rec.Principal, rec.Version = live.Key, live.Principal, store.NewVersion()
		p.replace(a, rec, live.Version)
		p.present(a, rec, "after Replace by kind "+kind.String())
		back := changed(live)
		p.replace(a, back, rec.Version)
		p.present(a, back, "after Replace of a tombstone by a live record")
	}
}

// unusual is text that storage tends to change: what it trims, folds, normalises, escapes, replaces or cuts off.
var unusual = []string{
	" ", "leading", " leading", "trailing", "trailing ", "trailing\t", "Case", "case", "CASE",
	"stra\u00dfe", "strasse", "caf\u00e9", "cafe\u0301", "\u212b", "\u00c5", "A\u030a", "\u0131", "i", "I", "\u0130",
	"\u200b", "\u202eevil\u202c", "\ufeffbom", "bom", "\ufffd", "\uffff", "\u2028\u2029",
	"\U0001F469\u200d\U0001F469\u200d\U0001F467",
	"\U0010ffff", "\u0644\u0627", "\r\n", "\n", "\t", "a\x00b", "a", "\x7f\x1b[31m", "null", "NULL",
	"nil", "0", "0.0", "1e3", "true",
	`'; DROP TABLE sessions; --`, `"`, `'`, `\`, `\\`, `\x00`, `\u0000`, "%", "%s%n", "_", "a_b", "a%b",
	"*", "?", "[a-z]",
	"{}", "{tag}", "<b>", "&amp;", "a:b", "a/b", "../../etc/passwd", "a,b", "a;b", "$1", "${HOME}", "`id`", "\u00ff",
}

func textIsExact(p *probe, a, _ store.Store) {
	salt := newKey() // the same for all, so that they differ in nothing but the unusual part
	recs := make([]store.Record, len(unusual))
	for i, text := range unusual {
		recs[i] = newRecord()
		recs[i].Label = text
		recs[i].Principal = text + salt + text
	}
	p.createAll(a, recs)
	for i, rec := range recs {
		p.present(a, rec, "after Create with unusual text")
		next := changed(rec)
		next.Label = unusual[len(unusual)-1-i]
		p.replace(a, next, rec.Version)
		p.present(a, next, "after Replace with unusual text")
	}
}

func longestTexts(p *probe, a, _ store.Store) {
	fill := func(start, unit string, size int) string {
		return start + strings.Repeat(unit, size)[:(size-len(start))/len(unit)*len(unit)]
	}
	for _, unit := range []string{"x", "\U0001F36A", "\u00e9"} {
		rec := newRecord()
		rec.Kind = store.Renewed
		rec.Key = fill(newKey()+"--", "k", store.MaxKey)
		rec.MovedTo = fill(newKey()+"--", "m", store.MaxKey)
		rec.Handle = fill(newKey()+"--", "h", store.MaxKey)
		rec.Principal = fill(newKey()+"--", unit, store.MaxPrincipal)
		rec.Label = fill("", unit, store.MaxLabel)
		p.create(a, rec)
		p.present(a, rec, "after Create with the longest texts")
		next := changed(rec)
		next.Label = rec.Label
		p.replace(a, next, rec.Version)
		p.present(a, next, "after Replace with the longest texts")
		sibling := newRecord()
		sibling.Key = rec.Key[:len(rec.Key)-1] + "!"
		sibling.Principal = rec.Principal[:len(rec.Principal)-len(unit)]
		p.create(a, sibling)
		p.present(a, next, "after Create of a key that differs in the last byte")
	}
}
