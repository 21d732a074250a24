package storetest

import (
	"reflect"

	"github.com/hipflask/session/store"
)

var declarationClauses = []clause{{
	name: "DeclaresWhatItIs",
	rule: "a store is a Lister and a Sweeper, or says that it isn't, and an Evicter is tested as one: " +
		"a method that is misspelt or forgotten would silently switch off \"log out everywhere\", cleaning " +
		"up or the report of evictions.",
	run: declaresWhatItIs,
}, {
	name: "OpensTheSameDataTwice", about: aboutReopening,
	rule: "two opens see the same records, as two servers behind a load balancer would: a session that is on one of " +
		"them only is a login that works every other time. A store in memory declares SingleOpen.",
	run: opensTheSameDataTwice,
}}

var createClauses = []clause{{
	name: "CreateStoresTheRecord", twoOpens: true,
	rule: "after Create has answered nil, Load returns the record, of whatever kind: what was answered is saved.",
	run:  createStoresTheRecord,
}, {
	name: "CreateRefusesALiveKey", twoOpens: true,
	rule: "Create answers ErrExists when the key is taken, and leaves what is there: otherwise one user's session " +
		"could take the place of another's.",
	run: createRefusesALiveKey,
}, {
	name: "CreateRefusesATombstone", twoOpens: true,
	rule: "a tombstone takes its key like a live record: a Create over it would bring an ended session back.",
	run:  createRefusesATombstone,
}, {
	name: "CreateAfterDelete", twoOpens: true,
	rule: "a deleted key is free: Delete leaves nothing behind that a later Create could meet.",
	run:  createAfterDelete,
}}

var deleteClauses = []clause{{
	name: "DeleteRemovesTheRecord", twoOpens: true,
	rule: "after Delete has answered nil the record is gone, live or tombstone, whatever its version: a Delete that " +
		"only says so leaves a session that nobody can end.",
	run: deleteRemovesTheRecord,
}, {
	name: "DeleteOfNothingIsNil", twoOpens: true,
	rule: "Delete of an absent key answers nil, so that it can be sent again when its answer was lost.",
	run:  deleteOfNothingIsNil,
}, {
	name: "DeleteLeavesOthers", twoOpens: true,
	rule: "Delete removes one record: the other sessions of the same principal stay.",
	run:  deleteLeavesOthers,
}, {
	name: "LoadOfNothingIsNotFound", twoOpens: true,
	rule: "Load of a key that nothing was ever stored under answers ErrNotFound, and not a zero record or another " +
		"error: the core takes every other error for an outage and answers 503.",
	run: loadOfNothingIsNotFound,
}}

func declaresWhatItIs(p *probe, a, _ store.Store) {
	if _, is := store.As[store.Lister](a); is == p.cfg.noIndex {
		p.Errorf("%T: is a store.Lister: %v, declares NoIndex: %v", a, is, p.cfg.noIndex)
	}
	if _, is := store.As[store.Sweeper](a); is == p.cfg.ownExpiry {
		p.Errorf("%T: is a store.Sweeper: %v, declares OwnExpiry: %v", a, is, p.cfg.ownExpiry)
	}
	if _, is := store.As[store.Evicter](a); is != (p.cfg.bounded != nil) {
		p.Errorf("%T: is a store.Evicter: %v, has an option Bounded to test it: %v", a, is, p.cfg.bounded != nil)
	}
}

func opensTheSameDataTwice(p *probe, a, _ store.Store) {
	b := p.open(p.opener)
	if va, vb := reflect.ValueOf(a), reflect.ValueOf(b); va.Kind() == reflect.Pointer && va.Type() == vb.Type() &&
		va.Pointer() == vb.Pointer() && va.Elem().Type().Size() > 0 {
		p.Fatalf("two calls of open returned the same %T: open the data anew, or declare SingleOpen", a)
	}
	rec := newRecord()
	p.create(a, rec)
	p.present(b, rec, "through the other store")
	next := changed(rec)
	p.replace(b, next, rec.Version)
	p.present(a, next, "after Replace through the other store")
}

func createStoresTheRecord(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	p.present(b, rec, "after Create")
	anonymous := newRecord()
	anonymous.Principal = ""
	p.create(a, anonymous)
	p.present(b, anonymous, "after Create of an anonymous record")
	for _, kind := range tombstones {
		tomb := retired(newRecord(), kind)
		p.create(a, tomb)
		p.present(b, tomb, "after Create of a tombstone")
	}
	p.present(b, rec, "after other Creates")
}

func createRefusesALiveKey(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	other := newRecord()
	other.Key = rec.Key
	p.want(store.ErrExists, b.Create(p.ctx, other), "Create of a key that a live record has")
	p.present(a, rec, "after the refused Create")
	p.want(store.ErrExists, b.Create(p.ctx, rec), "Create of the very record that is there")
	p.present(a, rec, "after the refused Create")
}

func createRefusesATombstone(p *probe, a, b store.Store) {
	for _, kind := range tombstones {
		rec := newRecord()
		tomb := retired(rec, kind)
		p.create(a, rec)
		p.replace(a, tomb, rec.Version)
		p.want(store.ErrExists, b.Create(p.ctx, rec), "Create of a key that a tombstone has")
		p.present(a, tomb, "after the refused Create")
	}
}

func createAfterDelete(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	p.ok(b.Delete(p.ctx, rec.Key), "Delete")
	again := changed(rec)
	p.want(nil, a.Create(p.ctx, again), "Create of a deleted key")
	p.present(b, again, "after Create of a deleted key")
}

func deleteRemovesTheRecord(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	p.replace(a, changed(rec), rec.Version)
	p.want(nil, b.Delete(p.ctx, rec.Key), "Delete of a live record")
	p.absent(a, rec.Key, "after Delete")
	for _, kind := range tombstones {
		tomb := retired(newRecord(), kind)
		p.create(a, tomb)
		p.want(nil, b.Delete(p.ctx, tomb.Key), "Delete of a tombstone")
		p.absent(a, tomb.Key, "after Delete of a tombstone")
	}
}

func deleteOfNothingIsNil(p *probe, a, b store.Store) {
	p.want(nil, a.Delete(p.ctx, newKey()), "Delete of a key that was never there")
	rec := newRecord()
	p.create(a, rec)
	p.ok(a.Delete(p.ctx, rec.Key), "Delete")
	p.want(nil, b.Delete(p.ctx, rec.Key), "Delete of a key that was deleted")
}

func deleteLeavesOthers(p *probe, a, b store.Store) {
	recs := recordsOf(newRecord().Principal, 4)
	p.createAll(a, recs)
	p.ok(b.Delete(p.ctx, recs[0].Key), "Delete")
	for _, rec := range recs[1:] {
		p.present(a, rec, "after Delete of another record of the principal")
	}
}

func loadOfNothingIsNotFound(p *probe, a, b store.Store) {
	rec := newRecord()
	p.absent(a, rec.Key, "before anything was stored")
	p.create(a, rec)
	p.absent(b, rec.Key+"x", "of a longer key than the one that is there")
	p.absent(b, rec.Key[:len(rec.Key)-1], "of a shorter key than the one that is there")
}
