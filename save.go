package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hipflask/session/store"
)

// This file is the save protocol of docs/protocol.md, which a model checker has been over: every step and every order
// of questions is there because a simpler one lost a write, revived a session or logged somebody out.

// maxRounds bounds the attempts of one save against other writers.
const maxRounds = 64

// commit is one run of the protocol. It holds a copy of what the session knows and wants, and in the end what became of
// it.
type commit struct {
	m *Manager

	base     store.Record // the record that the changes are for
	document document     // of base
	who      string       // the principal that the request acts under
	at       time.Time    // when base was last known to be in the store

	changes changes
	label   *string
	take    bool
	active  bool
	life    life
	login   string
	next    *identity

	rounds  int
	now     time.Time // when this round began, or the base was loaded
	unsure  bool      // a write failed without an answer: it may have been applied, or be under way
	moved   bool      // followed a tombstone of Renew
	crossed bool      // followed one of Login from anonymous to a principal
	dropped bool
	created bool // under next
}

// found is what the commit knows in the end, as a load would have found it.
func (c *commit) found() found {
	return found{state: live, moved: c.moved, record: c.base, document: c.document, loadedAt: c.at}
}

var errBusy = errors.New("too many other writers")

// Save stores the changes now: for streams and for handlers that live long. Without changes it does nothing. The
// response's cookie, if one is needed, is sent with its header; once that is gone, see ErrTooLate. Outside a request,
// Manager.Cookie has it. Saving goes on when ctx is cancelled, for at most Config.StoreTimeout.
//
// Errors: ErrEnded: the session has ended, and the changes with it. ErrUnavailable: nothing was stored, call Save again
// if you like. ErrUncertain: it may have been stored; this Session stores nothing more, and the request ends in that
// error (outside a request, Load it again). ErrTooLate, ErrTooLarge, and values that can't be encoded: as Err.
func (s *Session) Save(ctx context.Context) error { return s.save(ctx, false) }

// save is Save. last: no cookie can be sent from now on.
func (s *Session) save(ctx context.Context, last bool) error {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	if last {
		s.seal()
	}
	idle, err := s.idle()
	s.mu.Unlock()
	if idle {
		return err
	}
	return s.store(ctx)
}

// store is a save that has something to do. The caller holds io.
func (s *Session) store(ctx context.Context) error {
	m := s.m
	if m.codec != nil {
		return s.saveCookie()
	}
	ended, err := s.saveEnd(ctx)
	if err != nil {
		return err
	}
	var c commit
	step, err := s.plan(&c)
	if step == stepNone {
		return err
	}
	c.now = time.Now()
	bounded := m.newSave(ctx, c.now)
	defer bounded.cancel()
	switch step {
	case stepCreate:
		err = c.create(bounded)
	case stepChange:
		err = c.locked(bounded)
	case stepTouch:
		err = c.touch(bounded)
	}
	if ended && errors.Is(err, ErrUnavailable) {
		err = uncertain("save after Logout", err) // the old session is gone already
	}
	return s.finish(&c, err)
}

// step is the part of the protocol by which there is something to store.
type step uint8

const (
	stepNone step = iota
	stepCreate
	stepChange
	stepTouch
)

// plan says what there is to store, in c; stepNone: nothing, and the error is Err.
func (s *Session) plan(c *commit) (step step, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tooLate() {
		return stepNone, s.err
	}
	life := s.life
	if life == renew && s.moved {
		life = keep // the ID was renewed a moment ago; the browser gets it from that response
	}
	changed := !s.changes.empty() || s.label != nil
	switch {
	case life == login && s.state != live: // beside a parallel login's session, if there is one, not in its place
		step = stepCreate
	case life == login, life == renew:
		step = stepChange
	case s.state == fresh && s.choose():
		step = stepCreate
	case s.state == live && changed:
		step = stepChange
	case s.touchDue():
		step = stepTouch
	default:
		s.life = life
		return stepNone, s.lasting()
	}
	if life != keep {
		s.choose()
	}
	*c = commit{
		m: s.m, base: s.record, document: s.document, who: s.record.Principal, at: s.loadedAt,
		changes: s.changes.snapshot(), label: s.label, active: s.isActive, life: life, login: s.principal, next: s.next, moved: s.moved,
	}
	return step, nil
}

// locked runs the steps that change a record, one at a time in this process.
func (c *commit) locked(ctx context.Context) error {
	waited, err := c.m.locks.lock(ctx, c.base.Key)
	if err != nil {
		return unavailable("save", err)
	}
	defer c.m.locks.unlock(c.base.Key)
	if waited {
		c.now = time.Now()
	}
	if c.life != keep {
		return c.move(ctx)
	}
	return c.save(ctx)
}

// saveEnd ends the session that Logout left.
func (s *Session) saveEnd(ctx context.Context) (ended bool, err error) {
	s.mu.Lock()
	e := s.ending
	s.mu.Unlock()
	if e == nil {
		return false, nil
	}
	bounded := s.m.newSave(ctx, time.Now())
	defer bounded.cancel()
	var forget bool
	if _, err = s.m.locks.lock(bounded, e.record.Key); err != nil {
		err = unavailable("logout", err)
	} else {
		defer s.m.locks.unlock(e.record.Key)
		forget, ended, err = s.m.end(bounded, e.record, e.at, e.who, anyHandle)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		s.m.failed(s.context(), e.record.Handle, err)
		return false, err
	}
	s.ending = nil
	if mends(s.err) && !s.unsure {
		s.err = nil
	}
	s.cookie = nil
	if forget {
		s.cookie = &cookieChange{}
	}
	s.event(Event{Kind: EventLogout, Handle: e.record.Handle, Principal: e.who})
	return true, nil
}

// idle reports whether a save has nothing to do, as in most requests, or can do nothing, and the error that stands.
// No save can mend a session that was not read, a value that could not be encoded, or changes that may be stored
// already: another save could apply an Update twice. The caller holds mu.
func (s *Session) idle() (bool, error) {
	if s.state == failed || s.unsure || replaces(s.err) && !mends(s.err) {
		return true, s.err
	}
	if s.ending != nil || s.life != keep || !s.changes.empty() || s.label != nil || s.touchDue() {
		return false, nil
	}
	return true, s.lasting()
}

// touchDue reports whether the idle timeout has to be moved. The caller holds mu.
func (s *Session) touchDue() bool {
	if s.state != live || !s.isActive {
		return false
	}
	unseen := s.loadedAt.Sub(s.record.LastSeenAt) // by then
	return time.Since(s.loadedAt) >= s.m.touchInterval-unseen
}

// lasting returns the error that holds for this save too. What an earlier one dropped as too late is not its concern.
// The caller holds mu.
func (s *Session) lasting() error {
	if s.err == ErrTooLate {
		return nil
	}
	return s.err
}

// mends reports whether err is over when a later save succeeds.
func mends(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain) || errors.Is(err, ErrTooLarge)
}

// tooLate drops changes that need a new cookie when the header has gone. The caller holds mu.
func (s *Session) tooLate() bool {
	if !s.sealed {
		return false
	}
	s.sealed = false
	needs := s.choose()
	s.sealed = true
	if needs {
		if !replaces(s.err) {
			s.err = ErrTooLate
		}
		s.event(Event{Kind: EventTooLate, Handle: s.record.Handle, Principal: s.record.Principal, Key: s.changes.someName(), Err: ErrTooLate})
		s.changes, s.label = changes{seq: s.changes.seq}, nil
		s.life, s.principal, s.next = keep, "", nil
	}
	return needs
}

// finish brings what the protocol found back into the session.
func (s *Session) finish(c *commit, err error) error {
	if err == nil && !c.dropped && !c.crossed && c.base.Key != "" {
		if rebased := s.rebase(c.found(), c.changes.seq); rebased != nil {
			err = rebased
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.next = nil // nobody has that ID; another try takes a fresh one
		s.unsure = errors.Is(err, ErrUncertain)
		s.err = err
		s.m.failed(s.context(), c.base.Handle, err)
		return err
	case c.dropped:
		s.event(Event{Kind: EventDropped, Handle: s.record.Handle, Principal: s.record.Principal, Err: ErrEnded})
		s.end()
		return ErrEnded
	case c.crossed:
		s.state, s.record = spent, c.base // what the client saw before stays its view; the principal's values are not shown
	}
	if s.label == c.label {
		s.label = nil
	}
	if mends(s.err) {
		s.err = nil
	}
	if c.created {
		s.created(c)
	} else if s.life == c.life || s.life == renew {
		s.life, s.next = keep, nil
	}
	return s.lasting()
}

// created is the end of a save under a new ID: the decision about the cookie, after the last step on the store. The
// caller holds mu.
func (s *Session) created(c *commit) {
	s.moved, s.token = false, c.next.token
	if s.err == ErrEnded {
		s.err = nil // there is a session again
	}
	s.cookie = &cookieChange{c.next.token, s.isPersistent(), s.m.deadline(&c.base)}
	if s.next == c.next {
		s.life, s.principal, s.next = keep, "", nil
	}
	kind := EventCreated
	switch c.life {
	case login:
		kind = EventLogin
	case renew:
		kind = EventRenewed
	}
	s.event(Event{Kind: kind, Handle: c.base.Handle, Principal: c.base.Principal})
}

// build returns base with the changes, under a new version, and whether anything differs.
func (c *commit) build(base store.Record, d document) (store.Record, document, bool, error) {
	d, changed, err := c.changes.apply(d)
	if err != nil {
		return base, nil, false, err
	}
	if c.label != nil && *c.label != base.Label {
		base.Label, changed = *c.label, true
	}
	if base.Data, err = c.m.serializer.Join(d); err != nil {
		return base, nil, false, fmt.Errorf("session: the session can't be encoded: %w", err)
	}
	if len(base.Data) > c.m.config.MaxBytes {
		return base, nil, false, c.tooLarge(d, len(base.Data), c.m.config.MaxBytes)
	}
	if c.m.codec == nil {
		base.Version = newVersion()
	}
	if c.active || base.LastSeenAt.IsZero() {
		base.LastSeenAt = c.now.Truncate(time.Millisecond)
	}
	base.ExpiresAt = c.m.expiry(base.CreatedAt, base.LastSeenAt, c.m.persistentIn(d))
	return base, d, changed, nil
}

// tooLarge names the longest of the values that this request changed.
func (c *commit) tooLarge(d document, size, bound int) error {
	key, longest := "", -1
	for _, m := range d {
		if c.changes.find(m.Name) != nil && len(m.Value) > longest {
			key, longest = m.Name, len(m.Value)
		}
	}
	return fmt.Errorf("%w: %d bytes, at most %d; key %q has %d of them", ErrTooLarge, size, bound, key, longest)
}

// now has the precision that stores keep.
func now() time.Time { return time.Now().Truncate(time.Millisecond) }

// round counts an attempt, and after the first few of them lets others go first.
func (c *commit) round(ctx context.Context) error {
	c.rounds++
	switch {
	case c.rounds > maxRounds:
		return errBusy
	case ctx.Err() != nil:
		return ctx.Err()
	case c.rounds == 1:
		return nil
	case c.rounds > 2:
		most := min(time.Millisecond<<min(c.rounds-3, 5), 20*time.Millisecond)
		pause := time.NewTimer(time.Duration(newVersion() % uint64(most)))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	c.now = time.Now()
	return nil
}

// bound is the answer when the attempts or the time are used up.
func (c *commit) bound(err error) error {
	if c.unsure {
		return uncertain("save", err)
	}
	return unavailable("save", err)
}

// gone is the answer to a record that is not there any more: its session has ended. But a request that outlived the
// tombstones can't know that.
func (c *commit) gone() error {
	if time.Since(c.at) > c.m.config.Grace {
		return uncertain("save", errors.New("the request took longer than Grace, and its session is no longer under its ID"))
	}
	c.dropped = true
	return nil
}

// may says whether the request may go on with r, which it found by tombstones: not across principals.
func (c *commit) may(r *store.Record) bool { return c.who == "" || c.who == r.Principal }

// save brings the changes into the record, wherever it has gone meanwhile.
func (c *commit) save(ctx context.Context) error {
	for {
		r, d, changed, err := c.build(c.base, c.document)
		if err != nil {
			return err
		}
		if !changed {
			if c.active && time.Since(c.base.LastSeenAt) >= c.m.touchInterval {
				return c.touch(ctx)
			}
			return nil
		}
		done, err := c.write(ctx, r)
		if err != nil || c.dropped {
			return err
		}
		if done {
			c.base, c.document = r, d
			return nil
		}
	}
}

// write sends r until it is known to be stored (done), or c.base has moved and the changes have to be built anew, or the
// session turns out to have ended (c.dropped).
func (c *commit) write(ctx context.Context, r store.Record) (done bool, err error) {
	for {
		if err := c.round(ctx); err != nil {
			return false, c.bound(err)
		}
		at := c.now
		err := c.m.store.Replace(ctx, r, c.base.Version)
		switch {
		case err == nil:
			c.at = at
			return true, nil
		case errors.Is(err, store.ErrNotFound):
			return false, c.gone()
		case !errors.Is(err, store.ErrConflict):
			c.unsure = true
		}
		again, done, err := c.look(ctx, c.base.Key, r.Version)
		if !again {
			return done, err
		}
	}
}

// look finds out what became of a write of the given version, and where the record is now. again: it was not applied,
// and can be sent once more as it is.
func (c *commit) look(ctx context.Context, key string, version uint64) (again, done bool, err error) {
	for {
		if err := c.round(ctx); err != nil {
			return false, false, c.bound(err)
		}
		at := c.now
		r, err := c.m.store.Load(ctx, key)
		absent := errors.Is(err, store.ErrNotFound)
		switch {
		case err != nil && !absent:
			return false, false, uncertain("save", err) // also after a plain conflict
		case !absent && r.Version == version:
			c.at = at
			return false, true, nil
		case !absent && r.Kind == store.Live && r.Version == c.base.Version && key == c.base.Key:
			return true, false, nil // one version can be applied only once
		case c.unsure && (c.take || c.changes.exactlyOnce()):
			return false, false, uncertain("save", errors.New("the store's answer was lost"))
		case absent:
			return false, false, c.gone()
		case r.Kind == store.Live:
			if !c.may(&r) {
				c.dropped = true
				return false, false, nil
			}
			if !c.follow(ctx, r, at) {
				c.dropped = true
			}
			return false, false, nil
		case r.Kind != store.Renewed && r.Kind != store.Replaced, !c.may(&r), c.take && r.Kind == store.Replaced:
			c.dropped = true
			return false, false, nil
		}
		c.moved = c.moved || r.Kind == store.Renewed
		c.who, key = r.Principal, r.MovedTo
	}
}

// follow makes the live record r the base. A record that can't be decoded is ended instead.
func (c *commit) follow(ctx context.Context, r store.Record, at time.Time) bool {
	members, err := c.m.serializer.Split(r.Data)
	if err != nil {
		c.m.discard(ctx, &r)
		return false
	}
	c.crossed = c.crossed || c.base.Principal == "" && r.Principal != ""
	c.who = r.Principal
	c.base, c.document, c.at = r, newDocument(members), at
	if c.now.Before(at) {
		c.now = at // what is built on it must not have been seen before it
	}
	return true
}

// touch moves the idle timeout, if it is due. A conflict means that somebody else just wrote: fine.
func (c *commit) touch(ctx context.Context) error {
	t := c.now.Truncate(time.Millisecond)
	expires := c.m.expiry(c.base.CreatedAt, t, c.m.persistentIn(c.document))
	err := c.m.store.Touch(ctx, c.base.Key, c.base.Version, t, expires)
	switch {
	case err == nil:
		c.base.LastSeenAt, c.base.ExpiresAt = t, expires
	case !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound):
		c.m.failed(ctx, c.base.Handle, unavailable("touch", err)) // nothing that the answer depends on
	}
	return nil
}

// first is the record and document of a session that has none: for the first save, and for a login.
func (c *commit) first() (store.Record, document, bool, error) {
	var d document
	if c.m.config.Cookie.Persistent {
		d = document{{permanentKey, c.m.permanentTrue}}
	}
	r := store.Record{Key: c.next.key, Handle: c.next.handle, CreatedAt: c.now.Truncate(time.Millisecond)}
	if c.life == login {
		r.Principal = c.login
	}
	return c.build(r, d)
}

// create stores a new session.
func (c *commit) create(ctx context.Context) error {
	r, d, _, err := c.first()
	if err != nil {
		return err
	}
	if err := c.put(ctx, &r); err != nil {
		return err
	}
	c.base, c.document, c.created = r, d, true
	return nil
}

// put creates r, whose ID nobody has yet: whatever else happens, nothing was changed.
func (c *commit) put(ctx context.Context, r *store.Record) error {
	c.at = c.now
	err := c.m.store.Create(ctx, *r)
	if err == nil {
		return nil
	}
	if now, lookErr := c.m.store.Load(ctx, r.Key); lookErr == nil && now.Version == r.Version {
		return nil
	}
	return unavailable("create", err)
}
