package session

import (
	"context"
	"errors"
	"strings"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

var (
	errNotSplit = errors.New("session: the record can't be split into its values by Config.Serializer")
	errAhead    = errors.New("session: the record was written by a server whose clock is more than a " +
		"minute ahead, or this one's is behind")
)

// load loads the session of a token into v. It returns a reason if the session is not live, and emits an event if its
// record can't be decoded. stale: it may come from a cache.
func (m *Manager) load(ctx context.Context, token string, stale bool, v *protocol.View) (Reason, error) {
	traced := ctx
	if m.config.Trace != nil {
		traced = m.config.Trace.loadStarts(ctx)
	}
	reason, err := m.keeper.Load(traced, token, stale, v)
	if m.config.Trace != nil {
		m.config.Trace.loadDone(traced, v, reason, err)
	}
	m.noteMissing(ctx, token, reason, v)
	if m.realm == "" && strings.HasPrefix(v.Record.Principal, realmMark) {
		*v = protocol.View{At: v.At} // of a realm that this Manager had before
		reason = protocol.Unknown
	}
	if v.Ahead {
		m.emit(ctx, about(EventClock, &v.Record, errAhead))
	}
	if reason == protocol.Unreadable && m.engine != nil {
		m.emit(ctx, about(EventUndecodable, &v.Record, errNotSplit))
		v.Record = store.Record{}
	}
	return Reason(reason), err
}

// loaded completes a session whose view was loaded by token. Nobody else uses the session yet.
func (s *Session) loaded(token string) {
	if s.view.State == protocol.Live {
		s.isNew, s.token = false, token
		return
	}
	s.view.Record = store.Record{} // of a tombstone, or of a session that has expired
}

// Load returns the session of a token outside a [Manager.Handler], such as in a gRPC call or a job. The token is the
// one of [Session.Token]; "" gives a new session. [Session.Save] stores changes, and [Manager.Cookie] returns the
// cookie to send then, if any. Load doesn't count as activity for [Config.IdleTimeout]. It is safe for concurrent use:
// each call returns a Session of its own.
//
// Errors:
//   - [ErrEnded]: the token is forged or unknown, or its session has ended.
//   - [ErrUnavailable]: the store can't be reached within [Config.StoreTimeout], or ctx has ended.
func (m *Manager) Load(ctx context.Context, token string) (*Session, error) {
	s := m.newSession()
	if token == "" {
		return s, nil
	}
	if _, err := m.load(ctx, token, false, &s.view); err != nil {
		return nil, err
	}
	if s.view.State != protocol.Live {
		return nil, ErrEnded
	}
	s.loaded(token)
	return s, nil
}

// Reload loads the session again and keeps changes that are not saved yet. Long-lived handlers, such as for a
// WebSocket, call it to see the changes of other requests, and to notice a logout. It doesn't count as activity for
// [Config.IdleTimeout]. For a session that was never saved it does nothing. With a [Config.CookieCodec] there is no
// newer state than the cookie's.
//
// Reload follows a [Session.Renew] by another request, if the session was loaded, saved or reloaded less than
// [Config.Grace] before.
//
// Errors:
//   - [ErrEnded]: the session was logged out, revoked, replaced by a login, or has expired. It reads empty from then
//     on.
//   - [ErrUnavailable]: the store can't be reached, or ctx has ended. The session stays as it was; try again.
//   - [ErrUncertain]: an earlier save failed with it. Load the session anew.
func (s *Session) Reload(ctx context.Context) error {
	s.io.Lock()
	defer s.io.Unlock()
	return s.reload(ctx)
}

// confirm loads the session again if it came from a cache, for what can't bear that. The caller holds io.
func (s *Session) confirm(ctx context.Context) error {
	s.mu.Lock()
	stale, handle := s.view.Stale && s.view.State == protocol.Live && !s.unsure, s.view.Record.Handle
	s.mu.Unlock()
	if !stale {
		return nil
	}
	err := s.reload(ctx)
	switch {
	case err == ErrEnded:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.event(EventDropped, ErrEnded)
	case err != nil:
		s.m.failed(s.context(), handle, err)
	}
	return err
}

// reload implements Reload. The caller holds io.
func (s *Session) reload(ctx context.Context) error {
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
	if err := s.m.reload(ctx, &before, &now); err != nil {
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

func (m *Manager) reload(ctx context.Context, v, now *protocol.View) error {
	if m.config.Trace == nil {
		return m.keeper.Reload(ctx, v, now)
	}
	ctx = m.config.Trace.loadStarts(ctx)
	err := m.keeper.Reload(ctx, v, now)
	m.config.Trace.loadDone(ctx, now, "", err)
	return err
}

// end turns the session into one that has ended. The caller holds mu.
func (s *Session) end() {
	s.view = protocol.View{State: protocol.Late, Record: store.Record{Handle: s.view.Record.Handle}, At: s.view.At}
	s.token, s.label = "", nil
	s.changes = document.Changes{Seq: s.changes.Seq}
	if s.move != protocol.Login {
		s.move, s.auth = protocol.Stay, nil
	}
	if !replaces(s.err) || mends(s.err) {
		s.err = ErrEnded
	}
}

// rebase makes v the session's view. Its changes up to seq are part of v already.
func (s *Session) rebase(v protocol.View, seq uint64) error {
	rest, err := s.changedSince(seq, v.Document)
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(err)
	}
	s.view, s.changes = v, rest
	return nil
}

// changedSince returns the session's changes after seq, applied to d, which holds those up to seq. It returns with mu
// held.
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
