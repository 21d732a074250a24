package session

import (
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/store"
)

// This file is what the Config's timeouts mean for a session.

// setTimes sets how old the stored time of the last request may become. Storing it costs a write, so not every request does.
// Lists of sessions need it to the minute, and a short IdleTimeout to a quarter of it. lifetime is Config.Lifetime as it was
// given.
func (m *Manager) setTimes(lifetime time.Duration) {
	if m.policy != nil {
		m.config.Lifetime, m.touchInterval = m.policy.Lifetime(lifetime)
		m.config.IdleTimeout = m.config.Lifetime
		return
	}
	idle := m.config.IdleTimeout
	m.touchInterval = max(idle/20, min(time.Minute, idle/4))
}

// expiry returns when a session expires that is not used again.
func (m *Manager) expiry(created, seen time.Time, persistent bool) time.Time {
	if m.policy != nil {
		return seen.Add(m.config.Lifetime)
	}
	end := created.Add(m.config.Lifetime)
	if idle := seen.Add(m.config.IdleTimeout); !persistent && idle.Before(end) {
		return idle
	}
	return end
}

// deadline returns when a session expires even if it is used.
func (m *Manager) deadline(r *store.Record, persistent bool) time.Time {
	if m.policy != nil {
		return r.LastSeenAt.Add(m.config.Lifetime)
	}
	return r.CreatedAt.Add(m.config.Lifetime)
}

// persistent reports whether a session with that encoded value of the name document.Permanent is persistent. there is false
// if it has none.
func (m *Manager) persistent(data []byte, there bool) bool {
	if !there {
		return m.config.Cookie.Persistent && m.policy == nil
	}
	var p bool
	return m.serializer.Unmarshal(data, &p) == nil && p
}

func (m *Manager) persistentIn(d document.Document) bool {
	return m.persistent(d.Get(document.Permanent))
}
