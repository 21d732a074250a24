package interleave

import (
	"time"

	"github.com/hipflask/session/store"
)

// verb is what can happen next.
type verb uint8

const (
	doSend   verb = iota // a request is sent, with the cookie that the browser has now
	doArrive             // a response with a cookie arrives
	doStay               // nothing more travels until the next answer
	doCall               // a store call is applied and answered
	doFail               // it fails, and is not applied
	doLose               // it is applied, and the caller gets an error
	doDelay              // the caller gets an error, and the write may still be applied
	doRepeat             // it is applied, and will be sent once more before the caller gets the second answer
	doLand               // a delayed write is applied
	doNever              // it never is
	doJump               // more than Grace passes
	doDie                // a request's process dies
)

type choice struct {
	verb verb
	i    int // the request
}

// choices returns everything that can happen next, in a fixed order. None: the run is over, or stuck.
//
// Three things are not explored in every order, because no order makes a difference to what anybody can see:
//
//   - Requests and responses travel only at the start, after an answer and after a jump. The browser's cookie changes
//     only when a response arrives, and a request that was sent early can still reach the store late.
//   - An answer without a cookie arrives at once.
//   - A call about a record that only its request knows is taken first.
func (w *world) choices(list []choice) []choice {
	list = list[:0]
	if w.open || w.options.anyOrder {
		if list = w.travel(list); len(list) > 0 && !w.options.anyOrder {
			return list
		}
		w.open = false
	}
	busy := false
	for i, q := range w.q {
		if q.out == running && q.call != nil {
			busy = true
			if w.private(q) {
				return w.calls(list, i)
			}
		}
	}
	for i, q := range w.q {
		if q.out == running && q.call != nil {
			list = w.calls(list, i)
		}
	}
	if w.pending != nil {
		if !busy {
			list = append(list, choice{doNever, 0})
		}
		list = append(list, choice{doLand, 0})
	}
	return w.jump(list)
}

// travel: what can be sent and what can arrive.
func (w *world) travel(list []choice) []choice {
	busy, unsent := false, false
	for _, q := range w.q {
		busy = busy || q.sent && q.out == running
		unsent = unsent || !q.sent
		if q.out > running && (q.setCookie == cookieAsItWas || q.elsewhere) {
			q.arrived = true
		}
	}
	if !unsent {
		return list // what arrives now changes only the cookie that is left in the end: see finalJars
	}
	for i, q := range w.q {
		if q.sent || q.after > 0 && !w.q[q.after-1].arrived {
			continue
		}
		if q.bare || q.elsewhere || q.life == revokeAll {
			if !w.options.anyOrder {
				return append(list[:0], choice{doSend, i}) // it depends on no cookie
			}
			list = append(list, choice{doSend, i})
		} else if i > w.lastSent || w.options.anyOrder {
			list = append(list, choice{doSend, i})
		}
	}
	for i, q := range w.q {
		if q.out > running && q.out != dead && !q.arrived {
			list = append(list, choice{doArrive, i})
		}
	}
	if len(list) > 0 && (busy || w.jumpsLeft()) && !w.options.anyOrder {
		list = append(list, choice{doStay, 0})
	}
	return list
}

func (w *world) calls(list []choice, i int) []choice {
	q := w.q[i]
	list = append(list, choice{doCall, i})
	if q.call.op == opHandler {
		return list
	}
	if w.faults > 0 {
		switch q.call.op {
		case opLoad, opList:
			list = append(list, choice{doFail, i})
		default:
			list = append(list, choice{doLose, i})
			if w.pending == nil {
				list = append(list, choice{doDelay, i}) // never applied, it is one that failed
			} else {
				list = append(list, choice{doFail, i})
			}
			if w.options.repeats && q.call.op != opTouch {
				list = append(list, choice{doRepeat, i})
			}
		}
	}
	if w.crashes > 0 {
		list = append(list, choice{doDie, i})
	}
	return list
}

// jump: time matters only to requests that are under way, and to tombstones. An answer with a cookie that takes longer
// than Grace to arrive can cost a login (docs/protocol.md), so that is left out.
func (w *world) jump(list []choice) []choice {
	if !w.jumpsLeft() {
		return list
	}
	underWay, unsent := false, false
	for _, q := range w.q {
		underWay = underWay || q.out > running && q.out != dead && !q.arrived && q.setCookie != cookieAsItWas
		unsent = unsent || !q.sent
	}
	if underWay && unsent || len(list) == 0 && !unsent {
		return list
	}
	retires := w.pending != nil && w.pending.record.Kind != store.Live
	for k := range w.entries {
		retires = retires || w.entries[k].there && w.entries[k].record.Kind != store.Live
	}
	for _, q := range w.q {
		retires = retires || q.out == running && q.call != nil && q.call.record.Kind != store.Live
	}
	if !retires {
		return list
	}
	return append(list, choice{doJump, 0})
}

func (w *world) jumpsLeft() bool { return int(w.epoch) < len(w.scenario.jumps) }

// private reports whether nobody else can see, or be in the way of, the call of q: it is about a record whose key no
// response, no tombstone and no listing has told.
func (w *world) private(q *request) bool {
	c := q.call
	if w.jumpsLeft() || w.options.anyOrder {
		return false // when it happens makes a difference
	}
	switch c.op {
	case opHandler:
		return true
	case opList:
		return w.scenario.scan == scanSnapshot && c.listing.began
	}
	if c.key <= 0 || int(c.key-1)/keysEach != q.i || w.given>>c.key&1 == 1 {
		return false
	}
	for _, p := range w.q {
		if p.out == running && (p.revokes() || p != q && w.limits(p)) {
			return false
		}
	}
	for k := range w.moved {
		if w.moved[k] == c.key {
			return false
		}
	}
	return w.pending == nil || w.place(w.pending.record.MovedTo) != c.key
}

// take lets one thing happen.
func (w *world) take(c choice) {
	q := w.q[c.i]
	switch c.verb {
	case doSend:
		w.lastSent = c.i
		q.start(w.jar)
		w.say("%s is sent%s", q.name, w.sentText(q))
	case doArrive:
		w.lastSent, q.arrived = -1, true
		w.jar, w.jarBy = q.setCookie, int8(c.i)
		w.say("%s: its response arrives, the browser has %s now", q.name, w.jarText())
	case doStay:
		w.open = false
	case doJump:
		w.open, w.lastSent = true, -1
		d := w.scenario.jumps[w.epoch]
		w.epoch++
		w.say("%v pass", d)
		w.pass(d)
		w.expire()
	case doDie:
		w.crashes--
		q.out, q.crashed = dead, true
		w.open, w.lastSent = true, -1
		w.say("%s: its process dies", q.name)
	case doLand:
		p := w.pending
		w.pending = nil
		// What travels is how much time is left, and it counts from the arrival.
		p.record.ExpiresAt = p.record.ExpiresAt.Add(time.Since(p.at))
		target := w.sender.target
		w.apply(w.sender, p)
		if p.op == opCreate {
			w.sender.target = target // another try has taken another ID
		}
		w.say("the delayed %s arrives", w.callText(p))
	case doNever:
		w.pending = nil
		w.say("the delayed write never arrives")
	default:
		w.takeCall(q, c.verb)
	}
}

func (w *world) takeCall(q *request, v verb) {
	c := q.call
	var a answer
	text := ""
	if w.tracing {
		text = w.callText(c)
	}
	switch v {
	case doCall:
		if c.op != opHandler {
			a = w.apply(q, c)
		}
	case doFail, doDelay:
		w.faults--
		q.hurt++
		a.err = errStore
		if v == doDelay {
			w.pending, w.sender = c, q
		}
	case doLose:
		w.faults--
		q.hurt++
		q.lost = c.op != opIndex
		w.apply(q, c)
		a.err = errStore
	case doRepeat:
		w.faults--
		q.hurt++
		w.apply(q, c)
		w.say("%s: %s is applied, and sent again", q.name, text)
		q.trace = mix(q.trace, 0x51)
		return
	}
	if c.op == opLoad {
		w.wasLoaded(q, c, a)
	}
	q.trace = w.traceAnswer(mix(q.trace, uint64(v)), c, a)
	if w.tracing {
		w.say("%s: %s %s", q.name, text, w.answerText(v, c, a))
	}
	q.call = nil
	q.resume <- a
}
