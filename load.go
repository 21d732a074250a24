package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hipflask/session/store"
)

// maxHops bounds the chain of tombstones that a load follows.
const maxHops = 8

// found is what a load saw.
type found struct {
	state    state
	moved    bool         // by a tombstone of Renew: the client has, or will get, the new ID from another response
	record   store.Record // of state live
	document document     // of record, or none after a Login over another principal
	loadedAt time.Time    // when record was last known to be there
}

// find loads the session under key into f, by way of the tombstones that Renew left. A session that is not live has a
// reason.
func (m *Manager) find(parent context.Context, key string, f *found) (reason Reason, err error) {
	*f = found{loadedAt: time.Now()}
	ctx := m.newLoad(parent, f.loadedAt)
	defer ctx.cancel()
	for range maxHops + 1 {
		r, err := m.store.Load(ctx, key)
		if err != nil {
			return m.notFound(f, err) // the record is the tombstone that led here
		}
		f.record = r
		switch f.record.Kind {
		case store.Live:
			members, err := m.serializer.Split(f.record.Data)
			if err != nil {
				m.discard(ctx, &f.record)
				f.record = store.Record{}
				return ReasonUndecodable, nil
			}
			f.state, f.document = live, newDocument(members)
			return "", nil
		case store.Renewed:
			key, f.moved = f.record.MovedTo, true
		case store.Replaced:
			f.state = late
			return ReasonReplaced, nil
		case store.Ended:
			f.state = late
			return ReasonEnded, nil
		default:
			m.discard(ctx, &f.record)
			f.record = store.Record{}
			return ReasonUndecodable, nil
		}
	}
	return "", unavailable("load", fmt.Errorf("more than %d renewals within Grace", maxHops))
}

// notFound is what there is to say of a load that failed.
func (m *Manager) notFound(f *found, err error) (Reason, error) {
	if !errors.Is(err, store.ErrNotFound) {
		return "", unavailable("load", err)
	}
	if expired := (*store.ExpiredError)(nil); errors.As(err, &expired) {
		f.record = expired.Record
		return m.expired(&f.record), nil
	}
	return ReasonUnknown, nil
}

// expired says which of the two times ran out. Of a tombstone that is over nothing is known any more.
func (m *Manager) expired(r *store.Record) Reason {
	switch {
	case r.Kind != store.Live:
		return ReasonUnknown
	case r.ExpiresAt.Before(m.deadline(r)):
		return ReasonIdle
	}
	return ReasonLifetime
}

// discard ends a record that can't be decoded, so that it is reported once and is nobody's permanent failure. In a store
// that is shared with another framework it stays: that one may be able to read it.
func (m *Manager) discard(ctx context.Context, r *store.Record) {
	if m.policy == nil {
		m.store.Replace(ctx, m.retired(r, store.Ended, ""), r.Version)
	}
	m.emit(ctx, Event{Kind: EventUndecodable, Handle: r.Handle, Principal: r.Principal,
		Err: errors.New("session: the record can't be split into its values by Config.Serializer")})
}

// retired is the tombstone that takes r's place. It outlives Grace by StoreTimeout, since a slow store may count from
// before the moment at which it applies the write: a request that loaded the session until then has to meet it.
func (m *Manager) retired(r *store.Record, kind store.Kind, movedTo string) store.Record {
	t := now()
	return store.Record{
		Key:        r.Key,
		Version:    newVersion(),
		Principal:  r.Principal,
		CreatedAt:  r.CreatedAt,
		LastSeenAt: t,
		ExpiresAt:  t.Add(m.config.Grace + m.config.StoreTimeout),
		Kind:       kind,
		MovedTo:    movedTo,
		Handle:     r.Handle,
	}
}

// newSession returns a session with nothing in the store.
func (m *Manager) newSession() *Session { return &Session{m: m, isNew: true} }

// loaded takes what a load put into found, and the token that it was found by. The caller has the session alone.
func (s *Session) loaded(token string) {
	if s.state == live {
		s.isNew, s.token = false, token
		return
	}
	s.record = store.Record{} // of a tombstone, or of a session that has expired
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
	if m.codec != nil {
		return m.loadCookie(s, token)
	}
	key, err := m.ids.Parse(token)
	if err != nil {
		return nil, ErrEnded
	}
	if _, err := m.find(ctx, key, &s.found); err != nil {
		return nil, err
	}
	if s.state != live {
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
	state, key, principal, unsure := s.state, s.record.Key, s.record.Principal, s.unsure
	s.mu.Unlock()
	switch {
	case unsure:
		return s.Err()
	case state == late || state == spent:
		return ErrEnded
	case state != live || s.m.codec != nil:
		return nil
	}
	var f found
	if _, err := s.m.find(ctx, key, &f); err != nil {
		return err
	}
	if f.state != live || f.record.Principal != principal {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end()
		return ErrEnded
	}
	s.mu.Lock()
	f.moved = f.moved || s.moved
	s.mu.Unlock()
	return s.rebase(f, 0)
}

// end makes the session one that has ended. The caller holds mu.
func (s *Session) end() {
	s.state, s.document, s.record, s.token = late, nil, store.Record{Handle: s.record.Handle}, ""
	s.changes = changes{seq: s.changes.seq}
	s.label = nil
	if s.life == renew {
		s.life = keep
	}
	if !replaces(s.err) || mends(s.err) {
		s.err = ErrEnded
	}
}

// rebase puts the session on a newer record, in which its changes up to seq are saved already.
func (s *Session) rebase(f found, seq uint64) error {
	rest, err := s.changedSince(seq, f.document)
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(err)
	}
	s.found, s.changes = f, rest
	return nil
}

// changedSince takes mu, and returns what is left of the session's changes when those up to seq are in d.
func (s *Session) changedSince(seq uint64, d document) (changes, error) {
	for {
		s.mu.Lock()
		if s.changes.seq == seq {
			return changes{seq: seq}, nil
		}
		snapshot := s.changes.snapshot()
		s.mu.Unlock()
		rest, err := snapshot.since(seq, d) // runs the caller's updaters, so without mu
		s.mu.Lock()
		if s.changes.seq == snapshot.seq {
			return rest, err
		}
		s.mu.Unlock()
	}
}
