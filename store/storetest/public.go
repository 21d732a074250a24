package storetest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/hipflask/session/store"
)

var publicClauses = []clause{{
	name: "PublicComesBack", twoOpens: true,
	rule: "Public is what Create or Replace was given last, and Touch leaves it: it holds how somebody " +
		"was authenticated, and what is lost or outdated there is a login that nobody can trust.",
	run: publicComesBack,
}, {
	name: "PublicMayBeEmpty",
	rule: "Public may be nil or empty, which is the same; a Replace without it removes what was there: " +
		"most sessions have none, and a logout must leave none.",
	run: publicMayBeEmpty,
}, {
	name: "PublicIsExact",
	rule: "Public comes back byte for byte, not as equal JSON: a column or a client that parses it reorders " +
		"names, rounds numbers and drops white space, or refuses an escaped zero byte.",
	run: publicIsExact,
}, {
	name: "PublicOf512Bytes",
	rule: "Public of 512 bytes is kept whole beside the longest texts; bytes, not characters.",
	run:  publicOf512Bytes,
}, {
	name: "PublicIsListed", about: aboutIndex, twoOpens: true,
	rule: "records are listed with the Public that they have now: a page of devices shows it, and has " +
		"nothing else to show.",
	run: publicIsListed,
}, {
	name: "ListedBytesAreTheCallers", about: aboutIndex,
	rule: "the Public of a record in a list belongs to the caller, up to its capacity: what one request " +
		"does to it must not show in another's list or session.",
	run: listedBytesAreTheCallers,
}}

func publicComesBack(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	p.present(b, rec, "after Create with Public")
	next := changed(rec)
	p.replace(b, next, rec.Version)
	p.present(a, next, "after Replace with another Public")
	next = p.touch(a, next, now(), next.ExpiresAt)
	p.present(b, next, "after Touch of a record with Public")
	anonymous := newRecord()
	anonymous.Principal = ""
	p.create(a, anonymous)
	p.present(b, anonymous, "after Create of an anonymous record with Public")
}

func publicMayBeEmpty(p *probe, a, _ store.Store) {
	for _, public := range [][]byte{nil, {}} {
		rec := newRecord()
		rec.Public = public
		p.create(a, rec)
		p.present(a, rec, "after Create without Public")
		full := changed(rec)
		p.replace(a, full, rec.Version)
		p.present(a, full, "after Replace of no Public by one")
		next := changed(full)
		next.Public = public
		p.replace(a, next, full.Version)
		p.present(a, next, "after Replace of Public by none")
		next.Public, next.Data = []byte(`{"a":1}`), nil
		version := next.Version
		next.Version = store.NewVersion()
		p.replace(a, next, version)
		p.present(a, next, "after Replace with Public and without Data")
	}
}

// exactJSON are objects that a parser tends to change.
var exactJSON = []string{
	`{}`, `{ }`, ` {"a":1}`, "{\"a\":1}\n", "{\n\t\"a\": 1\n}", `{"b":1,"a":2}`, `{"a":1,"a":2}`, `{"":""}`,
	`{"a":1.0,"b":1e2,"c":-0}`,
	`{"a":9007199254740993,"b":0.10000000000000000555}`, `{"a":"\u0000"}`, `{"a":"\u00e9","b":"é","c":"é"}`,
	`{"a":"\ud83c\udf6a","b":"🍪"}`,
	`{"a":"\/<>&","b":" "}`, `{"a":null,"b":[],"c":{}}`, `{"a":"'; DROP TABLE sessions; --","b":"$1 ? %s \\"}`,
	"{\"a\":\"\x7f\"}",
}

func publicIsExact(p *probe, a, _ store.Store) {
	for i, text := range exactJSON {
		rec := newRecord()
		rec.Public = []byte(text)
		p.create(a, rec)
		p.present(a, rec, "after Create with unusual JSON in Public")
		next := changed(rec)
		next.Public = []byte(exactJSON[len(exactJSON)-1-i])
		p.replace(a, next, rec.Version)
		p.present(a, next, "after Replace with unusual JSON in Public")
	}
}

func publicOf512Bytes(p *probe, a, _ store.Store) {
	for _, unit := range []string{"x", "é", "🍪"} {
		text := strings.Repeat(unit, store.MaxPublic)[:store.MaxPublic-len(`{"p":""}`)]
		rec := newRecord()
		rec.Key += strings.Repeat("k", store.MaxKey-len(rec.Key))
		rec.Handle += strings.Repeat("h", store.MaxKey-len(rec.Handle))
		rec.Principal += strings.Repeat("p", store.MaxPrincipal-len(rec.Principal))
		rec.Label = strings.Repeat("l", store.MaxLabel)
		rec.Public = fmt.Appendf(nil, `{"p":"%s"}`, text)
		p.create(a, rec)
		p.present(a, rec, "after Create with 512 bytes of Public")
		next := rec
		next.Version, next.Public = store.NewVersion(), bytes.ReplaceAll(rec.Public, []byte(`"p"`), []byte(`"q"`))
		p.replace(a, next, rec.Version)
		next = p.touch(a, next, now(), next.ExpiresAt)
		p.present(a, next, "after Replace with 512 bytes of Public, and Touch")
		if !p.cfg.noIndex {
			p.listsPrincipal(a, next.Principal, []store.Record{next}, "of a record with 512 bytes of Public")
		}
	}
}

func publicIsListed(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, 4)
	recs[0].Public = nil
	recs[1].Data = nil
	p.createAll(a, recs)
	for i := range recs[:3] {
		next := changed(recs[i])
		if i == 2 {
			next.Public = nil
		}
		p.replace(b, next, recs[i].Version)
		recs[i] = next
	}
	recs[3] = p.touch(b, recs[3], now(), recs[3].ExpiresAt)
	p.listsPrincipal(a, recs[0].Principal, recs, "of records with Public")
	p.listsAll(a, recs, recs, "of records with Public")
}

func listedBytesAreTheCallers(p *probe, a, _ store.Store) {
	recs := recordsOf(newRecord().Principal, 3)
	p.createAll(a, recs)
	for _, l := range listings(p.lister(a), recs[0].Principal) {
		for rec, err := range l.seq(p.ctx) {
			p.ok(err, l.name)
			if keysOf(recs)[rec.Key] {
				scribble(rec)
			}
		}
		p.lists(p.listed(l.seq(p.ctx), keysOf(recs), l.name), recs, l.name+" after listed slices were written over")
		for _, rec := range recs {
			p.present(a, rec, "after listed slices were written over")
		}
	}
}
