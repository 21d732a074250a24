package history

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model is a server without faults, which does each op in one step. Its state is what is under each ID.

type kind uint8

const (
	absent kind = iota
	live
	renewed
	replaced
	ended
)

// entry is what is under one ID. Where a session went stays known for ever; lapsed says that the store may have
// forgotten it, so that the ID is unknown.
type entry struct {
	kind   kind
	lapsed bool
	hard   bool // replaced by a move that keeps the session
	clear  bool // replaced by a Login that takes nothing over from who was anonymous
	unsure bool // a tombstone whose maker was not told that it is there: nobody has the ID that it names
	to     int
	who    string
	handle int
	seen   time.Duration // a session's last activity, or the making of a tombstone, at the earliest
	born   time.Duration
	data   data
}

type state []entry

func (s state) with(i int, e entry) state {
	s = slices.Clone(s)
	s[i] = e
	return s
}

var hashSeed = maphash.MakeSeed()

func (s state) hash() uint64 {
	var h uint64
	for i, e := range s {
		h ^= maphash.Comparable(hashSeed, e) * uint64(2*i+1)
	}
	return h
}

// spec is the model for the ops of one family of IDs.
type spec struct {
	pace  Pace
	local map[int]int // an ID's place in the state
}

func (m *spec) model() porcupine.Model {
	n := porcupine.NondeterministicModel{
		Init: func() []any { return []any{make(state, len(m.local))} },
		Step: func(s, in, _ any) []any {
			o := in.(*op)
			next := m.step(s.(state), o)
			if o.optional {
				next = append(next, s.(state))
			}
			states := make([]any, len(next))
			for i, t := range next {
				states[i] = t
			}
			return states
		},
		Equal:             func(a, b any) bool { return slices.Equal(a.(state), b.(state)) },
		Hash:              func(s any) uint64 { return s.(state).hash() },
		DescribeOperation: func(in, _ any) string { return in.(*op).String() },
	}
	return n.ToModel()
}

// slack is the precision of times in records.
const slack = 5 * time.Millisecond

// mayLapse reports whether e can have expired when o returned.
func (m *spec) mayLapse(e *entry, o *op) bool {
	switch e.kind {
	case live:
		return min(e.seen+m.pace.Idle, e.born+m.pace.Lifetime) <= o.retAt+slack
	case renewed, replaced, ended:
		return e.lapsed || e.seen+m.pace.Grace+m.pace.StoreTimeout <= o.retAt+slack
	}
	return true
}

// step returns the states after o, none if o can't happen in s.
func (m *spec) step(s state, o *op) []state {
	switch o.verb {
	case opRead:
		return m.read(s, o)
	case opWrite:
		return m.write(s, o)
	case opRepeats:
		return append(m.write(s, o), s)
	case opTake:
		return m.take(s, o)
	case opCreate:
		return []state{s.with(m.local[o.next], m.session(o, o.login, apply(o.changes, data{})))}
	case opRenew:
		return m.renew(s, o)
	case opHard:
		return m.hard(s, o)
	case opLogin:
		return m.login(s, o)
	case opEnd:
		return m.end(s, o)
	}
	return m.revoke(s, o)
}

func (m *spec) session(o *op, who string, d data) entry {
	return entry{kind: live, who: who, handle: o.handle, seen: m.coarse(o.callAt), born: m.coarse(o.callAt), data: d}
}

// coarse keeps states equal that differ by moments.
func (m *spec) coarse(t time.Duration) time.Duration { return t.Truncate(m.pace.Idle / 64) }

// sees reports whether o saw d.
func (o *op) sees(d data) bool { return o.view == nil || apply(o.pending, d) == *o.view }

// read is what a load sees: it follows Renew, and nothing else.
func (m *spec) read(s state, o *op) []state {
	var next []state
	i := m.local[o.id]
	for s[i].kind == renewed && !s[i].lapsed {
		if !o.live && (o.reason == "unknown" || o.reason == "") && m.mayLapse(&s[i], o) {
			e := s[i]
			e.lapsed = true
			next = append(next, s.with(i, e))
		}
		i = m.local[s[i].to]
	}
	e := s[i]
	switch {
	case o.live:
		if e.kind == live && e.who == o.who && e.handle == o.handle && o.sees(e.data) {
			return []state{s}
		}
		return nil
	case e.kind == live:
		if m.mayLapse(&e, o) {
			next = append(next, s.with(i, entry{}))
		}
	case o.reason == "ended":
		if e.kind == ended && !e.lapsed {
			next = append(next, s)
		}
	case o.reason == "replaced":
		if e.kind == replaced && !e.lapsed {
			next = append(next, s)
		}
	case o.reason == "": // a Reload
		next = append(next, s)
	case m.mayLapse(&e, o):
		e.lapsed = e.kind != absent
		next = append(next, s.with(i, e))
	}
	return next
}

// target follows the links that a save may follow and returns where it arrives, -1: nowhere. lapse: the session may
// have expired, or may be under an ID that nobody has. What merely is older than Grace is no excuse to drop changes.
// login: a Login lies on the way, at which attributes stay behind.
func (m *spec) target(s state, o *op) (i int, lapse, login bool) {
	who := o.who
	i = m.local[o.id]
	for {
		e := &s[i]
		lapse = lapse || (e.kind == live || e.unsure) && m.mayLapse(e, o)
		switch {
		case e.kind == absent || e.kind == ended || who != "" && who != e.who:
			return -1, lapse, login
		case e.kind == live:
			return i, lapse, login
		case e.kind == replaced && (o.verb == opTake || e.clear && o.who == ""):
			return -1, lapse, login
		}
		login = login || e.kind == replaced && !e.hard
		who, i = e.who, m.local[e.to]
	}
}

func (m *spec) write(s state, o *op) []state {
	i, lapse, login := m.target(s, o)
	switch {
	case o.outcome == dropped && (i < 0 || lapse):
		return []state{s}
	case o.outcome == dropped:
		return nil
	case i < 0 && o.outcome == uncertain:
		return []state{s}
	case i < 0:
		return nil
	}
	e, changes := s[i], o.changes
	if login {
		changes = withoutAttributes(changes)
	}
	before := e.data
	e.data = apply(changes, before)
	if len(changes) > 0 && !o.shared || e.data != before {
		e.seen = m.coarse(o.callAt)
	}
	// A request that was anonymous and follows a login keeps its old view.
	if e.who == o.who && !o.sees(e.data) {
		return nil
	}
	return []state{s.with(i, e)}
}

func (m *spec) take(s state, o *op) []state {
	i, lapse, _ := m.target(s, o)
	switch {
	case o.outcome == dropped && (i < 0 || lapse):
		return []state{s}
	case o.outcome == dropped:
		return nil
	case i < 0 && o.outcome == uncertain:
		return []state{s}
	case i < 0:
		return nil
	}
	e := s[i]
	if o.outcome == saved && !o.own && e.data[o.key] != o.value {
		return nil
	}
	e.data[o.key] = ""
	if !o.sees(e.data) {
		return nil
	}
	e.seen = m.coarse(o.callAt)
	return []state{s.with(i, e)}
}

// renew gives a live session another ID. Where somebody else did, it is a save.
func (m *spec) renew(s state, o *op) []state {
	i := m.local[o.id]
	if s[i].kind != live || o.outcome == dropped {
		if o.outcome == saved && o.next >= 0 {
			return nil
		}
		if len(o.changes) == 0 && o.outcome == saved {
			return []state{s}
		}
		return m.write(s, o)
	}
	if o.next < 0 && o.outcome == saved {
		return nil // there was nobody else
	}
	e := s[i]
	n := e
	n.data = apply(o.changes, e.data)
	n.seen = m.coarse(o.callAt)
	if !o.sees(n.data) {
		return nil
	}
	if o.next < 0 { // uncertain, under an ID that nobody knows
		return []state{s.with(i, entry{kind: ended, who: e.who, seen: o.callAt})}
	}
	moved := s.with(m.local[o.next], n)
	moved[i] = entry{kind: renewed, to: o.next, who: e.who, seen: o.callAt, unsure: o.outcome == uncertain}
	return []state{moved}
}

// hard gives a live session another ID, wherever Renew has moved it meanwhile.
func (m *spec) hard(s state, o *op) []state {
	i := m.local[o.id]
	lapse := false
	for s[i].kind == renewed {
		lapse = lapse || m.mayLapse(&s[i], o)
		i = m.local[s[i].to]
	}
	e := s[i]
	switch {
	case o.outcome == dropped && (e.kind != live || lapse || m.mayLapse(&e, o)):
		return []state{s}
	case o.outcome == dropped:
		return nil
	case o.outcome == uncertain && (e.kind != live || e.who != o.who):
		return []state{s}
	case e.kind != live:
		return nil
	}
	if o.next < 0 { // uncertain, but nothing was sent
		return []state{s}
	}
	n := e
	n.data, n.seen = apply(o.changes, e.data), m.coarse(o.callAt)
	if !o.sees(n.data) {
		return nil
	}
	moved := s.with(m.local[o.next], n)
	moved[i] = entry{kind: replaced, hard: true, to: o.next, who: e.who, seen: o.callAt, unsure: o.outcome == uncertain}
	if o.outcome == uncertain {
		return []state{s, moved}
	}
	return []state{moved}
}

// login puts a session of its own in the place of the one that it meets.
func (m *spec) login(s state, o *op) []state {
	i := m.local[o.id]
	lapse := false
	for s[i].kind == renewed {
		lapse = lapse || m.mayLapse(&s[i], o)
		i = m.local[s[i].to]
	}
	e := s[i]
	alone := m.session(o, o.login, apply(o.changes, data{}))
	var next []state
	if e.kind != live || lapse || m.mayLapse(&e, o) {
		if o.sees(alone.data) {
			next = append(next, s.with(m.local[o.next], alone))
		}
	}
	if e.kind != live {
		return next
	}
	n := alone
	if !o.scratch && (e.who == "" || e.who == o.login) {
		n.data = apply(o.changes, e.data)
	}
	if o.sees(n.data) {
		moved := s.with(m.local[o.next], n)
		clear := o.scratch || slices.ContainsFunc(o.changes, func(c change) bool { return c.kind == wipe })
		moved[i] = entry{kind: replaced, clear: clear, to: o.next, who: e.who, seen: o.callAt,
			unsure: o.outcome == uncertain}
		next = append(next, moved)
	}
	return next
}

// end follows a session along all that its principal did.
func (m *spec) end(s state, o *op) []state {
	i := m.local[o.id]
	for {
		e := &s[i]
		switch {
		case e.who != o.who:
			return []state{s}
		case e.kind == live && e.handle == o.handle:
			return []state{s} // the one to spare
		case e.kind == live:
			return m.ended(s, i, o)
		case e.kind == renewed, e.kind == replaced && o.who != "":
			i = m.local[e.to]
		default:
			return []state{s}
		}
	}
}

// ended returns the states in which the session at i is over: by o, or because it had expired before.
func (m *spec) ended(s state, i int, o *op) []state {
	next := []state{s.with(i, entry{kind: ended, who: s[i].who, seen: o.callAt})}
	if m.mayLapse(&s[i], o) {
		next = append(next, s.with(i, entry{}))
	}
	return next
}

func (m *spec) revoke(s state, o *op) []state {
	next := []state{s}
	lapse := true
	for i, e := range s {
		if e.kind != live || e.handle != o.handle || e.who != o.who {
			continue
		}
		lapse = lapse && m.mayLapse(&e, o)
		var more []state
		for _, t := range next {
			more = append(more, m.ended(t, i, o)...)
		}
		next = more
	}
	switch {
	case o.outcome == dropped && lapse: // there was none
		return []state{s}
	case o.outcome == dropped:
		return nil
	}
	return next // where there is none, it ended the record of a Renew that has not happened yet, or never will
}
