package storetest

import (
	"bytes"
	"time"

	"github.com/hipflask/session/store"
)

var replaceClauses = []clause{{
	name: "ReplaceStoresTheWholeRecord", twoOpens: true,
	rule: "after Replace has answered nil, Load returns the new record in every field and nothing of the old one: " +
		"a response means saved, and a value that was removed stays removed.",
	run: replaceStoresTheWholeRecord,
}, {
	name: "ReplaceShrinksAndGrows", twoOpens: true,
	rule: "a record may become shorter and longer with every Replace: nothing of a longer predecessor is left behind " +
		"its end, nothing of a longer successor is cut off.",
	run: replaceShrinksAndGrows,
}, {
	name: "ReplaceRefusesAnotherVersion", twoOpens: true,
	rule: "Replace answers ErrConflict when another version is there, and leaves it: this condition is what keeps " +
		"overlapping requests from losing each other's writes, and a logged-out session from coming back.",
	run: replaceRefusesAnotherVersion,
}, {
	name: "ReplaceKeepsTheNewVersion", twoOpens: true,
	rule: "the version of a record is the one that its writer chose, and the condition of the next write " +
		"is that one: a Replace whose answer was lost is recognised by it.",
	run: replaceKeepsTheNewVersion,
}, {
	name: "ReplaceNeverCreates", twoOpens: true,
	rule: "Replace answers ErrNotFound when nothing is there, and stores nothing: a slow request must not revive a " +
		"session that was ended meanwhile. Peers that save with an upsert do just that.",
	run: replaceNeverCreates,
}}

var touchClauses = []clause{{
	name: "TouchMovesTimesOnly", twoOpens: true,
	rule: "Touch moves LastSeenAt and ExpiresAt and keeps the version and everything else: if it changed " +
		"the version, every request that only reads would make an overlapping one retry.",
	run: touchMovesTimesOnly,
}, {
	name: "TouchRefusesAnotherVersion", twoOpens: true,
	rule: "Touch answers ErrConflict when another version is there, and moves nothing: it could lengthen the life of " +
		"a tombstone, or of a session whose times somebody else just set.",
	run: touchRefusesAnotherVersion,
}, {
	name: "TouchNeverCreates", twoOpens: true,
	rule: "Touch answers ErrNotFound when nothing is there, and stores nothing: activity must not revive a session " +
		"that was ended.",
	run: touchNeverCreates,
}}

func replaceStoresTheWholeRecord(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	next := changed(rec)
	next.Handle = newRecord().Handle
	next.CreatedAt = rec.CreatedAt.Add(time.Hour)
	p.replace(b, next, rec.Version)
	p.present(a, next, "after Replace")
	bare := store.Record{Key: rec.Key, Version: store.NewVersion(), Principal: rec.Principal, ExpiresAt: rec.ExpiresAt}
	p.replace(a, bare, next.Version)
	p.present(b, bare, "after Replace by a record with empty fields")
	for _, kind := range tombstones {
		rec := newRecord()
		p.create(a, rec)
		tomb := retired(rec, kind)
		p.replace(b, tomb, rec.Version)
		p.present(a, tomb, "after Replace by a tombstone")
	}
}

func replaceShrinksAndGrows(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	for i, size := range []int{100, 10, 5000, 4999, 0, 1, 70000, 300, 4096, 4097, 2} {
		next := changed(rec)
		next.Data = bytes.Repeat([]byte{byte('a' + i)}, min(size, p.cfg.maxData))
		p.replace(a, next, rec.Version)
		p.present(b, next, "after Replace by data of another size")
		rec = next
	}
}

func replaceRefusesAnotherVersion(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	next := changed(rec)
	p.want(store.ErrConflict, b.Replace(p.ctx, next, store.NewVersion()), "Replace of a version that never was")
	p.present(a, rec, "after the refused Replace")
	p.want(store.ErrConflict, b.Replace(p.ctx, next, next.Version), "Replace of the version it brings")
	p.present(a, rec, "after the refused Replace")
	p.replace(b, next, rec.Version)
	p.want(store.ErrConflict, a.Replace(p.ctx, changed(rec), rec.Version), "Replace of the version before the last")
	p.present(b, next, "after the refused Replace")
	tomb := retired(rec, store.Ended)
	p.replace(a, tomb, next.Version)
	p.want(store.ErrConflict, b.Replace(p.ctx, changed(next), next.Version), "Replace of an ended session")
	p.present(a, tomb, "after the refused Replace")
}

func replaceKeepsTheNewVersion(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	for range 8 {
		next := changed(rec)
		p.want(nil, b.Replace(p.ctx, next, rec.Version), "Replace of the version that the last write brought")
		p.present(a, next, "after Replace")
		a, b, rec = b, a, next
	}
}

func replaceNeverCreates(p *probe, a, b store.Store) {
	never := newRecord()
	p.deletes(a, never.Key)
	p.want(store.ErrNotFound, a.Replace(p.ctx, never, never.Version), "Replace of a key that was never there")
	p.want(store.ErrNotFound, a.Replace(p.ctx, never, 0), "Replace of version 0 of a key that was never there")
	p.absent(b, never.Key, "after the refused Replace")
	rec := newRecord()
	p.create(a, rec)
	p.ok(b.Delete(p.ctx, rec.Key), "Delete")
	p.want(store.ErrNotFound, a.Replace(p.ctx, changed(rec), rec.Version), "Replace of a deleted record")
	p.absent(b, rec.Key, "after the refused Replace")
}

func touchMovesTimesOnly(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	touched := p.touch(b, rec, rec.LastSeenAt.Add(5001*time.Millisecond), rec.ExpiresAt.Add(5003*time.Millisecond))
	p.present(a, touched, "after Touch")
	back := p.touch(a, touched, rec.CreatedAt, rec.ExpiresAt.Add(-time.Minute))
	p.present(b, back, "after Touch to earlier times")
	next := changed(back)
	p.want(nil, a.Replace(p.ctx, next, rec.Version), "Replace of the version that Touch has to keep")
	p.present(b, next, "after Replace of a touched record")
	tomb := retired(rec, store.Renewed)
	p.replace(a, tomb, next.Version)
	moved := p.touch(b, tomb, now(), tomb.ExpiresAt.Add(time.Minute))
	p.present(a, moved, "after Touch of a tombstone")
}

func touchRefusesAnotherVersion(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	later := rec.ExpiresAt.Add(time.Hour)
	p.want(store.ErrConflict, b.Touch(p.ctx, rec.Key, store.NewVersion(), now(), later),
		"Touch of a version that never was")
	p.present(a, rec, "after the refused Touch")
	tomb := retired(rec, store.Ended)
	p.replace(a, tomb, rec.Version)
	p.want(store.ErrConflict, b.Touch(p.ctx, rec.Key, rec.Version, now(), later), "Touch of an ended session")
	p.present(a, tomb, "after the refused Touch")
}

func touchNeverCreates(p *probe, a, b store.Store) {
	never := newRecord()
	p.deletes(a, never.Key)
	p.want(store.ErrNotFound, a.Touch(p.ctx, never.Key, never.Version, now(), never.ExpiresAt),
		"Touch of a key that was never there")
	p.absent(b, never.Key, "after the refused Touch")
	rec := newRecord()
	p.create(a, rec)
	p.ok(b.Delete(p.ctx, rec.Key), "Delete")
	p.want(store.ErrNotFound, a.Touch(p.ctx, rec.Key, rec.Version, now(), rec.ExpiresAt), "Touch of a deleted record")
	p.absent(b, rec.Key, "after the refused Touch")
}
