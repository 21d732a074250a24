package session

import (
	"context"
	"errors"
	"time"

	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

// foreign is implemented by a store in another framework's layout.
type foreign interface {
	// Layout returns the framework's name.
	Layout() string
}

// findPolicy sets the policy of the framework whose cookies or store the Manager shares, if there is one.
func (m *Manager) findPolicy(ids IDFormat, codec Codec) error {
	m.policy, _ = ids.(Policy)
	if codec != nil {
		m.policy, _ = codec.(Policy)
	}
	if f, ok := store.As[foreign](m.config.Store); ok && m.policy == nil {
		return errors.New("session: Store has the layout of " + f.Layout() + ", which IDFormat does not belong to; " +
			"set IDFormat to that framework's, such as flask.SID, and Serializer to what it writes")
	}
	if m.policy != nil {
		m.loginKeys = m.policy.LoginKeys()
	}
	return nil
}

// principal returns who is logged in according to the policy.
func (m *Manager) principal(members []Member) string {
	p := m.policy.Principal(func(key string, pointer any) bool {
		ok := false
		for _, member := range members { // of several with one name the last one counts
			if member.Name == key {
				ok = m.serializer.Unmarshal(member.Value, pointer) == nil
			}
		}
		return ok
	})
	if len(p) > store.MaxPrincipal {
		return ""
	}
	return p
}

// policyStore is a store whose layout keeps only documents and their expiry. It derives the principal and the time of
// the last request from them.
type policyStore struct {
	store.Store
	m *Manager
}

func (s policyStore) Load(ctx context.Context, key string) (store.Record, error) {
	return s.loaded(s.Store.Load(ctx, key))
}

// LoadStale implements [store.StaleLoader].
func (s policyStore) LoadStale(ctx context.Context, key string) (store.Record, error) {
	return s.loaded(loadStale(ctx, s.Store, key))
}

func (s policyStore) loaded(r store.Record, err error) (store.Record, error) {
	if err != nil || r.Kind != store.Live {
		return r, err
	}
	if members, err := s.m.serializer.Split(r.Data); err == nil {
		r.Principal = s.m.principal(members)
	}
	if r.LastSeenAt.IsZero() && !r.ExpiresAt.IsZero() {
		// After Lifetime was shortened this lies in the future: then the next refresh is due at once, which stores an
		// expiry by the Lifetime of now. The layout has no other time to judge the session by.
		r.LastSeenAt = r.ExpiresAt.Add(-s.m.config.Lifetime)
		if now := time.Now(); protocol.Ahead(&r, now) {
			r.LastSeenAt = now.Add(-s.m.touchInterval)
		}
	}
	return r, nil
}
