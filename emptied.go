package session

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/internal/protocol"
)

// missing notices a store that has none of the sessions that clients ask for: emptied, or another one than before. To
// clients that looks like a logout, so nobody complains that the store is down.
//
// Single sessions are missing all the time, since clients keep cookies of sessions that were removed after their end.
// So it takes many, of different clients, with none in between that is there. Sessions that are younger than the first
// missing one don't count: those are made by the clients that were logged out.
type missing struct {
	count atomic.Int32 // of keys: 0 almost always, which costs a request nothing but a look
	found atomic.Int64 // the minute, since 1970, in which a session was there last

	mu     sync.Mutex
	keys   [manyMissing]string
	since  time.Time // of the first key
	before time.Time // no alarm before
}

const (
	manyMissing  = 20
	missingPause = 10 * time.Minute // between two alarms
)

// miss notes that a rightly signed key is not in the store. It returns whether to raise the alarm: not if no session
// was there for idle, since then all may have expired.
func (m *missing) miss(key string, at time.Time, idle time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := int(m.count.Load())
	if n == 0 {
		m.since = at
	}
	if slices.Contains(m.keys[:n], key) {
		return false
	}
	m.keys[n] = key
	if n++; n < manyMissing {
		m.count.Store(int32(n))
		return false
	}
	m.count.Store(0)
	if at.Before(m.before) || at.Sub(time.Unix(60*m.found.Load(), 0)) > idle {
		return false
	}
	m.before = at.Add(missingPause)
	return true
}

// there notes that the session of v is there, or was until it ended: its record is.
func (m *missing) there(v *protocol.View) {
	if m.count.Load() > 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		if v.Record.CreatedAt.After(m.since.Add(-time.Minute)) { // the servers' clocks may differ
			return
		}
		m.count.Store(0)
	}
	if minute := v.At.Unix() / 60; m.found.Load() != minute {
		m.found.Store(minute)
	}
}

var errEmptied = fmt.Errorf("session: %d sessions in a row, rightly signed, are not in the store: was "+
	"it emptied, or is it another database, prefix, table, folder or Config.Realm than before?", manyMissing)

// noteMissing takes the result of a load, and raises the alarm if the store seems to have lost its sessions. Where IDs
// belong to another framework they may have no signature, and anybody could raise it.
func (m *Manager) noteMissing(ctx context.Context, token string, reason protocol.Reason, v *protocol.View) {
	switch {
	case m.engine == nil || m.policy != nil:
	case v.Record.Version != 0: // also one that has expired, or a tombstone
		m.missing.there(v)
	case reason == protocol.Unknown:
		if key, refused := m.engine.Check(token); refused == "" && m.missing.miss(key, v.At, m.config.IdleTimeout) {
			m.emit(ctx, Event{Kind: EventEmptied, Err: errEmptied})
		}
	}
}
