package interleave

import "github.com/hipflask/session/store"

// ghosts are what the rules need to know of a run's past. A session is more than a record here: Renew carries it on.
type ghosts struct {
	given     uint16 // keys whose cookie was in a response
	ended     uint16 // sessions whose end was answered
	endedIn   uint16 // sessions that were ended in the store
	moved     [maxKeys]int8
	movedBy   [maxKeys]int8 // the request whose tombstone or marker replaced the record
	byLogin   uint16        // keys whose tombstone is of a move that retired the ID
	byClear   uint16        // and of a login that came with a Clear
	principal [maxKeys]uint8
	session   [maxKeys]int8
}

func (g *ghosts) reset() {
	*g = ghosts{}
	for k := range int8(maxKeys) {
		g.moved[k], g.movedBy[k], g.session[k] = -1, -1, k
	}
}

func (w *world) wasCreated(q *request, k int8) {
	w.principal[k] = principalIndex(w.entries[k].record.Principal)
	if q != nil && q.moves() && q.loaded >= 0 {
		w.session[k] = w.session[q.loaded]
	}
}

func (w *world) wasReplaced(q *request, k int8) {
	r := &w.entries[k].record
	if r.Kind == store.Live {
		return
	}
	w.movedBy[k] = int8(q.i)
	if r.Kind == store.Ended {
		w.endedIn |= 1 << w.session[k]
		return
	}
	w.moved[k] = w.place(r.MovedTo)
	if r.Kind == store.Replaced {
		w.byLogin |= 1 << k
		if len(r.Public) > 0 {
			w.byClear |= 1 << k
		}
	}
}

// passes reports whether the way on from record k goes over one of the given tombstones.
func (w *world) passes(k int8, tombstones uint16) bool {
	for range maxKeys {
		if k < 0 {
			return false
		}
		if tombstones>>k&1 == 1 {
			return true
		}
		k = w.moved[k]
	}
	return false
}

// leads reports whether the way on from record k, which is not end, comes to end.
func (w *world) leads(k, end int8) bool {
	for range maxKeys {
		if k = w.moved[k]; k < 0 || k == end {
			return k == end
		}
	}
	return false
}

func (w *world) place(name string) int8 {
	if k, ok := w.places[name]; ok {
		return k
	}
	return -1
}

// wasDeleted: a deletion by Logout or RevokeAll would be an end. Login and Renew delete what nobody was given.
func (w *world) wasDeleted(q *request, k int8) {
	if w.live(k) && (q.ends() || q.revokes()) && int(k-1)/keysEach != q.i {
		w.endedIn |= 1 << w.session[k]
		w.movedBy[k] = int8(q.i)
	}
}

// listingBegan: RevokeAll and RevokeOthers have to end the sessions that are there when they begin.
func (w *world) listingBegan(q *request, principal string) {
	for k := range int8(maxKeys) {
		own := q.life == revokeOthers && w.session[k] == w.session[q.loaded]
		if w.live(k) && w.entries[k].record.Principal == principal && w.given>>k&1 == 1 && !own {
			q.sessions |= 1 << w.session[k]
		}
	}
}

// wasLoaded takes note of what a request's load found, until its handler runs.
func (w *world) wasLoaded(q *request, c *call, a answer) {
	if q.entered || q.life == revokeAll {
		return
	}
	if q.cookie >= 0 && w.ended>>w.session[q.cookie]&1 == 1 {
		q.tooLate = true
	}
	switch {
	case a.err == store.ErrNotFound:
		q.void = true
	case a.err != nil:
	case a.record.Kind == store.Live:
		q.loaded, q.acting = c.key, principalIndex(a.record.Principal)
		q.target = c.key
		if q.ends() {
			q.sessions |= 1 << w.session[c.key]
		}
	case a.record.Kind != store.Renewed:
		q.late = true
	}
}

func (w *world) wasAnswered(q *request) {
	if q.setCookie >= 0 {
		w.given |= 1 << q.setCookie
		q.target = q.setCookie
	}
	if q.out == saved && (q.ends() || q.revokes()) {
		w.ended |= q.sessions
	}
}

// serves returns the record that answers a request with the ID of key k.
func (w *world) serves(k int8) (int8, bool) {
	for range maxKeys {
		e := &w.entries[k]
		switch {
		case !e.there:
			return k, false
		case e.record.Kind == store.Live:
			return k, true
		case e.record.Kind != store.Renewed:
			return k, false
		}
		if k = w.place(e.record.MovedTo); k < 0 {
			return 0, false
		}
	}
	return k, false
}

// lineage follows tombstones, also expired ones, as far as one session's data may go: any Renew, a Login from
// anonymous, one as the same principal. cut: a Login as somebody else ended it.
func (w *world) lineage(k int8) (end int8, cut bool) {
	for range maxKeys {
		n := w.moved[k]
		if n < 0 {
			return k, false
		}
		if w.byLogin>>k&1 == 1 && w.principal[k] != 0 && w.principal[n] != w.principal[k] {
			return k, true
		}
		k = n
	}
	return k, false
}
