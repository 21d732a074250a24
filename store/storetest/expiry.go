package storetest

import (
	"errors"
	"time"

	"github.com/hipflask/session/store"
)

// shortLife is how long the records live whose end a clause waits for: long enough that they are seen alive on a slow
// machine, too.
const shortLife = 100 * time.Millisecond

// clockSlack is what a clock that counts milliseconds may be off, twice.
const clockSlack = 5 * time.Millisecond

var expiryClauses = []clause{{
	name: "LivesUntilItExpires", twoOpens: true, waits: true,
	rule: "a record is there until its ExpiresAt and absent from then on, before any cleanup has run: a session that " +
		"lives on is a logout that did not happen, one that ends early is a login that is lost. A store that counts " +
		"coarser than milliseconds declares CoarseExpiry, and rounds up.",
	run: livesUntilItExpires,
}, {
	name: "CreateAfterExpiry", twoOpens: true, waits: true,
	rule: "an expired record counts as nothing for Create, whether it has been cleaned up or not.",
	run:  createAfterExpiry,
}, {
	name: "ReplaceAfterExpiry", twoOpens: true, waits: true,
	rule: "Replace answers ErrNotFound once the record has expired, also with the right version: a save " +
		"must not revive an expired session.",
	run: replaceAfterExpiry,
}, {
	name: "TouchAfterExpiry", twoOpens: true, waits: true,
	rule: "Touch answers ErrNotFound once the record has expired, also with the right version: a request " +
		"that comes too late must not revive an expired session.",
	run: touchAfterExpiry,
}, {
	name: "DeleteAfterExpiry", twoOpens: true, waits: true,
	rule: "Delete of an expired record answers nil, as of any absent one.",
	run:  deleteAfterExpiry,
}, {
	name: "TombstonesExpire", twoOpens: true, waits: true,
	rule: "to a store a tombstone is a record like any other: it expires at its own time, not at the session's.",
	run:  tombstonesExpire,
}, {
	name: "TouchSetsTheExpiry", twoOpens: true, waits: true,
	rule: "Touch sets the expiry, later or earlier than before: an active session must outlive its first idle timeout.",
	run:  touchSetsTheExpiry,
}, {
	name: "ReplaceSetsTheExpiry", twoOpens: true, waits: true,
	rule: "Replace sets the expiry that the new record has, later or earlier than before.",
	run:  replaceSetsTheExpiry,
}, {
	name: "WrittenTooLate", waits: true,
	rule: "a record that is written with an ExpiresAt in the past, or a moment ahead, is accepted and " +
		"absent: no time left must not be an error, and never mean \"no expiry\", as 0 does to many servers.",
	run: writtenTooLate,
}, {
	name: "LongLives",
	rule: "a record may live for years: more seconds than 30 days (which memcached takes for a date), " +
		"dates after 2038 and 2106 (which end 32-bit clocks) and durations over 292 years (which overflow " +
		"a time.Duration) are kept.",
	run: longLives,
}}

// dead returns the moment from which on a record has to be absent, which was written with that ExpiresAt by a call that
// took so long. Each store may count the time left from the moment at which the call reached it.
func (p *probe) dead(expires time.Time, took time.Duration) time.Time {
	return expires.Add(took + p.cfg.coarse + clockSlack)
}

// fleeting stores rec with a short life and returns it, and the moment from which on it has to be absent.
func (p *probe) fleeting(s store.Store, rec store.Record) (store.Record, time.Time) {
	p.Helper()
	rec.ExpiresAt = now().Add(shortLife)
	start := time.Now()
	p.create(s, rec)
	return rec, p.dead(rec.ExpiresAt, time.Since(start))
}

// waitUntil waits for a moment without asking the store, which might clean up on the occasion.
func (p *probe) waitUntil(moment time.Time) {
	for time.Now().Before(moment) {
		timer := time.NewTimer(time.Until(moment))
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			p.Fatalf("the clause ran out of time while it waited for an expiry")
		}
	}
}

func livesUntilItExpires(p *probe, a, b store.Store) {
	// Three lives that differ by parts of a second: one that happens to end with a whole second proves nothing.
	lives := []time.Duration{shortLife, shortLife + 270*time.Millisecond, shortLife + 530*time.Millisecond}
	p.each(len(lives), func(i int) {
		rec := newRecord()
		rec.ExpiresAt = now().Add(lives[i])
		start := time.Now()
		p.create(a, rec)
		p.watch(b, rec, p.dead(rec.ExpiresAt, time.Since(start)))
	})
}

// watch loads rec again and again, until it is dead. Answers that begin before its end and arrive after it say nothing.
func (p *probe) watch(s store.Store, rec store.Record, dead time.Time) {
	p.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		begun := time.Now()
		got, err := s.Load(p.ctx, rec.Key)
		ended := time.Now()
		switch {
		case ended.Before(rec.ExpiresAt.Add(-clockSlack)):
			if err != nil {
				p.Fatalf("Load %v before the record expires: got error %q",
					rec.ExpiresAt.Sub(ended).Round(time.Millisecond), err)
			}
			if d := diff(got, rec); d != "" {
				p.Fatalf("Load before the record expires: %s", d)
			}
		case !begun.Before(dead):
			p.want(store.ErrNotFound, err, "Load "+begun.Sub(rec.ExpiresAt).Round(time.Millisecond).String()+
				" after the record expired")
			return
		case err != nil:
			p.want(store.ErrNotFound, err, "Load when the record expires")
		}
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
	}
}

func createAfterExpiry(p *probe, a, b store.Store) {
	rec, dead := p.fleeting(a, newRecord())
	tomb, deadTomb := p.fleeting(a, retired(newRecord(), store.Ended))
	p.waitUntil(dead)
	p.waitUntil(deadTomb)
	again := newRecord()
	again.Key = rec.Key
	p.want(nil, b.Create(p.ctx, again), "Create of an expired key")
	p.present(a, again, "after Create of an expired key")
	again.Key = tomb.Key
	p.want(nil, b.Create(p.ctx, again), "Create of an expired tombstone's key")
	p.present(a, again, "after Create of an expired tombstone's key")
}

func replaceAfterExpiry(p *probe, a, b store.Store) {
	rec, dead := p.fleeting(a, newRecord())
	next := changed(rec)
	next.ExpiresAt = now().Add(hour)
	p.waitUntil(dead)
	p.want(store.ErrNotFound, b.Replace(p.ctx, next, rec.Version), "Replace of an expired record")
	p.absent(a, rec.Key, "after the refused Replace")
	p.want(store.ErrNotFound, b.Replace(p.ctx, next, store.NewVersion()),
		"Replace of an expired record by a wrong version")
}

func touchAfterExpiry(p *probe, a, b store.Store) {
	rec, dead := p.fleeting(a, newRecord())
	p.waitUntil(dead)
	p.want(store.ErrNotFound, b.Touch(p.ctx, rec.Key, rec.Version, now(), now().Add(hour)),
		"Touch of an expired record")
	p.absent(a, rec.Key, "after the refused Touch")
	p.want(store.ErrNotFound, b.Touch(p.ctx, rec.Key, store.NewVersion(), now(), now().Add(hour)),
		"Touch of an expired record by a wrong version")
}

func deleteAfterExpiry(p *probe, a, b store.Store) {
	rec, dead := p.fleeting(a, newRecord())
	p.waitUntil(dead)
	p.want(nil, b.Delete(p.ctx, rec.Key), "Delete of an expired record")
	p.absent(a, rec.Key, "after Delete of an expired record")
}

func tombstonesExpire(p *probe, a, b store.Store) {
	rec := newRecord()
	p.create(a, rec)
	tomb := retired(rec, store.Renewed)
	tomb.ExpiresAt = now().Add(shortLife)
	start := time.Now()
	p.replace(b, tomb, rec.Version)
	p.watch(a, tomb, p.dead(tomb.ExpiresAt, time.Since(start)))
	p.want(store.ErrNotFound, a.Replace(p.ctx, changed(rec), tomb.Version), "Replace of an expired tombstone")
}

func touchSetsTheExpiry(p *probe, a, b store.Store) { p.movesExpiry(a, p.touching(b)) }

func replaceSetsTheExpiry(p *probe, a, b store.Store) { p.movesExpiry(a, p.replacing(b)) }

// A move writes rec with another ExpiresAt and returns what is there then.
type move func(rec store.Record, expires time.Time) (store.Record, error)

func (p *probe) touching(s store.Store) move {
	return func(rec store.Record, expires time.Time) (store.Record, error) {
		err := s.Touch(p.ctx, rec.Key, rec.Version, rec.LastSeenAt.Add(time.Second), expires)
		rec.LastSeenAt, rec.ExpiresAt = rec.LastSeenAt.Add(time.Second), expires
		return rec, err
	}
}

func (p *probe) replacing(s store.Store) move {
	return func(rec store.Record, expires time.Time) (store.Record, error) {
		next := changed(rec)
		next.ExpiresAt = expires
		return next, s.Replace(p.ctx, next, rec.Version)
	}
}

// rescued stores rec with a short life and has mv give it a long one before that ends; it returns the record, and the
// moment from which on it would have to be absent without mv. Where the machine is too slow it begins again, with
// another key and more time.
func (p *probe) rescued(s store.Store, rec store.Record, mv move) (store.Record, time.Time) {
	p.Helper()
	for life := shortLife; ; life *= 2 {
		rec.Key, rec.ExpiresAt = newKey(), now().Add(life)
		start := time.Now()
		p.create(s, rec)
		dead := p.dead(rec.ExpiresAt, time.Since(start))
		next, err := mv(rec, now().Add(hour))
		if errors.Is(err, store.ErrNotFound) && time.Now().After(rec.ExpiresAt.Add(-clockSlack)) {
			continue
		}
		p.ok(err, "a longer life for a record")
		return next, dead
	}
}

// movesExpiry checks that mv makes a record live longer and shorter.
func (p *probe) movesExpiry(s store.Store, mv move) {
	p.Helper()
	longer, dead := p.rescued(s, newRecord(), mv)
	long := newRecord()
	p.create(s, long)
	start := time.Now()
	shorter, err := mv(long, now().Add(shortLife))
	p.ok(err, "a shorter life for a record")
	p.watch(s, shorter, p.dead(shorter.ExpiresAt, time.Since(start)))
	p.waitUntil(dead)
	p.present(s, longer, "after the expiry that was moved to later")
}

func writtenTooLate(p *probe, a, _ store.Store) {
	var gone []func() // what is checked when the last record has expired
	var last time.Time
	for _, left := range []time.Duration{-hour, -time.Millisecond, 0, time.Millisecond, -200 * 365 * 24 * hour} {
		what := " with " + left.String() + " left"
		rec := newRecord()
		rec.ExpiresAt = now().Add(left)
		p.deletes(a, rec.Key)
		start := time.Now()
		p.want(nil, a.Create(p.ctx, rec), "Create"+what)
		replaced, touched := newRecord(), newRecord()
		p.create(a, replaced)
		p.create(a, touched)
		next := changed(replaced)
		next.ExpiresAt = now().Add(left)
		p.want(nil, a.Replace(p.ctx, next, replaced.Version), "Replace"+what)
		expires := now().Add(left)
		p.want(nil, a.Touch(p.ctx, touched.Key, touched.Version, now(), expires), "Touch"+what)
		if dead := p.dead(time.Now().Add(max(left, 0)), time.Since(start)); dead.After(last) {
			last = dead
		}
		gone = append(gone, func() {
			p.absent(a, rec.Key, "after Create"+what)
			p.absent(a, replaced.Key, "after Replace"+what)
			p.absent(a, touched.Key, "after Touch"+what)
		})
	}
	p.waitUntil(last)
	for _, check := range gone {
		check()
	}
}

func longLives(p *probe, a, _ store.Store) {
	start := now()
	for _, expires := range []time.Time{
		start.Add(31 * 24 * hour), start.AddDate(1, 1, 0), start.AddDate(20, 0, 0), start.AddDate(85, 0, 0),
		start.AddDate(300, 0, 0),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		rec := newRecord()
		rec.ExpiresAt = expires
		p.create(a, rec)
		p.present(a, rec, "after Create with a long life")
		next := changed(rec)
		next.ExpiresAt = expires
		p.replace(a, next, rec.Version)
		p.present(a, next, "after Replace with a long life")
		p.present(a, p.touch(a, next, now(), expires), "after Touch with a long life")
	}
}
