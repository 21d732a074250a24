package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

// Save stores the changes now. Inside a [Manager.Handler] it is necessary only for streams, handlers that live long,
// and those that want the error; outside one, nothing else stores them. Without changes it does nothing. If ctx is
// cancelled, Save goes on for at most [Config.StoreTimeout].
//
// If a new cookie is needed, the Handler sends it with the response's header. Outside a Handler [Manager.Cookie]
// returns it.
//
// Errors:
//   - [ErrEnded]: the session has ended, and the changes are dropped.
//   - [ErrUnavailable]: nothing was stored. The changes are kept, so Save may be called again.
//   - [ErrUncertain]: the changes may have been stored. This Session stores nothing more, and the request fails with
//     this error. Outside a request, load the session again.
//   - [ErrTooLate]: the changes need a new cookie, but the response's header has been sent. They are dropped.
//   - [ErrCrossSite]: the request came from another site, and the browser may have withheld its cookie. The changes are
//     dropped.
//   - [ErrTooLarge]: the session is too large. Nothing was stored; Save again after removing values.
//   - Any other error is about an earlier call, such as a value that can't be encoded: see [Session.Err].
func (s *Session) Save(ctx context.Context) error { return s.save(ctx, false) }

// save implements Save. last says that no cookie can be sent from now on.
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
	return s.persist(ctx)
}

// delivery is how a cookie reaches the client.
type delivery uint8

const (
	byHeader delivery = iota
	hijacked          // not at all: a hijacked connection gets no header
	behind            // not at all: a handler has sent the header by a writer below ours
)

// commit is the last save that can send a cookie. Without a header nothing is stored that needs a cookie.
func (s *Session) commit(how delivery) (*cookieChange, error) {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	s.sealed, s.behind = false, how == behind
	if how != byHeader {
		s.seal()
	}
	idle, err := s.idle()
	if !idle {
		s.mu.Unlock()
		err = s.persist(s.context()) // an Update's function may panic in it
		s.mu.Lock()
	}
	s.seal()
	cookie := s.cookie
	if how == byHeader && cookie != nil && cookie.value != "" && replaces(err) {
		s.mu.Unlock()
		return nil, err // the cookie goes with the response that takes the handler's place: see [exchange.Fail]
	}
	s.cookie = nil
	s.mu.Unlock()
	if how == byHeader || cookie == nil || s.m.config.BearerToken {
		return cookie, err
	}
	if cookie.value != "" || s.m.engine == nil { // else a Logout, which needs no cookie
		s.undelivered(cookie)
	}
	return nil, err
}

// undelivered is for a cookie of an earlier Save that the client doesn't get. What nobody can have is ended, unless the
// handler can still tell the client the token, as over a hijacked connection. The caller holds io.
func (s *Session) undelivered(cookie *cookieChange) {
	s.mu.Lock()
	s.err = ErrTooLate
	s.event(EventTooLate, s.late())
	created := s.behind && cookie.created && s.m.engine != nil && s.view.State == protocol.Live
	v := s.view
	if created {
		s.end()
		s.err = ErrTooLate
	}
	s.mu.Unlock()
	if !created {
		return
	}
	if _, err := s.m.keeper.End(s.context(), &v); err != nil {
		s.m.failed(s.context(), v.Record.Handle, err)
	}
}

// late says why it is too late for a cookie. The caller holds mu.
func (s *Session) late() error {
	if s.behind {
		return errBehind
	}
	return ErrTooLate
}

// pendingCookie returns the cookie that sets an ID of which the client doesn't know yet, once; nil: there is none.
func (s *Session) pendingCookie() *cookieChange {
	s.mu.Lock()
	defer s.mu.Unlock()
	cookie := s.cookie
	s.cookie = nil
	if cookie == nil || cookie.value == "" {
		return nil
	}
	return cookie
}

// seal notes that no cookie can be sent from now on. With bearer tokens none is needed. The caller holds mu.
func (s *Session) seal() {
	s.sealed = !s.m.config.BearerToken
	if s.aging && s.move == protocol.Renew {
		s.move, s.next = protocol.Stay, nil // another request does it
	}
}

// idle reports whether a save has nothing to do, as in most requests, or can't do anything. err is what that save
// returns. The caller holds mu.
func (s *Session) idle() (bool, error) {
	if s.over {
		return true, nil
	}
	if s.unsure { // rule: UncertainOnce
		return true, s.err // what was changed may be stored already: another save could apply an Update twice
	}
	if s.view.State == protocol.Failed || replaces(s.err) && !mends(s.err) {
		return true, s.err
	}
	if s.ending != nil || s.move != protocol.Stay || !s.changes.Empty() || s.label != nil || s.touchDue() {
		return false, nil
	}
	return true, s.lasting()
}

// active reports whether the request counts for the idle timeout. The caller holds mu.
func (s *Session) active() bool { return s.isActive && !s.peeked }

// touchDue reports whether the time of the last request has to be stored. The caller holds mu.
func (s *Session) touchDue() bool {
	if s.view.State != protocol.Live || !s.active() || s.m.touchPersistent && !s.isPersistent() {
		return false
	}
	if s.view.Ahead {
		return true
	}
	unseen := s.view.At.Sub(s.view.Record.LastSeenAt) // by then
	return time.Since(s.view.At) >= s.m.touchInterval-unseen
}

// lasting returns the earlier error that this save returns as well. ErrTooLate and ErrCrossSite concerned only the
// changes that were dropped then. The caller holds mu.
func (s *Session) lasting() error {
	if s.err == ErrTooLate || s.err == ErrCrossSite {
		return nil
	}
	return s.err
}

// lost reports whether the changes would begin a session whose cookie takes the place of one that the browser kept
// back. Only a Login may do that. The caller holds mu.
func (s *Session) lost() bool {
	return s.withheld && s.move != protocol.Login && s.view.State == protocol.Fresh && s.changes.Begin()
}

// dropCrossSite drops changes that a request of another site made, and reports that once. The caller holds mu.
func (s *Session) dropCrossSite() error {
	if s.err == nil {
		s.err = ErrCrossSite
		s.m.emit(s.context(), Event{Kind: EventDropped, Reason: ReasonCrossSite, Key: s.changes.SomeName(),
			Err: ErrCrossSite})
	}
	s.changes, s.label = document.Changes{Seq: s.changes.Seq}, nil
	return s.err
}

// mends reports whether a later save that succeeds resets err.
func mends(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain) || errors.Is(err, ErrTooLarge)
}

// persist saves a session that has something to save. The caller holds io.
func (s *Session) persist(ctx context.Context) error {
	ended, err := s.saveEnd(ctx)
	if err != nil {
		return err
	}
	c, err := s.plan()
	if c == nil {
		return err
	}
	v, err := s.m.keep(ctx, c)
	if ended && errors.Is(err, ErrUnavailable) {
		err = protocol.Uncertain("save after Logout", err) // the old session is gone already
	}
	return s.finish(c, v, err)
}

// saveEnd ends the stored session after Logout.
func (s *Session) saveEnd(ctx context.Context) (ended bool, err error) {
	s.mu.Lock()
	e, sealed := s.ending, s.sealed
	s.mu.Unlock()
	switch {
	case e == nil:
		return false, nil
	case sealed && s.m.keeper.NeedsCookie(&protocol.Change{Base: e, Move: protocol.Logout, Sealed: true}):
		return false, s.tooLate(&e.Record)
	}
	forget, err := s.m.end(ctx, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		s.m.failed(s.context(), e.Record.Handle, err)
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
	s.m.emit(s.context(), about(EventLogout, &e.Record, nil))
	return true, nil
}

var noSession protocol.View

// plan returns the change to save. If it is nil, there is none, and Save returns the error.
func (s *Session) plan() (*protocol.Change, error) {
	s.mu.Lock()
	move, state := s.pendingMove(), s.view.State
	changed := !s.changes.Empty() || s.label != nil
	switch {
	case s.lost():
		defer s.mu.Unlock()
		return nil, s.dropCrossSite()
	case move != protocol.Stay:
	case state == protocol.Fresh && s.changes.Begin():
	case state == protocol.Live && changed:
	case s.touchDue():
	default:
		defer s.mu.Unlock()
		s.move = move
		return nil, s.lasting()
	}
	c := &protocol.Change{
		Base: &s.view, Values: s.changes.Snapshot(), Label: s.label,
		Move: move, Auth: s.auth, Active: s.active(), Sealed: s.sealed,
	}
	if move == protocol.Login && state != protocol.Live {
		c.Base = &noSession // beside the session of a concurrent login, if there is one, not in its place
	}
	if s.choose() {
		c.Next = s.next
	}
	s.mu.Unlock()
	if c.Sealed && s.m.keeper.NeedsCookie(c) { // may run functions of an Update
		return nil, s.tooLate(&s.view.Record)
	}
	return c, nil
}

// tooLate drops changes of the session of r that need a cookie, since the header has been sent. The caller holds io.
func (s *Session) tooLate(r *store.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !replaces(s.err) {
		s.err = ErrTooLate
	}
	e := about(EventTooLate, r, s.late())
	e.Key = s.changes.SomeName()
	s.m.emit(s.context(), e)
	s.changes, s.label = document.Changes{Seq: s.changes.Seq}, nil
	s.move, s.auth, s.next, s.ending = protocol.Stay, nil, nil, nil
	return s.err
}

// finish updates the session after the keeper has saved c, or failed to. v is the session's new view.
func (s *Session) finish(c *protocol.Change, v protocol.View, err error) error {
	crossed := c.Fate == protocol.Crossed // rule: Spent
	if err == nil && c.Fate != protocol.Dropped && !crossed {
		err = s.rebase(v, c.Values.Seq)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(c)
	switch {
	case err != nil:
		s.next = nil // nobody has that ID; another try takes a fresh one
		s.unsure = errors.Is(err, ErrUncertain)
		s.err = err
		s.m.failed(s.context(), s.view.Record.Handle, err)
		return err
	case c.Fate == protocol.Dropped:
		s.event(EventDropped, ErrEnded)
		s.end()
		return ErrEnded
	case crossed:
		// the client keeps the view that it has: the login's values are not shown, nor the elevation
		s.view.State = protocol.Spent
	}
	if s.label == c.Label {
		s.label = nil
	}
	if mends(s.err) {
		s.err = nil
	}
	switch {
	case c.Fate == protocol.Created:
		s.created(c)
	case s.move == c.Move, s.move == protocol.Renew:
		s.move, s.auth, s.next = protocol.Stay, nil, nil
	}
	if c.Overtaken {
		s.end()
		return ErrEnded
	}
	s.send(c)
	if c.Excess != nil { // the session is there all the same, and its cookie is sent: the old ID is retired
		s.unsure, s.err = true, c.Excess
		s.m.failed(s.context(), s.view.Record.Handle, c.Excess)
	}
	return s.lasting()
}

// created updates the session after a save under a new ID. The caller holds mu.
func (s *Session) created(c *protocol.Change) {
	if s.err == ErrEnded {
		s.err = nil // there is a session again
	}
	if s.next == c.Next {
		s.move, s.auth, s.next = protocol.Stay, nil, nil
	}
	kind := EventCreated
	switch {
	case c.Move == protocol.Login:
		kind = EventLogin
	case c.Move == protocol.Hard && c.Auth != nil:
		kind = EventElevated
	case c.Move != protocol.Stay:
		kind = EventRenewed
	}
	e := about(kind, &s.view.Record, nil)
	if kind != EventRenewed {
		e.Reason, e.Err = s.rejected, s.m.hints[s.rejected]
		s.rejected = ""
	}
	s.m.emit(s.context(), e)
}

// send decides which cookie the response gets. It follows the last step of the protocol. The caller holds mu.
func (s *Session) send(c *protocol.Change) {
	switch { // rule: NoExtend
	case c.Token != "":
		s.token = c.Token
		persistent := s.isPersistent()
		created := c.Move != protocol.Renew || s.cookie != nil && s.cookie.created
		s.cookie = &cookieChange{c.Token, persistent, s.m.deadline(&s.view.Record, persistent), created}
	case c.Fate == protocol.Emptied:
		s.token, s.cookie = "", &cookieChange{}
	}
}

// report emits an event for each note of a save. The caller holds mu.
func (s *Session) report(c *protocol.Change) {
	for _, n := range c.Notes {
		e := Event{Kind: EventUndecodable, Handle: n.Handle, Principal: n.Principal, Label: n.Label, Err: errNotSplit}
		switch n.Kind {
		case protocol.TouchFailed:
			e.Kind, e.Err = EventUnavailable, n.Err
		case protocol.AttributesLeft:
			e.Kind, e.Key, e.Err = EventDropped, n.Name, n.Err
		case protocol.LimitEnded:
			e.Kind, e.Reason, e.Err = EventRevoked, ReasonMaxSessions, nil
		}
		s.m.emit(s.context(), e)
	}
}

// take removes key from the store at once, and returns its value if this call removed it.
func (s *Session) take(ctx context.Context, key string) (data []byte, ok bool, err error) {
	if s.m.engine == nil {
		return nil, false, fmt.Errorf("session: Take needs a Store: %w", errors.ErrUnsupported)
	}
	if err := checkName(key); err != nil {
		return nil, false, fmt.Errorf("session: key %q can't be taken: %w", key, err)
	}
	if s.m.policy != nil && key == s.m.policy.UserKey() {
		return nil, false,
			fmt.Errorf("session: key %q can't be taken, since it names the user: use Delete or Logout", key)
	}
	s.io.Lock()
	defer s.io.Unlock()
	if err := s.confirm(ctx); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	if s.view.State == protocol.Failed || s.unsure {
		defer s.mu.Unlock()
		return nil, false, s.err
	}
	if s.view.State == protocol.Spent && s.move != protocol.Login {
		defer s.mu.Unlock()
		s.drop()
		return nil, false, ErrEnded // what the client saw before is the principal's now
	}
	data, ok = s.changes.Get(s.view.Document, key)
	scrubbed := s.move == protocol.Login && len(s.view.Document) == 0 // what is stored is somebody else's
	if !ok || s.view.State != protocol.Live || scrubbed {
		if ok && s.writable() {
			s.changes.Put(s.view.Document, key, nil, false) // never stored, so nobody else can have it
		}
		s.mu.Unlock()
		return data, ok, nil
	}
	// What this request did to the key so far goes with it; other changes wait for the save.
	c := &protocol.Change{Base: &s.view, Active: s.active(),
		Take: true, Values: s.changes.Take(s.view.Document, key, func(value []byte, present bool) {
			data, ok = value, present
		})}
	seq, handle := c.Values.Seq, s.view.Record.Handle
	s.mu.Unlock()

	v, err := s.m.keep(ctx, c)
	s.mu.Lock()
	s.report(c)
	switch {
	case err != nil:
		defer s.mu.Unlock()
		s.m.failed(s.context(), handle, err)
		return nil, false, err
	case c.Fate == protocol.Dropped:
		defer s.mu.Unlock()
		s.event(EventDropped, ErrEnded)
		s.end()
		return nil, false, ErrEnded
	}
	s.changes.Taken(key, seq)
	s.mu.Unlock()
	return data, ok, s.rebase(v, 0)
}
