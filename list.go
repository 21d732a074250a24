package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

// Info describes a session to its owner or to an administrator.
type Info struct {
	Handle     string    // names the session in Revoke; random, safe to show, kept by Renew
	Principal  string    // who is logged in, "" for nobody
	Label      string    // what SetLabel said
	CreatedAt  time.Time // creation, or the last login
	LastSeenAt time.Time // to a twentieth of IdleTimeout
	ExpiresAt  time.Time // if there is no further request

	public string // the public attributes, as a JSON object; a string, so that an Info stays comparable
}

// InfoOf describes a record as Sessions and All do, for tools that read a store themselves.
func InfoOf(r store.Record) Info { return info(&r) }

func info(r *store.Record) Info {
	return Info{
		Handle: protocol.HandleOf(r), Principal: r.Principal, Label: r.Label,
		CreatedAt: r.CreatedAt, LastSeenAt: r.LastSeenAt, ExpiresAt: r.ExpiresAt, public: string(r.Public),
	}
}

// Sessions yields the live sessions of a principal, for "your devices". It streams: a loop that ends early reads no
// further. Its body may call Revoke. The last item may be an error: errors.ErrUnsupported if the store has no index by
// principal, else ErrUnavailable.
func (m *Manager) Sessions(ctx context.Context, principal string) iter.Seq2[Info, error] {
	return m.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.Principal(ctx, principal) })
}

// All yields every live session, for administration. It streams, as Sessions does, and has the same errors.
func (m *Manager) All(ctx context.Context) iter.Seq2[Info, error] {
	return m.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.All(ctx) })
}

func (m *Manager) list(records func(store.Lister) iter.Seq2[store.Record, error]) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		l, err := m.lister()
		if err != nil {
			yield(Info{}, err)
			return
		}
		for r, err := range records(l) {
			if err != nil {
				yield(Info{}, protocol.Unavailable("list", err))
				return
			}
			if r.Kind == store.Live && !yield(info(&r), nil) {
				return
			}
		}
	}
}

func (m *Manager) lister() (store.Lister, error) {
	if m.engine != nil {
		if l, ok := store.As[store.Lister](m.given); ok {
			return l, nil
		}
	}
	return nil, fmt.Errorf("session: this store does not list sessions; if the store wraps another one, give it Unwrap: %w", errors.ErrUnsupported)
}

// Revoke ends the session of a principal that has the given handle.
//
// Errors: ErrEnded: there is none, or it is another principal's. ErrUncertain, ErrUnavailable: the store failed.
// errors.ErrUnsupported: it has no index.
func (m *Manager) Revoke(ctx context.Context, principal, handle string) error {
	n, err := m.revoke(ctx, principal, func(h string) bool { return h == handle })
	if err == nil && n == 0 {
		return ErrEnded
	}
	return err
}

// RevokeAll ends all sessions of a principal, "log out everywhere", and returns how many it ended. A login that is under
// way at the same time may come after it.
//
// Errors: ErrUncertain, ErrUnavailable: the store failed when that many had been ended; call it again.
// errors.ErrUnsupported: the store has no index.
func (m *Manager) RevokeAll(ctx context.Context, principal string) (int, error) {
	return m.revoke(ctx, principal, nil)
}

// RevokeOthers saves s, and then ends all other sessions of its principal, for a changed password. It returns how many
// it ended; without a principal that is none. Its errors are those of Save and RevokeAll.
func (s *Session) RevokeOthers(ctx context.Context) (int, error) {
	if err := s.Save(ctx); err != nil {
		return 0, err
	}
	i := s.Info()
	if i.Principal == "" {
		return 0, nil
	}
	return s.m.revoke(ctx, i.Principal, func(h string) bool { return h != i.Handle })
}

// revoke ends those sessions of a principal whose handles are wanted; nil: all.
func (m *Manager) revoke(ctx context.Context, principal string, wanted func(handle string) bool) (int, error) {
	l, err := m.lister()
	if err != nil {
		return 0, err
	}
	return m.engine.EndPrincipal(ctx, l, principal, wanted, m.onEnd(ctx))
}

// RevokeFunc ends all sessions for which del returns true, whoever's they are, anonymous ones included, and returns how
// many it ended: for administration, not for what a user asks for himself. It reads the list of all sessions, and may
// ask del twice about one. Sessions that begin meanwhile may be missed, and so may be those that are renewed meanwhile
// if reading the list takes longer than Grace: call it again then.
//
// Errors: as of RevokeAll.
func (m *Manager) RevokeFunc(ctx context.Context, del func(Info) bool) (int, error) {
	l, err := m.lister()
	if err != nil {
		return 0, err
	}
	return m.engine.EndFound(ctx, l.All(ctx), func(r *store.Record) bool { return del(info(r)) }, m.onEnd(ctx))
}

func (m *Manager) onEnd(ctx context.Context) protocol.OnEnd {
	return func(r *store.Record, err error) {
		if err != nil {
			m.failed(ctx, r.Handle, err)
			return
		}
		m.emit(ctx, Event{Kind: EventRevoked, Handle: r.Handle, Principal: r.Principal})
	}
}
