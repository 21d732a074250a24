package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// Manager keeps the sessions of one cookie, or of one kind of bearer token. [New] makes one; the zero value can't be
// used. It is safe for concurrent use. Any number of Managers, in one process or in many, may share a store.
type Manager struct{ *sealedManager }

// sealedManager is one of the two pointers between a Manager and its state: see sealedSession.
type sealedManager struct{ *managerState }

type managerState struct {
	config Config // without the keys
	keeper protocol.Keeper
	engine *protocol.Engine // the keeper, if it keeps sessions in a store; else nil
	realm  realm            // before the principals in the store
	// Config.Store, or the default one: has the optional capabilities; nil with a CookieCodec
	given      store.Store
	policy     Policy   // the rules of another framework; nil: none
	loginKeys  []string // of policy
	serializer Serializer
	attributes string // those of a cookie that ends with the browser, as in Set-Cookie
	signing    signing

	touchInterval   time.Duration // how old the stored time of the last request may become
	touchPersistent bool          // only persistent sessions are touched
	renewAge        time.Duration // how old the ID of a persistent session may become; 0: any age

	log     failureLog
	missing missing
	said    said // to the log, once each
	hints   map[Reason]error

	owned    *filestore.Store // the default store, which Close closes
	unlisten func()
	unshare  func()
	stop     context.CancelFunc
	stopped  sync.WaitGroup
	closed   sync.Once
}

// New checks the configuration and returns a [Manager], or an error that names all problems at once. It opens the
// default store if none is given, and sends nothing over a network. Call [Manager.Close] when the program ends.
func New(config Config) (*Manager, error) {
	lifetime := config.Lifetime // as given
	persistent := config.PersistentIdleTimeout != 0 || config.PersistentLifetime != 0
	err := config.check()
	keys := config.keys()
	ids, codec, keyErr := config.formats(keys)
	if err := errors.Join(keyErr, err); err != nil {
		return nil, err
	}
	m := &Manager{&sealedManager{&managerState{config: config, serializer: config.Serializer, hints: hints(&config)}}}
	m.unshare = func() {}
	m.signing.subkeys = subkeysOf(keys)
	m.config.SecretKey, m.config.SecretKeyFallbacks = "", nil
	m.log.logger = config.Logger
	warnOfKeys(m.log.out(), keys)
	if codec != nil {
		m.serializer = codec.Serializer()
	}
	if !config.BearerToken {
		m.attributes = m.httpCookie("").String()[len(config.Cookie.Name)+len("="):]
	}
	if err := m.findPolicy(ids, codec); err != nil {
		return nil, err
	}
	if m.policy != nil && persistent {
		return nil, errors.New("session: PersistentIdleTimeout and PersistentLifetime have no place " +
			"in a layout that is shared with another framework, whose one Lifetime counts from the last " +
			"change; leave them zero")
	}
	if m.policy != nil && config.Realm != "" {
		return nil, errors.New("session: Realm has no place in a layout that is shared with another " +
			"framework; leave it empty")
	}
	m.setTimes(lifetime)
	records, err := m.records()
	if err != nil {
		return nil, err
	}
	if codec != nil {
		m.touchPersistent = m.policy != nil
		m.keeper = &cookieKeeper{m, codec, records}
	} else if err := m.useStore(keys, ids, records); err != nil {
		return nil, err
	}
	m.listen()
	m.sweep()
	return m, nil
}

// records returns how this Manager's records are built.
func (m *Manager) records() (protocol.Records, error) {
	r := protocol.Records{
		Serializer: m.serializer,
		MaxBytes:   m.config.MaxBytes,
		Persistent: m.persistentIn,
		Expiry:     m.expiry,
		Deadline:   m.deadline,
		Limited:    m.config.MaxSessions > 0,
		Listed:     m.config.CookieCodec == nil && m.policy == nil,
	}
	if m.renewAge > 0 {
		r.Issued = m.issued
	}
	permanent, err := m.serializer.Marshal(true)
	if err != nil {
		return r, fmt.Errorf("session: Serializer can't encode true: %w", err)
	}
	if m.config.Cookie.Persistent {
		r.Begin = document.Document{{Name: document.Permanent, Value: permanent}}
	}
	return r, nil
}

// useStore makes the keeper for sessions in a store, and opens the default store if none is given.
func (m *Manager) useStore(keys []string, ids IDFormat, records protocol.Records) (err error) {
	m.given = m.config.Store
	_, lists := store.As[store.Lister](m.given)
	switch {
	case m.config.MaxSessions == 0:
	case m.policy != nil:
		return errors.New("session: MaxSessions needs a Store in the layout of this package, whose records " +
			"say when a login was; leave it zero, or count the logins in the application")
	case m.given != nil && !lists:
		return errors.New("session: MaxSessions needs a Store that lists the sessions of a principal, " +
			"a store.Lister; set another Store, or leave MaxSessions zero. If the Store wraps another " +
			"one, give it Unwrap")
	}
	if m.given == nil {
		if m.owned, err = openDefaultStore(keys); err != nil {
			return err
		}
		m.given = m.owned
	}
	m.shares()
	s := m.given
	if m.realm = newRealm(m.config.Realm); m.realm != "" {
		s = realmStore{s, m.realm}
	}
	if m.policy != nil {
		s = policyStore{s, m}
	}
	m.missing.found.Store(time.Now().Unix() / 60)
	index, _ := m.index()
	m.engine = protocol.New(protocol.Options{
		Store:        s,
		Records:      records,
		Grace:        m.config.Grace,
		StoreTimeout: m.config.StoreTimeout,
		TouchEvery:   m.touchInterval,
		NewToken:     ids.New,
		Key: func(token string) (string, protocol.Reason) {
			key, err := ids.Parse(token)
			if err != nil {
				return "", refusal(err)
			}
			return key, ""
		},
		KeepUnreadable: m.policy != nil,
		MaxSessions:    m.config.MaxSessions,
		Index:          index,
	})
	m.keeper = m.engine
	return nil
}

// shares warns if another Manager has the same principals, by chance.
func (m *Manager) shares() {
	if _, ok := store.As[store.Lister](m.given); !ok || m.config.Realm != "" {
		return
	}
	name := m.config.Cookie.Name
	if m.config.BearerToken {
		name = "bearer token"
	}
	undo, other := share(m.given, name)
	m.unshare = undo
	runtime.AddCleanup(m.managerState, func(undo func()) { undo() }, undo) // of a Manager that nobody closes
	if other != "" {
		m.log.out().Warn("session: two Managers share a Store and its principals: lists have the sessions "+
			"of both, and RevokeAll of one ends those of the other. Set Config.Realm to different names, "+
			"or to the same one if that is meant",
			"cookie", name, "other", other)
	}
}

// Close stops the Manager's background work, waits for it, and closes the default store if [New] opened it. It doesn't
// close [Config.Store]. Stop the server first. Later calls do nothing. The error is that of closing the store.
func (m *Manager) Close() error {
	var err error
	m.closed.Do(func() {
		m.stop()
		m.stopped.Wait()
		m.unlisten()
		m.unshare()
		if m.owned != nil {
			err = m.owned.Close()
		}
	})
	return err
}

// listen emits an event for each eviction, if the store evicts.
func (m *Manager) listen() {
	m.unlisten = func() {}
	if e, ok := store.As[store.Evicter](m.given); ok && m.config.OnEvent != nil {
		m.unlisten = e.OnEvict(func(r store.Record) {
			if r.Kind == store.Live && m.realm.cut(&r) {
				m.emit(context.Background(), about(EventEvicted, &r, nil))
			}
		})
	}
}

// sweepBatch bounds one call of a store's Sweep, so that other calls get their turn in between.
const sweepBatch = 500

// sweep starts a goroutine that removes expired sessions, if the store is a Sweeper.
func (m *Manager) sweep() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	s, ok := store.As[store.Sweeper](m.given)
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
					m.failed(ctx, "", protocol.Unavailable("sweep", err))
				}
				if err != nil || n < sweepBatch {
					break
				}
			}
		}
	})
}

// signing makes the MACs of Sign and Verify.
type signing struct {
	subkeys  func(label string) [][]byte // a closure, so that no verb of fmt reaches the keys
	macs     sync.Map                    // of []*token.MAC, by purpose
	purposes atomic.Int32
}

// maxPurposes bounds the memory if a program has any number of purposes.
const maxPurposes = 64

// subkeysOf returns a function that derives the subkeys of the secret key and its fallbacks.
func subkeysOf(keys []string) func(label string) [][]byte {
	return func(label string) (subkeys [][]byte) {
		for _, k := range keys {
			subkeys = append(subkeys, token.Subkey(k, label))
		}
		return subkeys
	}
}

func (s *signing) of(purpose string) []*token.MAC {
	if macs, ok := s.macs.Load(purpose); ok {
		return macs.([]*token.MAC)
	}
	var macs []*token.MAC
	for _, k := range s.subkeys("app " + purpose) {
		macs = append(macs, token.NewMAC(k))
	}
	if s.purposes.Add(1) <= maxPurposes {
		s.macs.Store(strings.Clone(purpose), macs)
	}
	return macs
}

// Sign returns the HMAC-SHA256 of message (RFC 2104), 32 bytes, under a key derived from [Config.SecretKey] for this
// purpose alone. [Manager.Verify] checks it. The purpose is a constant of the program, such as
// "example.com/invitation": a MAC for one purpose is not valid for another.
//
// A MAC has no expiry, and belongs to no session. Put a deadline into the message, and whatever else the MAC has to be
// bound to.
func (m *Manager) Sign(purpose string, message []byte) []byte {
	sum := m.signing.of(purpose)[0].Sum(message)
	return sum[:]
}

// Verify reports whether mac is what [Manager.Sign] returns for the purpose and message, under [Config.SecretKey] or
// one of [Config.SecretKeyFallbacks]. It compares in constant time.
func (m *Manager) Verify(purpose string, message, mac []byte) bool {
	for _, k := range m.signing.of(purpose) {
		if k.Verify(message, mac) {
			return true
		}
	}
	return false
}

// CookieName returns the name of the cookie; "" with [Config.BearerToken].
func (m *Manager) CookieName() string {
	if m.config.BearerToken {
		return ""
	}
	return m.config.Cookie.Name
}

// Cookie returns the cookie to send to the client after [Session.Save] outside a [Manager.Handler]: one that sets the
// new ID, or after Logout one that deletes the old. It returns nil if there is nothing to send: with
// [Config.BearerToken], or if the ID has not changed. Inside a Handler it is not needed.
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
		return m.setCookie(c.value, time.Until(c.deadline))
	}
	return m.setCookie(c.value, 0)
}
