package protocol

import (
	"slices"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/store"
)

// This file is what a save does for the saves of other requests that wait for its turn: see turns.

// shareable returns c if another save may do it as well; nil: not.
func (c *Change) shareable() *Change {
	if c.Move != Stay || c.Take {
		return nil
	}
	return c
}

// served takes what another save did for this one.
func (s *saving) served(w *waiter) error {
	if w.panicked != nil {
		panic(w.panicked)
	}
	s.base, s.document, s.at, s.stale = w.view.Record, w.view.Document, w.view.At, false
	s.stored = w.fate == Stored
	return w.err
}

// serve tells the group what became of it. Each sees the session as its own changes left it, as if the saves had come
// one after the other: so of concurrent Updates of a counter no two see the same number. What is stored is newer, so
// such a view has a version that is not: a later save of the same request loads the record first.
func (s *saving) serve(stored bool) {
	for _, w := range s.group {
		if stored {
			w.fate = Stored
		} else {
			w.view.Record, w.view.Document = s.base, s.document
		}
		w.view.State, w.view.At = Live, s.at
		s.k.turns.serve(s.turn, w)
	}
	s.group = nil
}

// due reports whether the time of the last activity has to be stored.
func (s *saving) due() bool {
	active := s.c.Active
	for _, w := range s.group {
		active = active || w.c.Active
	}
	return active && time.Since(s.base.LastSeenAt) >= s.k.TouchEvery
}

// buildGroup adds the changes of the group to r. Who can't be added is told why.
func (s *saving) buildGroup(r store.Record, d document.Document, changed bool) (store.Record, bool) {
	s.group = s.k.turns.include(s.turn, s.group)
	s.group = slices.DeleteFunc(s.group, func(w *waiter) bool {
		next, nd, differs, err := s.buildOne(w, r, d)
		if err != nil || w.panicked != nil {
			w.err = err
			s.k.turns.serve(s.turn, w)
			return true
		}
		r, d, changed = next, nd, changed || differs
		w.view.Record, w.view.Document = next, nd
		w.view.Record.Version = store.NewVersion()
		return false
	})
	return r, changed
}

// buildOne runs the functions of another request's Updates: what they panic with is for that request.
func (s *saving) buildOne(w *waiter, r store.Record, d document.Document) (_ store.Record, _ document.Document,
	changed bool, err error) {
	defer func() { w.panicked = recover() }()
	return s.k.Records.build(w.c, r, d, s.now)
}

// giveUpGroup is for a save that failed. If what it sent may have been applied, then what the group wanted may have
// been too. Else they go on by themselves.
func (s *saving) giveUpGroup(err error) {
	if !s.unsure || err == nil {
		return // putBack follows
	}
	for _, w := range s.group {
		w.err = err
		s.k.turns.serve(s.turn, w)
	}
	s.group = nil
}

// gather takes along the saves that wait for the turn, when the record is about to be loaded: so it is newer than what
// each of them has loaded, and what makes no difference to it need not be stored. While a write may be in flight,
// nobody is taken along: what became of them could not be told apart.
func (s *saving) gather(key string) {
	if s.unsure { // rule: GatherSure
		return
	}
	if key == s.turn && s.c.shareable() != nil {
		s.group = s.k.turns.gather(key, s.group)
	}
}

// once reports whether what was sent must not be applied a second time. Those of the group for whom that holds are told
// that it is uncertain.
func (s *saving) once() bool {
	s.group = slices.DeleteFunc(s.group, func(w *waiter) bool {
		if !w.c.Values.ExactlyOnce() {
			return false
		}
		w.err = Uncertain("save", errLost)
		s.k.turns.serve(s.turn, w)
		return true
	})
	return s.c.Take || s.c.Values.ExactlyOnce()
}
