package session

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hipflask/session/store"
)

// Policy is what a Codec or an IDFormat implements to follow the rules of another framework, whose cookies, or whose
// store, it shares. Sessions count their life from their last change or renewal then, and IdleTimeout does not apply.
type Policy interface {
	// Lifetime is asked once, by New, with Config.Lifetime, zero if that is not set. It returns how long a session lives
	// from its last change, and after how much of that a request that looks at the session renews it: the cookie of a
	// persistent session with a Codec, else the time left in the store.
	Lifetime(configured time.Duration) (lifetime, refresh time.Duration)

	// Login returns the values that a Login of principal sets.
	Login(principal string) map[string]any

	// Principal is the reverse: it returns who is logged in, by the session's values, "" for nobody. get decodes the
	// value of a key into what pointer points to; false: absent, or not of that type.
	Principal(get func(key string, pointer any) bool) string

	// CheckCookie refuses a cookie that must not be sent.
	CheckCookie(*http.Cookie) error
}

// foreign is implemented by a store in another framework's layout.
type foreign interface {
	// Layout returns the framework's name.
	Layout() string
}

// follow lets the policy of the cookie's framework, if there is one, decide about times and principals.
func (m *Manager) follow(configured time.Duration) error {
	m.policy, _ = m.ids.(Policy)
	if m.codec != nil {
		m.policy, _ = m.codec.(Policy)
	}
	if f, ok := m.store.(foreign); ok && m.policy == nil {
		return errors.New("session: Store has the layout of " + f.Layout() + ", which IDFormat does not belong to; " +
			"set IDFormat to that framework's, such as flask.SID, and Serializer to what it writes")
	}
	if m.policy == nil {
		return nil
	}
	m.config.Lifetime, m.touchInterval = m.policy.Lifetime(configured)
	m.config.IdleTimeout = m.config.Lifetime
	if m.store != nil {
		m.store = policyStore{m.store, m}
	}
	return nil
}

// principal asks the policy who is logged in.
func (m *Manager) principal(members []Member) string {
	p := m.policy.Principal(func(key string, pointer any) bool {
		ok := false
		for _, member := range members { // of a name that is there twice the last counts
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

// policyStore adds to the records of a layout that keeps only documents and their expiry what these imply.
type policyStore struct {
	store.Store
	m *Manager
}

func (s policyStore) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.Store.Load(ctx, key)
	if err != nil || r.Kind != store.Live {
		return r, err
	}
	if members, err := s.m.serializer.Split(r.Data); err == nil {
		r.Principal = s.m.principal(members)
	}
	if r.LastSeenAt.IsZero() && !r.ExpiresAt.IsZero() {
		r.LastSeenAt = r.ExpiresAt.Add(-s.m.config.Lifetime)
	}
	return r, nil
}

// bare returns the store with all the methods that it has.
func (m *Manager) bare() store.Store {
	if s, ok := m.store.(policyStore); ok {
		return s.Store
	}
	return m.store
}
