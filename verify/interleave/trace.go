package interleave

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"strconv"
	"strings"

	"github.com/hipflask/session/store"
)

// Runs draw other random numbers each time, so states are compared by the places of keys and the names of versions, and
// what a request is about to do by everything that it was told so far.

var seed = maphash.MakeSeed()

func mix(h, v uint64) uint64 {
	h ^= v + 0x9e3779b97f4a7c15 + h<<6 + h>>2
	h *= 0xff51afd7ed558ccd
	return h ^ h>>32
}

func (w *world) traceCall(h uint64, c *call) uint64 {
	h = mix(h, uint64(c.op)<<16|uint64(c.key)<<8|uint64(w.epoch))
	switch c.op {
	case opReplace, opTouch:
		h = mix(h, uint64(w.versions[c.version]))
	}
	if c.op == opCreate || c.op == opReplace {
		h = w.traceRecord(h, &c.record, parse(c.record.Data))
	}
	return h
}

func (w *world) traceAnswer(h uint64, c *call, a answer) uint64 {
	switch {
	case a.err == nil:
		h = mix(h, 1)
	case errors.Is(a.err, store.ErrNotFound):
		return mix(h, 2)
	case errors.Is(a.err, store.ErrConflict):
		return mix(h, 3)
	case errors.Is(a.err, store.ErrExists):
		return mix(h, 4)
	case errors.Is(a.err, errListed):
		return mix(h, 5)
	default:
		return mix(h, 6)
	}
	if c.op == opLoad || c.op == opList {
		h = w.traceRecord(h, &a.record, parse(a.record.Data))
	}
	if c.op == opList && w.scenario.scan == scanSnapshot {
		for i := range c.listing.snapshot {
			h = w.traceRecord(h, &c.listing.snapshot[i], value{})
		}
	}
	return h
}

func (w *world) traceRecord(h uint64, r *store.Record, v value) uint64 {
	h = mix(h, uint64(w.place(r.Key))<<48|uint64(r.Kind)<<40|uint64(principalIndex(r.Principal))<<32|
		uint64(w.versions[r.Version])<<8|uint64(w.place(r.MovedTo)+1))
	h = mix(h, uint64(v.set)<<8|bit(v.old)|bit(v.token)<<1|bit(w.scenario.idle && r.LastSeenAt.Before(w.start))<<2)
	for _, n := range v.count {
		h = mix(h, uint64(n))
	}
	if w.scenario.most > 0 && r.Kind == store.Live {
		rank := moved.FindSubmatch(r.Public)
		h = mix(h, uint64(r.CreatedAt.Sub(w.start)))
		if rank != nil {
			at, _ := strconv.ParseInt(string(rank[1]), 10, 64)
			h = mix(h, uint64(at-w.start.UnixMilli()))
		}
		h = mix(h, bit(bytes.Contains(r.Public, []byte(`"o":`))))
	}
	return h
}

// moved finds the time that a login has given its session to be younger than others: see internal/protocol/limit.go.
var moved = regexp.MustCompile(`"a":(\d+)`)

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// hash names the state of the world: what will be the same from here on, for the same choices, is the same number.
func (w *world) hash() uint64 {
	h := mix(uint64(len(w.q)), uint64(w.faults)<<32|uint64(w.crashes)<<16|uint64(w.epoch)<<8|bit(w.open))
	h = mix(h, uint64(w.jar+3)<<16|uint64(w.jarBy+1)<<8|uint64(w.lastSent+1))
	for k := range w.entries {
		e := &w.entries[k]
		h = mix(h, bit(e.there)<<1|bit(e.index))
		if e.there {
			h = w.traceRecord(h, &e.record, e.value)
			if len(w.scenario.jumps) > 0 {
				h = mix(h, uint64(e.epoch))
			}
		}
	}
	if w.pending != nil {
		h = w.traceCall(mix(h, uint64(w.sender.i)), w.pending)
	}
	for _, i := range w.waiting {
		h = mix(h, uint64(i))
	}
	for _, q := range w.q {
		h = q.hash(h)
	}
	return mix(h, maphash.Comparable(seed, w.ghosts))
}

// endHash names what a run has come to: the store and the answers.
func (w *world) endHash() (h uint64) {
	for k := range w.entries {
		h = mix(h, bit(w.entries[k].there))
		if e := &w.entries[k]; e.there {
			h = w.traceRecord(h, &e.record, e.value)
		}
	}
	for _, q := range w.q {
		h = mix(h, uint64(q.out)<<32|uint64(q.setCookie+3)<<24|uint64(q.cookie+1)<<16|bit(q.took))
	}
	return h
}

func (q *request) hash(h uint64) uint64 {
	h = mix(h, bit(q.wrote))
	switch {
	case !q.sent:
		return mix(h, 0)
	case q.out == running:
		return mix(mix(h, 1|uint64(q.sessions)<<8|uint64(q.target+1)<<32|bit(q.tooLate)<<40), q.trace)
	}
	h = mix(h, 2|uint64(q.out)<<8|uint64(q.setCookie+3)<<16|uint64(q.target+1)<<24|uint64(q.loaded+
		1)<<32|uint64(q.cookie+1)<<40|
		uint64(q.acting)<<48|bit(q.arrived)<<56|bit(q.took)<<57|bit(q.void)<<58|bit(q.late)<<59|bit(q.setSaved)<<60|
		bit(q.updateSaved)<<61)
	return mix(h, uint64(q.sessions))
}

func (w *world) sentText(q *request) string {
	if q.life == revokeAll {
		return ""
	}
	if q.cookie < 0 {
		return " without a cookie"
	}
	return " with cookie " + w.keyText(q.cookie)
}

func (w *world) jarText() string {
	if w.jar < 0 {
		return "no cookie"
	}
	return "cookie " + w.keyText(w.jar)
}

func (w *world) callText(c *call) string {
	if c.op == opList || c.op == opHandler {
		return opNames[c.op]
	}
	s := opNames[c.op] + " " + w.keyText(c.key)
	if c.op == opCreate || c.op == opReplace {
		s += " by " + w.recordText(&c.record)
	}
	if c.op == opReplace || c.op == opTouch {
		s += " if it is " + w.versionText(c.version)
	}
	return s
}

func (w *world) answerText(v verb, c *call, a answer) string {
	switch {
	case v == doFail:
		return "FAILS"
	case v == doDelay:
		return "FAILS, and may be applied later"
	case v == doLose:
		return "is applied, but FAILS"
	case c.op == opHandler:
		return "goes on"
	case a.err != nil:
		return "-> " + a.err.Error()
	case c.op == opLoad || c.op == opList:
		return "-> " + w.recordText(&a.record)
	}
	return "-> ok"
}

func (w *world) versionText(v uint64) string {
	n := w.versions[v]
	if n == 0xffff {
		return "v0"
	}
	if n == 0 {
		return "v?"
	}
	return fmt.Sprintf("v(%s).%d", w.scenario.requests[n>>8-1].name, n&0xff)
}

func (w *world) recordText(r *store.Record) string {
	s := r.Kind.String()
	if r.Principal != "" {
		s += " " + r.Principal
	}
	if r.MovedTo != "" {
		s += " to " + w.keyText(w.place(r.MovedTo))
	}
	s += " " + w.versionText(r.Version)
	if r.Kind != store.Live {
		return "{" + s + "}"
	}
	v := parse(r.Data)
	var has []string
	if v.old {
		has = append(has, "old")
	}
	if v.token {
		has = append(has, "token")
	}
	for i := range w.scenario.requests {
		if v.set>>i&1 == 1 {
			has = append(has, "set by "+w.scenario.requests[i].name)
		}
		for range v.count[i] {
			has = append(has, "updated by "+w.scenario.requests[i].name)
		}
	}
	return "{" + s + ": " + strings.Join(has, ", ") + "}"
}
