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

// Info describes a session to its owner, for a page of devices, or to an administrator. It holds no secret.
// [PublicAttribute.Of] reads the public attributes from it.
type Info struct {
	// names the session for [Manager.Revoke]; random, safe to show, kept by Renew, changed by Login
	Handle     string
	Principal  string    // who is logged in; "" for nobody
	Label      string    // the text of [Session.SetLabel]
	CreatedAt  time.Time // when the session was created, or of its last login
	LastSeenAt time.Time // of the last request, as far as it was stored: see [Config.IdleTimeout]
	ExpiresAt  time.Time // when the session expires if there is no further request

	public string // the public attributes, as a JSON object; a string, so that an Info stays comparable
}

// InfoOf describes a record as [Manager.Sessions] and [Manager.All] do. It is for tools that read a [store.Store]
// themselves.
func InfoOf(r store.Record) Info { return info(&r) }

func info(r *store.Record) Info {
	return Info{
		Handle: protocol.HandleOf(r), Principal: r.Principal, Label: r.Label,
		CreatedAt: r.CreatedAt, LastSeenAt: r.LastSeenAt, ExpiresAt: r.ExpiresAt, public: string(r.Public),
	}
}

// Sessions yields the live sessions of a principal, in no particular order, for a page of devices (ASVS 5.0, 7.5.2).
// Sessions that begin or end during the loop may be missing. It reads the store as the loop goes on: a loop that ends
// early reads no further. The body of the loop may call [Manager.Revoke].
//
// The last item may be an error, with a zero Info:
//   - [errors.ErrUnsupported]: the store is no [store.Lister], or there is a [Config.CookieCodec].
//   - [ErrUnavailable]: the store failed, and the list is incomplete.
func (m *Manager) Sessions(ctx context.Context, principal string) iter.Seq2[Info, error] {
	return m.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.Principal(ctx, principal) })
}

// All yields every live session of the store, anonymous ones included, for administration. With a [Config.Realm] it
// leaves out sessions of other realms' principals. It reads the store as the loop goes on, and has the same errors as
// [Manager.Sessions].
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
			if m.engine.Lists(&r, time.Now()) && !yield(info(&r), nil) {
				return
			}
		}
	}
}

func (m *Manager) lister() (store.Lister, error) {
	if m.engine != nil {
		if l, ok := m.index(); ok {
			return l, nil
		}
	}
	return nil, fmt.Errorf("session: this store does not list sessions; if the store wraps another one, "+
		"give it Unwrap: %w", errors.ErrUnsupported)
}

// index returns what lists the sessions of the Manager's realm.
func (m *Manager) index() (store.Lister, bool) {
	l, ok := store.As[store.Lister](m.given)
	if ok && m.realm != "" {
		return realmLister{l, m.realm}, true
	}
	return l, ok
}

// Revoke ends the session of a principal that has the given handle: see [Info]. No request in flight brings it back.
//
// Errors:
//   - [ErrEnded]: the principal has no such session. It has ended already, or belongs to another principal.
//   - [ErrUnavailable], [ErrUncertain]: the store failed. Call it again.
//   - [errors.ErrUnsupported]: as for [Manager.Sessions].
func (m *Manager) Revoke(ctx context.Context, principal, handle string) error {
	n, err := m.revoke(ctx, principal, func(h string) bool { return h == handle })
	if err == nil && n == 0 {
		return ErrEnded
	}
	return err
}

// RevokeAll ends all sessions of a principal ("log out everywhere"; ASVS 5.0, 7.4.2), and returns how many it ended. No
// request in flight brings them back. A concurrent login may be stored after RevokeAll, and stays. Up to 64 sessions
// end concurrently, and the whole call takes at most [Config.StoreTimeout].
//
// Errors:
//   - [ErrUncertain]: the store failed, or StoreTimeout ran out, after the returned number of sessions had been ended;
//     the error's text has the number as well. Others may have ended too. Call it again for the rest.
//   - [ErrUnavailable]: the store failed, and none was ended. Call it again.
//   - [errors.ErrUnsupported]: as for [Manager.Sessions].
func (m *Manager) RevokeAll(ctx context.Context, principal string) (int, error) {
	return m.revoke(ctx, principal, nil)
}

// RevokeOthers saves s under a new ID, and then ends all other sessions of its principal, as after a change of password
// (ASVS 5.0, 7.4.3). It returns how many it ended; none if nobody is logged in. Afterwards no copy of any earlier
// cookie works, not even one of this browser's own.
//
// Call it after the user has been authenticated: whoever holds a copy of the cookie could call it as well, and would
// keep the session. A request in flight with the old ID may store its changes once more. Two devices that call
// RevokeOthers at the same time may end each other, and a concurrent login may be stored after it. The new cookie is
// sent even if an error says that not all others were ended.
//
// The ID is changed only where a cookie can be sent: with [Config.BearerToken], outside a [Manager.Handler] or after
// the first byte of the response, RevokeOthers only ends the other sessions, and a copy of this session's own token
// stays valid.
//
// The errors are those of [Session.Save], after which no session was ended, and those of [Manager.RevokeAll].
func (s *Session) RevokeOthers(ctx context.Context) (int, error) {
	s.mu.Lock()
	if s.view.State == protocol.Spent && s.move != protocol.Login {
		defer s.mu.Unlock()
		s.drop()
		return 0, ErrEnded // this request's ID was retired: it may be the one that was to be put out
	}
	hard := s.m.engine != nil && s.ctx != nil && !s.sealed && !s.m.config.BearerToken && s.currentPrincipal() != ""
	if hard {
		s.harden()
	}
	confirm := !hard && s.currentPrincipal() != "" // else the save finds out whether the session has ended
	s.mu.Unlock()
	if confirm {
		s.io.Lock()
		err := s.confirm(ctx)
		s.io.Unlock()
		if err != nil {
			return 0, err
		}
	}
	if err := s.Save(ctx); err != nil {
		return 0, err
	}
	i := s.Info()
	if i.Principal == "" {
		return 0, nil
	}
	n, err := s.m.revoke(ctx, i.Principal, func(h string) bool { return h != i.Handle })
	if hard && errors.Is(err, ErrUnavailable) {
		err = protocol.Uncertain("end the other sessions", err) // this one has its new ID already
	}
	return n, err
}

// revoke ends the sessions of a principal whose handles are wanted. A nil wanted ends all of them.
func (m *Manager) revoke(ctx context.Context, principal string, wanted func(handle string) bool) (int, error) {
	l, err := m.lister()
	if err != nil {
		return 0, err
	}
	return m.engine.EndPrincipal(ctx, l, principal, wanted, m.onEnd(ctx))
}

// RevokeFunc ends every session for which del returns true, anonymous ones included, and returns how many it ended. It
// is for administration: it reads the list of all sessions, which only ctx bounds. It may call del twice for one
// session, but never concurrently. Sessions that begin meanwhile may be missed. So may sessions that are renewed
// meanwhile, if reading the list takes longer than [Config.Grace]: then call it again.
//
// Errors: those of [Manager.RevokeAll].
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
		e := about(EventRevoked, r, nil)
		e.Actor, _ = ctx.Value(actor{}).(string)
		m.emit(ctx, e)
	}
}
