package interleave

import (
	"math/bits"
	"net/http"

	"github.com/hipflask/session/store"
)

// documented begins findings that no server can avoid; docs/protocol.md names them.
const documented = "(doc) "

// except is for what e allows, in scenarios that may show it.
func (w *world) except(e exception, text string) {
	if (w.scenario.may|untold)&e != 0 {
		text = documented + text
	}
	w.broken(text)
}

func (w *world) broken(text string) { w.found = append(w.found, text) }

// checkAlways holds the rules that hold at every moment.
func (w *world) checkAlways() {
	for k := range int8(maxKeys) {
		given := w.given>>k&1 == 1
		if given && w.ended>>w.session[k]&1 == 1 {
			if e, ok := w.serves(k); ok && (w.entries[e].record.Principal != "" || w.entries[e].value.old) {
				w.broken("P2: ended session is still served")
			}
		}
		if w.live(k) {
			w.checkRecord(k, given)
		}
	}
	w.checkEnds()
	w.checkRetired()
	won := 0
	for _, q := range w.q {
		if q.took {
			won++
		}
	}
	if won > 1 {
		w.broken("P1: Take won twice")
	}
	for _, q := range w.q {
		if q.out > running && q.out != dead && !q.checked {
			q.checked = true
			w.checkAnswer(q)
		}
	}
}

// checkRetired: when an Elevate or RevokeOthers has been answered, no ID that the session had before works.
func (w *world) checkRetired() {
	for _, q := range w.q {
		if !q.hard() || q.out != saved || q.setCookie < 0 {
			continue
		}
		for k := range int8(maxKeys) {
			if k == q.setCookie || w.given>>k&1 == 0 || !w.leads(k, q.setCookie) {
				continue
			}
			if _, ok := w.serves(k); ok {
				w.broken("P2: an ID from before " + q.name + " still works")
			}
		}
	}
}

func (w *world) checkRecord(k int8, given bool) {
	v := &w.entries[k].value
	principal := w.principal[k]
	for i, q := range w.q {
		isSet, n := v.set>>i&1 == 1, v.count[i]
		if n > 1 {
			w.broken("P1: Update applied twice")
		}
		e, cut := w.lineage(max(q.cookie, 0))
		if cut && given && q.acting != 0 && q.acting == w.principal[e] && q.life == keep && isSet &&
			k != e && w.session[k] != w.session[e] {
			w.broken("PRINCIPAL: write followed into a later login")
		}
		if principal != 0 && (isSet || n > 0) && q.acting != 0 && q.acting != principal && q.life != login {
			w.broken("PRINCIPAL: write crossed principals")
		}
	}
	for i, q := range w.q {
		for j := range int8(maxKeys) {
			if w.byClear>>j&1 == 1 && w.leads(j, k) && q.life == keep && q.acting == 0 &&
				(v.set>>i&1 == 1 || v.count[i] > 0) {
				w.broken("CLEAR: what an anonymous request wrote followed a login with Clear")
			}
		}
		if v.attributes>>i&1 == 1 && q.life != login && q.loaded >= 0 && w.session[k] != w.session[q.loaded] {
			w.broken("PRINCIPAL: an attribute followed into a login")
		}
	}
	if v.old && w.scenario.principal != 0 && principal != w.scenario.principal && given {
		w.broken("PRINCIPAL: data crossed principals")
	}
	if v.old && given && k != 0 && w.ended&1 == 1 && w.moved[0] < 0 {
		w.broken("P2: data of an ended session revived")
	}
}

// checkEnds: Logout and RevokeAll end sessions of their own principal only, and an anonymous Logout its own session.
func (w *world) checkEnds() {
	for k := range int8(maxKeys) {
		if w.movedBy[k] < 0 || !w.entries[k].there || w.entries[k].record.Kind != store.Ended {
			continue
		}
		q := w.q[w.movedBy[k]]
		own := false
		switch {
		case q.life == revokeOthers:
			own = w.principal[k] == q.acting && w.session[k] != w.session[q.loaded]
		case w.limits(q):
			own = w.principal[k] == q.spec.principal
		case q.life == revokeAll:
			own = w.principal[k] == q.spec.principal
		case q.ends() && q.acting == 0:
			own = w.session[k] == w.session[max(q.loaded, 0)]
		case q.ends():
			own = w.principal[k] == q.acting
		}
		if !own {
			w.broken("PRINCIPAL: another one's session was ended")
		}
	}
}

// checkAnswer holds the rules about one answer.
func (w *world) checkAnswer(q *request) {
	if q.out == broken {
		w.broken("ANSWER: neither 2xx nor 503, or a panic")
	}
	if q.life == revokeAll || q.out == broken {
		return
	}
	w.checkAvailable(q)
	h := q.recorder.Header()
	// It has its new ID: an earlier Save was answered, or others may live.
	moved := q.setCookie >= 0 && (q.updateSaved || q.setSaved) ||
		(q.life == revokeOthers || w.limits(q) && q.setCookie >= 0) && q.out == uncertain
	if q.recorder.Code == http.StatusServiceUnavailable &&
		(q.setCookie != cookieAsItWas && !moved || h.Get("Retry-After") == "") {
		w.broken("P4: 503 with a cookie, or without Retry-After")
	}
	if q.setCookie >= 0 && q.setCookie == q.cookie {
		w.broken("P3: an ID that the browser has was sent again")
	}
	if q.tooLate && (q.before.principal != 0 || q.before.old) {
		w.broken("P2: ended session still serves a request")
	}
	if q.recorder.Code != http.StatusOK {
		return
	}
	if q.took && w.principal[q.tookAt] != q.acting {
		w.broken("PRINCIPAL: Take got a value of a later login's session")
	}
	if p := w.scenario.principal; p != 0 && q.before.old && q.before.principal != p {
		w.broken("PRINCIPAL: a handler sees another principal's data")
	}
	if q.hard() && q.out == saved && q.before.principal != 0 && q.setCookie < 0 {
		w.broken("ELEVATION: 2xx, but the ID stays")
	}
	if q.shown.elevated && !q.before.elevated && q.life != elevate {
		w.broken("ELEVATION: a request sees an elevation that it has not loaded")
	}
	if q.life == login {
		return
	}
	for j, o := range w.q {
		isNew := q.shown.set>>j&1 == 1 && q.before.set>>j&1 == 0 || q.shown.count[j] > q.before.count[j]
		if q.acting == 0 && j != q.i && isNew && (o.life == login || o.acting != 0) {
			w.broken("PRINCIPAL: an anonymous handler sees what was written after a login")
		}
	}
}

// checkAvailable: an answer is 503 only if it has to be. Nothing that other requests do makes one, but for a RevokeAll
// that finds the new record before it counts; and an answer of the store that was lost is found again.
func (w *world) checkAvailable(q *request) {
	if q.out != unchanged && q.out != uncertain || w.epoch > 0 {
		return
	}
	revoked := false
	for _, p := range w.q {
		revoked = revoked || (p.revokes() || p != q && w.limits(p)) && (q.life == login || q.moves())
	}
	if q.hurt == 0 && !revoked && !w.shared(q) {
		w.broken("AVAILABLE: 503 though no store call of the request failed")
	}
	alone := w.pending == nil
	for _, p := range w.q {
		alone = alone && (p == q || !p.wrote)
	}
	if alone && q.hurt == 1 && q.lost {
		w.broken("AVAILABLE: 503 though the store had what was to be saved, and nobody else wrote")
	}
}

// shared reports whether a store call failed of another request to the same process, whose save may have done that of q
// as well.
func (w *world) shared(q *request) bool {
	for _, p := range w.q {
		if p != q && p.i%len(w.managers) == q.i%len(w.managers) && p.hurt > 0 && q.shareable() && p.shareable() {
			return true
		}
	}
	return false
}

// checkEnd holds the rules about what is left when all requests have been answered.
func (w *world) checkEnd() {
	quiet, enders, revoker, won := true, false, false, false
	for _, q := range w.q {
		quiet = quiet && q.out != dead && q.out != uncertain
		enders = enders || q.ends() || q.revokes() || w.limits(q)
		revoker = revoker || q.revokes()
		won = won || q.took
	}
	for i, q := range w.q {
		switch q.out {
		case saved:
			w.checkSaved(i, q)
		case dropped, late:
			w.checkDropped(q, revoker)
			w.checkSaved(i, q)
		case unchanged:
			w.checkUnchanged(i, q, quiet, won)
			w.checkSaved(i, q)
		case uncertain:
			w.checkSaved(i, q)
		}
	}
	if w.q[0].take && quiet && !won {
		for k := range int8(maxKeys) {
			if w.live(k) && w.entries[k].value.old && !w.entries[k].value.token && w.reachable(k) {
				w.broken("P1: Take: value gone, nobody got it, nobody was told")
			}
		}
	}
	if !w.scenario.noStart && !enders {
		w.checkStart(quiet)
	}
	w.checkLogins()
	if w.scenario.most > 0 && quiet {
		w.checkLimit()
	}
}

// limits reports whether q ends sessions because there are too many.
func (w *world) limits(q *request) bool { return w.scenario.most > 0 && q.life == login }

// checkLimit: when all logins have been answered, exactly as many sessions as there may be are left.
func (w *world) checkLimit() {
	var all, live uint16
	for k := range int8(maxKeys) {
		if w.principal[k] != 1 || w.given>>k&1 == 0 || w.moved[k] >= 0 && w.byLogin>>k&1 == 1 {
			continue
		}
		all |= 1 << w.session[k]
		if w.live(k) {
			live |= 1 << w.session[k]
		}
	}
	others := false
	for _, q := range w.q {
		// A login that failed may leave a record that nobody can use, and that ends another one's.
		others = others || q.revokes() || q.ends() || q.hurt > 0
	}
	switch n, want := bits.OnesCount16(live), min(bits.OnesCount16(all), w.scenario.most); {
	case n > want:
		w.broken("LIMIT: more sessions are left than there may be")
	case n < want && !others:
		w.broken("LIMIT: fewer sessions are left than there may be")
	}
}

// reachable reports whether some browser can reach record k.
func (w *world) reachable(k int8) bool {
	if w.given>>k&1 == 1 {
		return true
	}
	for j := range w.moved {
		if w.moved[j] == k {
			return true
		}
	}
	return false
}

func (w *world) checkSaved(i int, q *request) {
	if q.flag && q.out == saved && !q.before.flag && q.target >= 0 { // who removed it did so before q was sent
		if e, _ := w.lineage(q.target); w.live(e) && !w.entries[e].value.flag {
			w.broken("P1: acknowledged set lost, of a value that an older record has")
		}
	}
	hasSet, hasUpdate, hasAttribute := q.set, q.update, q.attribute
	if q.out != saved {
		hasSet, hasUpdate, hasAttribute = q.setSaved, q.updateSaved, false // it was answered, though the rest failed
	}
	cleared := q.target >= 0 && w.passes(q.target, w.byClear)
	if !hasSet && !hasUpdate && !hasAttribute || q.target < 0 || cleared {
		return
	}
	e, _ := w.lineage(q.target)
	v := &w.entries[e].value
	switch {
	case w.live(e) && hasSet && v.set>>i&1 == 0:
		w.broken("P1: acknowledged set lost")
	case w.live(e) && hasAttribute && v.attributes>>i&1 == 0 && w.session[e] == w.attributed(q):
		w.broken("P1: acknowledged attribute lost")
	case w.live(e) && hasUpdate && v.count[i] == 0:
		w.broken("P1: acknowledged Update lost")
	case !w.entries[e].there && w.endedIn>>w.session[e]&1 == 0 && w.moved[e] < 0:
		w.broken("P1: session with acknowledged writes vanished")
	}
}

// attributed returns the session that q's attribute belongs to.
func (w *world) attributed(q *request) int8 {
	if q.life != login && q.loaded >= 0 {
		return w.session[q.loaded]
	}
	return w.session[q.target]
}

func (w *world) checkDropped(q *request, revoker bool) {
	switch {
	case q.life == login && w.limits(q):
		w.except(overtaken, "LOGIN: ended itself, since others overtook it again and again")
	case q.life == login && !revoker:
		w.broken("LOGIN: 2xx without effect")
	}
	if q.out == dropped && !q.take && q.life != logout && q.life != login && !q.hard() && q.loaded >= 0 {
		e, cut := w.lineage(q.loaded)
		spent := (q.save || q.tail) && w.passes(q.loaded, w.byLogin) // the first of two saves met a retired ID
		cleared := q.acting == 0 && w.passes(q.loaded, w.byClear)
		if w.live(e) && !cut && !spent && !cleared {
			w.broken("P1: write dropped with 2xx though the session lives")
		}
	}
}

func (w *world) checkUnchanged(i int, q *request, quiet, won bool) {
	for k := range int8(maxKeys) {
		e := &w.entries[k]
		tookIt := q.take && !e.value.token && e.value.old && !won && quiet
		if w.live(k) && w.reachable(k) && (e.value.set>>i&1 == 1 && !q.setSaved ||
			e.value.count[i] > 0 && !q.updateSaved || tookIt) {
			w.broken("P4: 503 'unchanged', but applied")
		}
		if w.movedBy[k] == int8(i) && !q.revokes() && !q.setSaved && !q.updateSaved {
			w.broken("P4: 503 'unchanged', but the session was moved or ended")
		}
	}
}

// checkStart: the session of the start is still there.
func (w *world) checkStart(quiet bool) {
	e, cut := w.lineage(0)
	switch {
	case cut:
	case !w.live(e):
		w.broken("P4: session destroyed, nobody ended it")
	case e != 0 && w.given>>e&1 == 0 && quiet:
		w.broken("P3: session moved to an ID that nobody was given")
	case e != 0 && w.given>>e&1 == 0:
		w.except(untold, "P3: after a 503 'uncertain' or a crash: session moved to an ID that nobody was given")
	}
}

// checkLogins: a Login or Renew that the browser was told of is not lost by a later arrival. Of the answers that are
// still on their way each may be the last.
func (w *world) checkLogins() {
	left := false
	for i, q := range w.q {
		if q.out > running && q.out != dead && !q.arrived && q.setCookie != cookieAsItWas {
			left = true
			w.checkJar(q.setCookie, i)
		}
	}
	if !left {
		w.checkJar(w.jar, int(w.jarBy))
	}
}

func (w *world) checkJar(jar int8, by int) {
	changers := 0
	for _, q := range w.q {
		if q.life != keep && q.life != revokeAll && !q.elsewhere {
			changers++
		}
	}
	for i, q := range w.q {
		if q.elsewhere || q.out != saved || q.setCookie < 0 || q.life != login && !q.moves() {
			continue
		}
		e, _ := w.lineage(q.setCookie)
		if !w.live(e) || w.given>>e&1 == 0 || w.keeps(jar, e, q) || by == i && jar == q.setCookie && w.moved[jar] < 0 {
			continue
		}
		last := w.q[max(by, 0)]
		why := "a tombstoned ID by " + last.name
		if jar < 0 {
			why = "deletion by " + last.name
		} else if w.live(jar) {
			why = "another session by " + last.name
		}
		switch {
		case by >= 0 && changers > 1 && (last.life != keep && last.life != revokeAll || last.void):
			w.except(parallel, "P3: two ID changes in parallel, the last to arrive wins: "+why)
		case last.bare || last.cookie < 0 || q.void && last.void:
			w.except(separate, "P3: a parallel request sent without a live cookie wins: "+why)
		default:
			w.broken("P3: login lost: " + why)
		}
	}
}

// keeps reports whether the browser with this cookie has what q gave it, now in record e.
func (w *world) keeps(jar, e int8, q *request) bool {
	if jar < 0 || !w.live(jar) {
		return false
	}
	r := &w.entries[jar].record
	return r.Kind == store.Live && (r.Principal == w.entries[e].record.Principal || q.moves() && r.Principal != "")
}
