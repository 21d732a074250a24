package session

import (
	"reflect"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

// This file is what the Config's timeouts mean for a session.

// setTimes sets how old the stored time of the last request may become. Storing it costs a write, so not every request
// does. Lists of sessions need it to the minute, and a short IdleTimeout to a quarter of it. lifetime is
// Config.Lifetime as it was given.
func (m *Manager) setTimes(lifetime time.Duration) {
	if m.policy != nil {
		m.config.Lifetime, m.touchInterval = m.policy.Lifetime(lifetime)
		m.config.IdleTimeout = m.config.Lifetime
		return
	}
	for i, idle := range []time.Duration{m.config.IdleTimeout, m.config.PersistentIdleTimeout} {
		if every := max(idle/20, min(time.Minute, idle/4)); i == 0 || every < m.touchInterval {
			m.touchInterval = every
		}
	}
	if m.config.CookieCodec == nil && !m.config.BearerToken && m.config.PersistentLifetime > maxMaxAge {
		m.renewAge = maxMaxAge - min(max(m.config.PersistentIdleTimeout, minRenewAge), maxMaxAge-minRenewAge)
	}
}

// minRenewAge is the least time between two renewals for the sake of the cookie's Max-Age, and the least time that is
// left of it at such a renewal.
const minRenewAge = 35 * 24 * time.Hour

// outlives reports whether the session of v needs a new ID, because it may live for longer than the browser keeps the
// cookie of this one: nothing else sends a cookie with another Max-Age.
func (m *Manager) outlives(v *protocol.View) bool {
	if m.renewAge == 0 || v.State != protocol.Live || v.At.Sub(v.Record.CreatedAt) < m.renewAge ||
		!m.persistentIn(v.Document) {
		return false
	}
	issued := v.Record.CreatedAt
	if data, ok := v.Document.Get(document.Issued); ok {
		seconds := int64(0)
		if m.serializer.Unmarshal(data, &seconds) == nil {
			issued = time.Unix(seconds, 0)
		}
	}
	return v.At.Sub(issued) >= m.renewAge && m.deadline(&v.Record, true).After(issued.Add(maxMaxAge))
}

// issued returns the value of document.Issued.
func (m *Manager) issued(at time.Time) ([]byte, error) { return m.serializer.Marshal(at.Unix()) }

// expiry returns when a session expires that is not used again.
func (m *Manager) expiry(created, seen time.Time, persistent bool) time.Time {
	if m.policy != nil {
		return seen.Add(m.config.Lifetime)
	}
	end, idle := created.Add(m.lifetime(persistent)), seen.Add(m.config.IdleTimeout)
	if persistent {
		idle = seen.Add(m.config.PersistentIdleTimeout)
	}
	if idle.Before(end) {
		return idle
	}
	return end
}

// deadline returns when a session expires even if it is used.
func (m *Manager) deadline(r *store.Record, persistent bool) time.Time {
	if m.policy != nil {
		return r.LastSeenAt.Add(m.config.Lifetime)
	}
	return r.CreatedAt.Add(m.lifetime(persistent))
}

func (m *Manager) lifetime(persistent bool) time.Duration {
	if persistent {
		return m.config.PersistentLifetime
	}
	return m.config.Lifetime
}

// persistent reports whether a session with that encoded value of the name document.Permanent is persistent. there is
// false if it has none.
func (m *Manager) persistent(data []byte, there bool) bool {
	if !there {
		return m.config.Cookie.Persistent && m.policy == nil
	}
	var p bool
	if m.serializer.Unmarshal(data, &p) == nil || m.policy == nil {
		return p
	}
	var other any
	return m.serializer.Unmarshal(data, &other) == nil && truthy(reflect.ValueOf(other))
}

// truthy reports whether Python takes v for true.
func truthy(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() > 0
	}
	return v.IsValid() && !v.IsZero()
}

func (m *Manager) persistentIn(d document.Document) bool {
	return m.persistent(d.Get(document.Permanent))
}
