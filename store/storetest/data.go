package storetest

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/hipflask/session/store"
)

var dataClauses = []clause{{
	name: "DataMayBeEmpty",
	rule: "Data may be nil or empty, which is the same: tombstones have none, and a record without data " +
		"is there all the same.",
	run: dataMayBeEmpty,
}, {
	name: "DataIsBinary",
	rule: "Data is any bytes and comes back byte for byte: other serializers and encrypted values are no text.",
	run:  dataIsBinary,
}, {
	name: "DataOfAMebibyte", twoOpens: true,
	rule: "Data of 1 MiB, the default bound on a session, is kept whole; a store that can't declares MaxData.",
	run:  dataOfAMebibyte,
}, {
	name: "DataOverTheLimit", about: aboutMaxData,
	rule: "a store that declares MaxData answers more than that with an error and keeps what was there: data that is " +
		"cut off, or dropped without a word, is a session that nobody can read.",
	run: dataOverTheLimit,
}, {
	name: "GivenBytesAreNotKept",
	rule: "a store keeps no slice that it was given: the caller uses the buffer again, and a session " +
		"would change without a write.",
	run: givenBytesAreNotKept,
}, {
	name: "ReturnedBytesAreTheCallers",
	rule: "the bytes that Load returns, Public and Data, belong to the caller, up to their capacity: " +
		"what one request does to its copy must not show in another's.",
	run: returnedBytesAreTheCallers,
}}

var keyClauses = []clause{{
	name: "KeysAreOpaque", twoOpens: true,
	rule: "a key is any printable ASCII without spaces, and keys that differ in one byte, or in the " +
		"case of one letter, are two records: a store that reads something into a key (a path, a pattern, " +
		"a column that ignores case) opens one user's session to another, or a file to both.",
	run: keysAreOpaque,
}}

func dataMayBeEmpty(p *probe, a, _ store.Store) {
	for _, data := range [][]byte{nil, {}} {
		rec := newRecord()
		rec.Data = data
		p.create(a, rec)
		p.present(a, rec, "after Create without data")
		full := changed(rec)
		p.replace(a, full, rec.Version)
		next := changed(full)
		next.Data = data
		p.replace(a, next, full.Version)
		p.present(a, next, "after Replace of data by nothing")
	}
}

func dataIsBinary(p *probe, a, _ store.Store) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, data := range [][]byte{
		every, {0}, {0, 0, 0}, {0xff}, {0xff, 0xfe}, {0xc3, 0x28}, {0xed, 0xa0, 0x80}, []byte("\r\n\n\r"), []byte(" "),
		[]byte("trailing \x00"), []byte(`\x00`), []byte(`"`), []byte("null"), []byte("'"), {0x1f, 0x8b, 8, 0},
		{0x80, 4, 0x95},
	} {
		rec := newRecord()
		rec.Data = data
		p.create(a, rec)
		p.present(a, rec, "after Create with binary data")
		next := changed(rec)
		next.Data = append(slices.Clone(data), 0, 0xff)
		p.replace(a, next, rec.Version)
		p.present(a, next, "after Replace with binary data")
	}
}

func dataOfAMebibyte(p *probe, a, b store.Store) {
	rec := newRecord()
	rec.Data = make([]byte, p.cfg.maxData)
	_, _ = rand.Read(rec.Data)
	p.create(a, rec)
	p.present(b, rec, "after Create with the largest data")
	next := changed(rec)
	next.Data = bytes.Repeat([]byte{0}, p.cfg.maxData)
	p.replace(b, next, rec.Version)
	p.present(a, next, "after Replace with the largest data")
	p.present(a, p.touch(a, next, now(), next.ExpiresAt), "after Touch of the largest data")
}

func dataOverTheLimit(p *probe, a, _ store.Store) {
	big := newRecord()
	big.Data = make([]byte, mebibyte+1)
	_, _ = rand.Read(big.Data)
	p.deletes(a, big.Key)
	p.failed(a.Create(p.ctx, big), "Create with more data than MaxData")
	p.absent(a, big.Key, "after the refused Create")
	rec := newRecord()
	p.create(a, rec)
	next := changed(rec)
	next.Data = big.Data
	p.failed(a.Replace(p.ctx, next, rec.Version), "Replace with more data than MaxData")
	p.present(a, rec, "after the refused Replace")
}

func givenBytesAreNotKept(p *probe, a, _ store.Store) {
	for _, size := range []int{8, 1000, 100_000} {
		size = min(size, p.cfg.maxData)
		want := newRecord()
		want.Data = bytes.Repeat([]byte{'w'}, size)
		rec := cloned(want)
		p.create(a, rec)
		scribble(rec)
		p.present(a, want, "after the slices given to Create were written over")
		version := want.Version
		want = changed(want)
		want.Data = bytes.Repeat([]byte{'x'}, size)
		next := cloned(want)
		p.replace(a, next, version)
		scribble(next)
		p.present(a, want, "after the slices given to Replace were written over")
	}
}

func returnedBytesAreTheCallers(p *probe, a, _ store.Store) {
	for _, size := range []int{8, 1000, 100_000} {
		rec := newRecord()
		rec.Data = bytes.Repeat([]byte{'w'}, min(size, p.cfg.maxData))
		p.create(a, rec)
		first, err := a.Load(p.ctx, rec.Key)
		p.ok(err, "Load")
		second, err := a.Load(p.ctx, rec.Key)
		p.ok(err, "Load")
		scribble(first)
		if d := diff(second, rec); d != "" {
			p.Errorf("a record loaded before another copy was written over: %s", d)
		}
		p.present(a, rec, "after returned slices were written over")
		scribble(store.Record{Public: second.Public})
		if !bytes.Equal(second.Data, rec.Data) {
			p.Errorf("a record whose Public was written over, up to its capacity: got Data %s, want %s",
				brief(second.Data), brief(rec.Data))
		}
	}
}

// scribble writes over all bytes of rec, also what append would reach.
func scribble(rec store.Record) {
	for _, b := range [][]byte{rec.Public, rec.Data} {
		for i := range b[:cap(b)] {
			b[:cap(b)][i] = 'X'
		}
	}
}

func keysAreOpaque(p *probe, a, b store.Store) {
	recs := make([]store.Record, 0, 100)
	for _, key := range hostileKeys() {
		rec := newRecord()
		rec.Key = key
		rec.Data = []byte("data of " + key)
		p.ok(a.Delete(p.ctx, key), "Delete before the first Create") // of a run that was cut short
		recs = append(recs, rec)
	}
	p.createAll(a, recs)
	for i, rec := range recs {
		p.present(b, rec, "of a hostile key")
		next := changed(rec)
		p.replace(b, next, rec.Version)
		recs[i] = p.touch(a, next, now(), next.ExpiresAt)
	}
	for i, rec := range recs {
		p.present(b, rec, "of a hostile key after Replace and Touch")
		p.want(nil, a.Delete(p.ctx, rec.Key), "Delete of a hostile key")
		p.absent(b, rec.Key, "of a hostile key after Delete")
		if i+1 < len(recs) {
			p.present(b, recs[i+1], "of a hostile key after Delete of another")
		}
	}
}

// hostileKeys returns keys that mean something to file systems, shells, SQL, Redis, memcached, globs, or printf, and
// neighbours that one of these would take for the same.
func hostileKeys() []string {
	r := newKey()
	var printable strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		printable.WriteByte(c)
	}
	return []string{
		r, strings.ToLower(r), strings.ToUpper(r), r[:len(r)-1], r + "x", r + ".", r + "..", r + "/",
		r + "//x", r + "/x", r + `\x`, r + ":x", r + ".tmp",
		r + ".lock", r + "~", "." + r, "-" + r, "--" + r, "/" + r, "//" + r, "../" + r, "../../../../../../tmp/" + r,
		`..\` + r, "./" + r, "%2e%2e%2f" + r,
		r + "/../x", r + "/..", "~/" + r, "C:" + r, `\\host\` + r, "CON." + r, "*" + r, r + "*", "?" + r,
		r + "?", "[a-z]" + r, "{" + r + "}", "{}" + r, "}{" + r,
		"%" + r, r + "%", "_" + r, r[:3] + "_" + r[4:], "%s%d%n" + r, `"` + r, "'" + r, "''" + r, "`" + r + "`",
		"$" + r, "${" + r + "}", "$(" + r + ")",
		"';DROP/**/TABLE/**/sessions;--" + r, `\` + r, `\n` + r, `\0` + r, "#" + r, "&" + r, "+" + r,
		"=" + r, "," + r, ";" + r, "|" + r, "<" + r + ">",
		"@" + r, "!" + r, "^" + r, "(" + r + ")", "principal:" + r, "index:" + r,
		r + strings.Repeat("/", store.MaxKey-len(r)),
		strings.Repeat("../", (store.MaxKey-len(r))/3) + r, r[:26] + printable.String(),
		".", "..", "...", "/", "~", "-", "*", "?", "%", "_", "a", "A", "0", "con", "CON", "NUL", "nul", "lpt1",
	}
}
