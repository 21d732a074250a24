package session

import (
	"context"
	"errors"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

var errNotSplit = errors.New("session: the record can't be split into its values by Config.Serializer")

// load reads the session of a token into v, and reports a stored one that can't be decoded. A session that is not live has
// a reason.
func (m *Manager) load(ctx context.Context, token string, v *protocol.View) (Reason, error) {
	reason, err := m.keeper.Load(ctx, token, v)
	if reason == protocol.Unreadable && m.engine != nil {
		m.emit(ctx, Event{Kind: EventUndecodable, Handle: v.Record.Handle, Principal: v.Record.Principal, Err: errNotSplit})
		v.Record = store.Record{}
	}
	return Reason(reason), err
}

// loaded takes what a load put into view, and the token that it was found by. The caller has the session alone.
func (s *Session) loaded(token string) {
	if s.view.State == protocol.Live {
		s.isNew, s.token = false, token
		return
	}
	s.view.Record = store.Record{} // of a tombstone, or of a session that has expired
}

// Load returns the session of a token, outside HTTP: in a WebSocket, a gRPC call, a job. "" gives a new session. The
// time of its last activity does not move. Save stores changes.
//
// Errors: ErrEnded: the token is unknown, forged, or its session has ended; ErrUnavailable: the store failed.
func (m *Manager) Load(ctx context.Context, token string) (*Session, error) {
	s := m.newSession()
	if token == "" {
		return s, nil
	}
	if _, err := m.load(ctx, token, &s.view); err != nil {
		return nil, err
	}
	if s.view.State != protocol.Live {
		return nil, ErrEnded
	}
	s.loaded(token)
	return s, nil
}

// Reload reads the session again and keeps changes that are not saved yet: for handlers that live long, such as a
// WebSocket's, to notice a logout. The time of the last activity does not move.
//
// It follows a Renew of another request if it is called within Grace of the load or Reload before.
//
// Errors: ErrEnded: logged out, revoked, replaced by a login, or expired; the session reads empty from then on.
// ErrUnavailable: the store failed; the session stays as it was. ErrUncertain: so did a save before. A session that was never saved has nothing to reload:
// nil.
func (s *Session) Reload(ctx context.Context) error {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	before, unsure := s.view, s.unsure
	s.mu.Unlock()
	switch {
	case unsure:
		return s.Err()
	case before.State == protocol.Late || before.State == protocol.Spent:
		return ErrEnded
	case before.State != protocol.Live:
		return nil
	}
	var now protocol.View
	if err := s.m.keeper.Reload(ctx, &before, &now); err != nil {
		return err
	}
	if now.State != protocol.Live || now.Record.Principal != before.Record.Principal {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end()
		return ErrEnded
	}
	now.Moved = now.Moved || before.Moved
	return s.rebase(now, 0)
}

// end makes the session one that has ended. The caller holds mu.
func (s *Session) end() {
	s.view = protocol.View{State: protocol.Late, Record: store.Record{Handle: s.view.Record.Handle}, At: s.view.At}
	s.token, s.label = "", nil
	s.changes = document.Changes{Seq: s.changes.Seq}
	if s.move == protocol.Renew {
		s.move = protocol.Stay
	}
	if !replaces(s.err) || mends(s.err) {
		s.err = ErrEnded
	}
}

// rebase puts the session on a newer view, in which its changes up to seq are saved already.
func (s *Session) rebase(v protocol.View, seq uint64) error {
	rest, err := s.changedSince(seq, v.Document)
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(err)
	}
	s.view, s.changes = v, rest
	return nil
}

// changedSince takes mu, and returns what is left of the session's changes when those up to seq are in d.
func (s *Session) changedSince(seq uint64, d document.Document) (document.Changes, error) {
	for {
		s.mu.Lock()
		if s.changes.Seq == seq {
			return document.Changes{Seq: seq}, nil
		}
		snapshot := s.changes.Snapshot()
		s.mu.Unlock()
		rest, err := snapshot.Since(seq, d) // runs the caller's updaters, so without mu
		s.mu.Lock()
		if s.changes.Seq == snapshot.Seq {
			return rest, err
		}
		s.mu.Unlock()
	}
}
