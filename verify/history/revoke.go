package history

import (
	"context"
	"errors"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/storetest"
)

// administer does an administrator's step.
func (r *run) administer(ctx context.Context, req *Request) {
	v := &visit{run: r, req: req, cookie: -1, given: -1, got: -1}
	v.expected = expected{id: -1, token: -1, handle: -1}
	ctx = storetest.WithSource(context.WithValue(ctx, visitKey{}, v), uint64(req.ID))
	ctx, cancel := context.WithTimeout(ctx, 4*r.StoreTimeout)
	defer cancel()
	a := req.Actions[0]
	m := r.managers[req.Manager]
	if a.Verb == RevokeAll {
		o := v.op(opEnd)
		o.who = a.Who
		n, err := m.RevokeAll(ctx, a.Who)
		v.returned(o)
		v.log("RevokeAll %s: %d, %v", a.Who, n, err)
		r.revoked(o, err)
		return
	}
	handle, text := r.nthHandle(a.Who, a.Nth)
	if handle < 0 {
		return
	}
	o := v.op(opRevoke)
	o.who, o.handle = a.Who, handle
	err := m.Revoke(ctx, a.Who, text)
	v.returned(o)
	v.log("Revoke H%d of %s: %v", handle, a.Who, err)
	switch {
	case errors.Is(err, session.ErrEnded):
		o.outcome = dropped
	case err != nil:
		o.outcome, o.ret = uncertain, forever
	}
	r.add(o)
}

// nthHandle returns one of the handles that a principal's sessions have had so far; -1: none.
func (r *run) nthHandle(who string, n int) (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var of []int
	for _, o := range r.ops {
		if o.login == who && o.outcome == saved {
			of = append(of, o.handle)
		}
	}
	if len(of) == 0 {
		return -1, ""
	}
	return of[n%len(of)], r.handles[of[n%len(of)]]
}

// revokeOthers saves first, so that what goes wrong is the revocation.
func (v *visit) revokeOthers() {
	v.save()
	if v.stale && v.sealed && v.s.Err() == nil {
		v.reload() // RevokeOthers would do it
	}
	if v.s.Err() != nil || v.state == failed || v.stale && v.sealed {
		return
	}
	if v.state == spent {
		if n, err := v.s.RevokeOthers(v.ctx); n != 0 || !errors.Is(err, session.ErrEnded) {
			v.find("RevokeOthers under a retired ID: got %d, %v", n, err)
		}
		return
	}
	hard, o := v.op(opHard), v.op(opEnd)
	o.who = v.s.Principal()
	moves := o.who != "" && v.state == there && !v.sealed
	ctx, cancel := context.WithTimeout(v.ctx, 4*v.run.StoreTimeout)
	defer cancel()
	n, err := v.s.RevokeOthers(ctx)
	v.returned(hard)
	v.returned(o)
	hard.next = v.run.token(v.s.Token())
	v.log("RevokeOthers of %q: %d, %v, token K%d", o.who, n, err, hard.next)
	if moves && !v.hardened(hard, err) {
		return
	}
	if o.who != "" {
		v.run.revoked(o, err)
	} else if n != 0 || err != nil {
		v.find("got %d, %v by RevokeOthers without a principal", n, err)
	}
}

// hardened notes the new ID of a RevokeOthers. It reports whether the others were to be ended as well.
func (v *visit) hardened(o *op, err error) bool {
	switch {
	case v.s.Err() == nil:
		if o.next == v.token {
			v.find("RevokeOthers kept the ID and returned %v", err)
		}
		v.id, v.token, v.given, v.forgotten = o.next, o.next, o.next, false
		v.view, v.stale = v.snapshot(), false
		o.view = v.seen()
	case errors.Is(err, session.ErrEnded):
		o.outcome, o.next = dropped, -1
		v.end()
	case errors.Is(err, session.ErrUncertain):
		v.mu.Lock()
		o.outcome, o.next, o.ret = uncertain, v.run.place(v.created), forever
		v.mu.Unlock()
		v.excused(err)
		v.hopeless = true
	case errors.Is(err, session.ErrUnavailable):
		v.excused(err)
		v.life = RevokeOthers // the next save does it
		return false
	default:
		v.find("RevokeOthers failed with %v", err)
		return false
	}
	v.log("%v", o)
	v.run.add(o)
	return o.outcome == saved
}

// revoked notes a RevokeAll or RevokeOthers.
func (r *run) revoked(o *op, err error) {
	if err != nil {
		o.outcome = uncertain
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revocations = append(r.revocations, o)
}

// perID returns what a revocation was for each ID: those that were the principal's when it began have ended, those that
// came meanwhile may have. After an error each of them may have, or may yet.
func perID(o *op, ops []*op) []*op {
	left := map[int]bool{} // IDs that somebody had moved away before
	for _, m := range ops {
		if m.outcome == saved && m.ret < o.call && m.next >= 0 && m.id >= 0 {
			left[m.id] = true
		}
	}
	var ends []*op
	for _, m := range ops {
		who := m.login
		if m.verb == opRenew || m.verb == opHard {
			who = m.who
		}
		if m.next < 0 || m.outcome == dropped || who != o.who || m.call > o.ret || left[m.next] {
			continue
		}
		e := *o
		e.id = m.next
		if e.optional = m.ret > o.call; e.optional {
			// It may have ended the record of a login that puts it in force only later.
			e.ret = max(e.ret, m.ret)
		}
		if o.outcome == uncertain {
			e.ret, e.optional = forever, false
		}
		ends = append(ends, &e)
	}
	return ends
}
