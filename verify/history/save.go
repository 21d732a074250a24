package history

import (
	"errors"
	"slices"

	"github.com/hipflask/session"
)

// attempt is a save that has begun.
type attempt struct {
	op     *op
	chosen int // the new ID, if one is needed; -1
	handle int // of the session under it
	had    error
	events int // before
}

func (v *visit) unsaved() bool { return len(v.pending) > 0 || v.ending != nil || v.life != Set }

// save calls Session.Save.
func (v *visit) save() {
	a := v.prepare()
	v.conclude("Save", a, v.s.Save(v.ctx))
}

// prepare is called before a save.
func (v *visit) prepare() *attempt {
	a := &attempt{chosen: -1, had: v.s.Err()}
	if n := v.run.token(v.s.Token()); n != v.token && v.state != gone && v.state != spent {
		a.chosen, a.handle = n, v.run.handle(v.s.Info().Handle)
	}
	v.countWrites()
	v.mu.Lock()
	a.events = len(v.events)
	v.mu.Unlock()
	a.op = v.op(opWrite)
	return a
}

// conclude takes the answer of a save.
func (v *visit) conclude(what string, a *attempt, err error) {
	v.returned(a.op)
	v.log("%s: %v, token K%d", what, err, v.run.token(v.s.Token()))
	if err != nil && !v.hopeless && err == a.had && err != session.ErrEnded && !v.happened(a, session.EventUncertain) &&
		!v.happened(a, session.EventUnavailable) && !v.happened(a, session.EventContention) {
		err = nil // what failed before, and not now
	}
	if v.hopeless {
		if !errors.Is(err, session.ErrUncertain) {
			v.find("%s gave %v after an uncertain save", what, err)
		}
		return
	}
	out, known := saved, true
	switch {
	case err == nil:
	case errors.Is(err, session.ErrUncertain):
		out = uncertain
		v.excused(err)
	case errors.Is(err, session.ErrUnavailable):
		known = false
		v.excused(err)
	case errors.Is(err, session.ErrEnded) && errors.Is(a.had, session.ErrEnded):
		if v.state == gone || v.state == spent {
			return
		}
	case errors.Is(err, session.ErrEnded):
		out = dropped
	default:
		v.find("%s failed with %v", what, err)
		return
	}
	v.concludeEnd(a, out, known)
	if !known {
		return
	}
	v.concludeChanges(a, out)
	v.hopeless = out == uncertain && v.ending == nil
}

// happened reports whether there was such an event since the save began.
func (v *visit) happened(a *attempt, kind session.EventKind) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.events[a.events:], func(e session.Event) bool {
		return e.Kind == kind && e.Key == "" // with one, an attribute alone was dropped
	})
}

func (v *visit) concludeEnd(a *attempt, out outcome, known bool) {
	if v.ending == nil {
		return
	}
	done := v.happened(a, session.EventLogout)
	o := *a.op
	o.verb, o.id, o.who, o.handle = opEnd, v.ending.id, v.ending.who, -1
	switch {
	case done:
		v.ending = nil
		if !v.sealed {
			v.forgotten, v.given = true, -1
		}
	case out == uncertain:
		o.outcome, o.ret = uncertain, forever
	case known:
		v.find("a Logout was answered and is no event")
		return
	default:
		return
	}
	v.log("%v", &o)
	v.run.add(&o)
}

func (v *visit) concludeChanges(a *attempt, out outcome) {
	o := a.op
	o.outcome, o.changes = out, v.pending
	created := out == saved && a.chosen >= 0 && v.run.token(v.s.Token()) == a.chosen
	wanted := v.life != Set || len(v.pending) > 0
	if v.state == none && v.life == Set && v.view.empty() {
		wanted = false // an empty session is not stored
	}
	switch {
	case v.state == gone || v.state == spent:
		return
	case !wanted && out != dropped:
		v.stale = v.stale && v.fromCache()
		return
	case v.life == Login && v.state == there:
		o.verb, o.next, o.login, o.handle, o.scratch = opLogin, a.chosen, v.loginAs, a.handle, v.scratch
	case v.state == none:
		o.verb, o.next, o.login, o.handle = opCreate, a.chosen, v.loginAs, a.handle
		if out == uncertain {
			return // nobody has the ID; what is uncertain is the Logout before
		}
	case v.life == Renew:
		o.verb = opRenew
		if created || out == uncertain {
			o.next = a.chosen
		}
	case v.life == RevokeOthers:
		o.verb = opHard
		if created || out == uncertain {
			o.next = a.chosen
		}
	default:
		if v.sent() == 0 { // nothing to change, or the save of another request has done it as well
			o.shared = true
			o.optional = v.base == nil || apply(v.pending, *v.base) == *v.base
		}
	}
	if out == saved && (o.verb == opLogin || o.verb == opCreate) && !created {
		v.find("%v was answered without a session", o)
		return
	}
	if out == dropped && (o.verb == opLogin || o.verb == opCreate) {
		v.find("%v was dropped", o)
		return
	}
	switch out {
	case saved:
		v.stored(a, created)
	case dropped:
		v.end()
	case uncertain:
		o.ret = forever
	}
	v.repeats(o)
	v.log("%v", o)
	v.run.add(o)
}

// stored is what the request sees after a save.
func (v *visit) stored(a *attempt, created bool) {
	o := a.op
	if created {
		v.state, v.id, v.token, v.handle, v.who = there, a.chosen, a.chosen, a.handle, v.s.Principal()
		v.given, v.forgotten = a.chosen, false
	}
	v.pending, v.life, v.loginAs, v.scratch = nil, Set, "", false
	v.mu.Lock()
	crossed := v.crossed && !created
	v.mu.Unlock()
	if crossed {
		v.state = spent // it shows what it showed before
		if now := v.snapshot(); now != v.view && o.verb != opRenew {
			v.find("got %v after a save under a retired ID, want %v", now, v.view)
		}
		v.view = v.snapshot()
		return
	}
	v.view, v.stale = v.snapshot(), false
	if !o.optional {
		o.view = v.seen()
	}
}

// countWrites begins to count what is sent to the store; sent returns the number.
func (v *visit) countWrites() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loads, v.writes, v.unsure, v.before = 0, 0, 0, v.run.unsure[v.req.Manager].Load()
	v.met, v.crossed = false, false
}

// reloaded reports whether the session was loaded since countWrites.
func (v *visit) reloaded() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.loads > 0
}

func (v *visit) sent() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.writes
}

// repeats allows a write whose answer was lost to be applied a second time: where that does no harm but to others who
// wrote the same key in between, a save sends it again.
func (v *visit) repeats(o *op) {
	v.mu.Lock()
	unsure := v.unsure
	if v.writes == 0 {
		unsure = int(v.run.unsure[v.req.Manager].Load() - v.before)
	}
	v.mu.Unlock()
	if o.verb != opWrite || !repeatable(o.changes) {
		return
	}
	for range unsure {
		again := *o
		again.verb, again.view, again.outcome = opRepeats, nil, uncertain
		v.run.add(&again)
	}
}
