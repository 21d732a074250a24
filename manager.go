package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// Manager keeps the sessions of one cookie (or kind of bearer token). It is safe for concurrent use. Any number of
// Managers, in one or many processes, may share a store.
type Manager struct {
	config        Config
	store         store.Store // nil with a codec
	codec         Codec       // nil with a store
	policy        Policy      // nil, or what brings another framework's rules
	ids           IDFormat    // nil with a codec
	serializer    Serializer
	permanentTrue []byte // what SetPersistent(true) stores
	attributes    string // of a cookie that ends with the browser, as Set-Cookie has them
	touchInterval time.Duration
	locks         *keyLocks
	log           failureLog
	plainHTTP     sync.Once // the warning about it

	owned    *filestore.Store // the default store, which Close closes
	unlisten func()
	stop     context.CancelFunc
	stopped  sync.WaitGroup
	closed   sync.Once
}

// New checks the configuration and returns a Manager, or an error that names all problems at once. It opens the default
// store if none is given; it sends nothing over a network. Close the Manager when the program ends.
func New(config Config) (*Manager, error) {
	lifetimeGiven := config.Lifetime != 0
	err := config.check()
	m := &Manager{config: config, store: config.Store, serializer: config.Serializer, locks: newKeyLocks()}
	m.log.logger = config.Logger
	name := config.Cookie.Name
	if config.BearerToken {
		name = "bearer token"
	}
	var keyErr error
	if config.CookieCodec != nil {
		if m.codec, keyErr = config.CookieCodec(config.keys(), name); keyErr == nil {
			m.serializer = m.codec.Serializer()
		}
	} else {
		m.ids, keyErr = config.IDFormat(config.keys(), name)
	}
	if err := errors.Join(keyErr, err); err != nil {
		return nil, err
	}
	if m.permanentTrue, err = m.serializer.Marshal(true); err != nil {
		return nil, fmt.Errorf("session: Serializer can't encode true: %w", err)
	}
	if !config.BearerToken {
		m.attributes = m.httpCookie("").String()[len(config.Cookie.Name)+len("="):]
	}
	// The idle timeout is moved by a write, so not by every request; a minute is as fine as a list of sessions needs,
	// unless the timeout is short itself.
	m.touchInterval = max(config.IdleTimeout/20, min(time.Minute, config.IdleTimeout/4))
	if m.codec == nil && m.store == nil {
		if m.owned, err = openDefaultStore(config.keys()); err != nil {
			return nil, err
		}
		m.store = m.owned
	}
	if !lifetimeGiven {
		config.Lifetime = 0
	}
	if err := m.follow(config.Lifetime); err != nil {
		return nil, err
	}
	m.listen()
	m.sweep()
	return m, nil
}

// Close stops the Manager's background work and waits for it, and closes the default store if New opened it. Closing
// twice is fine. Stop the server first.
func (m *Manager) Close() error {
	var err error
	m.closed.Do(func() {
		m.stop()
		m.stopped.Wait()
		m.unlisten()
		if m.owned != nil {
			err = m.owned.Close()
		}
	})
	return err
}

// listen makes evictions events.
func (m *Manager) listen() {
	m.unlisten = func() {}
	if e, ok := m.bare().(store.Evicter); ok && m.config.OnEvent != nil {
		m.unlisten = e.OnEvict(func(r store.Record) {
			if r.Kind == store.Live {
				m.emit(context.Background(), Event{Kind: EventEvicted, Handle: r.Handle, Principal: r.Principal})
			}
		})
	}
}

// sweepBatch bounds one call of a store's Sweep; between two of them others get their turn.
const sweepBatch = 500

// sweep starts removing expired sessions, if the store leaves that to us.
func (m *Manager) sweep() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	s, ok := m.bare().(store.Sweeper)
	if !ok || m.config.SweepInterval < 0 {
		return
	}
	m.stopped.Go(func() {
		tick := time.NewTicker(m.config.SweepInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for {
				n, err := s.Sweep(ctx, sweepBatch)
				if err != nil && ctx.Err() == nil {
					m.failed(ctx, "", unavailable("sweep", err))
				}
				if err != nil || n < sweepBatch {
					break
				}
			}
		}
	})
}

// expiry is the end of a session that is not used again.
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

// deadline is the end of a session however much it is used.
func (m *Manager) deadline(r *store.Record) time.Time {
	if m.policy != nil {
		return r.LastSeenAt.Add(m.config.Lifetime)
	}
	return r.CreatedAt.Add(m.config.Lifetime)
}

func (m *Manager) persistent(data []byte) bool {
	var p bool
	return m.serializer.Unmarshal(data, &p) == nil && p
}

func (m *Manager) persistentIn(d document) bool {
	data, ok := d.get(permanentKey)
	if !ok {
		return m.config.Cookie.Persistent && m.policy == nil
	}
	return m.persistent(data)
}

// Cookie returns the cookie that a client has to get after Save, for sessions that are not in a Handler; nil if there is
// none to send, as with BearerToken, or when the ID has not changed.
func (m *Manager) Cookie(s *Session) *http.Cookie {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.cookie(s.cookie)
}

func (m *Manager) cookie(c *cookieChange) *http.Cookie {
	switch {
	case c == nil || m.config.BearerToken:
		return nil
	case c.value == "":
		return m.deleteCookie()
	case c.persistent:
		return m.setCookie(c.value, time.Until(c.expiresAt))
	}
	return m.setCookie(c.value, 0)
}

// warnPlainHTTP tells once why a browser seems to forget every login. The cookie is sent all the same: TLS often ends at
// a proxy, whose headers are looked at for this warning alone.
func (m *Manager) warnPlainHTTP(r *http.Request) {
	if m.config.InsecureHTTP || r.TLS != nil || r.Header["Forwarded"] != nil || r.Header["X-Forwarded-Proto"] != nil || isLoopback(r.Host) {
		return
	}
	m.plainHTTP.Do(func() {
		m.log.out().Warn("session: a Secure cookie was sent over what looks like plain http; a browser drops it and forgets the login. " +
			"Serve https, or let the proxy in front set X-Forwarded-Proto; for development set Config.InsecureHTTP")
	})
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
