package session

import (
	"fmt"
	"time"

	"github.com/hipflask/session/store"
)

// CookieCodec makes a Codec from SecretKey and its fallbacks, in this order, and the cookie's name. It judges the keys.
type CookieCodec func(keys []string, cookieName string) (Codec, error)

// Codec keeps a whole session in a cookie. Implementations are safe for concurrent use and must not panic on any text.
type Codec interface {
	// Serializer is how the codec encodes values.
	Serializer() Serializer

	// Encode returns the cookie's value for rec: its Principal, Label, Handle, times and Data. The value consists of
	// characters that a cookie may hold (RFC 6265, section 4.1.1).
	Encode(rec store.Record) (string, error)

	// Decode is the reverse. A value that gives no session is a [Reason]. Expiry is the Manager's to judge.
	Decode(value string) (store.Record, error)
}

// decodeCookie puts the session of a cookie's value into f, or returns why there is none.
func (m *Manager) decodeCookie(value string, f *found) error {
	if len(value) > maxCookie {
		return ReasonMalformed
	}
	r, err := m.codec.Decode(value)
	if err != nil {
		return err
	}
	members, err := m.serializer.Split(r.Data)
	if err != nil {
		return ReasonUndecodable
	}
	t := time.Now()
	if !t.Before(r.ExpiresAt) {
		return m.expired(&r)
	}
	*f = found{state: live, record: r, document: newDocument(members), loadedAt: t}
	return nil
}

func (m *Manager) loadCookie(s *Session, value string) (*Session, error) {
	if m.decodeCookie(value, &s.found) != nil {
		return nil, ErrEnded
	}
	s.loaded(value)
	return s, nil
}

// saveCookie makes the cookie for the session, if it has to be sent. There is no store to meet others on.
func (s *Session) saveCookie() error {
	s.mu.Lock()
	ended := s.ending != nil
	had := s.state == live || ended
	due := s.touchDue() && !s.sealed && (s.m.policy == nil || s.isPersistent())
	if s.state == late || s.life == keep && s.changes.empty() && s.label == nil && !ended && !due {
		defer s.mu.Unlock()
		return s.err
	}
	c := &commit{
		m: s.m, base: s.record, document: s.document, changes: s.changes.snapshot(), label: s.label,
		active: s.isActive, life: s.life, login: s.principal, now: time.Now(),
	}
	s.mu.Unlock()

	var r store.Record
	var d document
	var err error
	changed := true
	switch {
	case had && !ended && c.life == keep:
		r, d, changed, err = c.build(c.base, c.document)
	case had && !ended:
		c.next = &identity{key: c.base.Key, handle: c.base.Handle}
		if c.life == login {
			c.next.handle = newHandle()
		}
		r, d, err = c.successor()
	default:
		c.next = &identity{handle: newHandle()}
		r, d, _, err = c.first()
	}
	empty := err == nil && r.Principal == "" && (&changes{}).count(d) == 0
	var value string
	if err == nil && !empty && (changed || due) {
		value, err = s.m.sealCookie(&r, s.m.persistentIn(d))
	}

	var rest changes
	if err == nil && (value != "" || empty && had) {
		after := d
		if empty {
			after = nil
		}
		rest, err = s.changedSince(c.changes.seq, after)
	} else {
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.err = err
		s.m.failed(s.context(), r.Handle, err)
	case empty && !had, !empty && value == "":
	case s.sealed:
		s.err = ErrTooLate
		s.event(Event{Kind: EventTooLate, Handle: r.Handle, Principal: r.Principal, Key: s.changes.someName(), Err: ErrTooLate})
		s.changes, s.life, s.ending = changes{seq: s.changes.seq}, keep, nil
	case empty:
		s.keep(view{changes: rest}, c, &cookieChange{})
	default:
		v := view{found: found{state: live, record: r, document: d, loadedAt: c.now}, token: value, changes: rest}
		s.keep(v, c, &cookieChange{value, s.m.persistentIn(d), s.m.deadline(&r)})
	}
	return s.err
}

// keep is what a cookie codec's save leaves. The caller holds mu.
func (s *Session) keep(v view, c *commit, cookie *cookieChange) {
	if s.label != c.label {
		v.label = s.label
	}
	switch {
	case s.ending != nil:
		s.event(Event{Kind: EventLogout, Handle: s.ending.record.Handle, Principal: s.ending.who})
	case c.life == login:
		s.event(Event{Kind: EventLogin, Handle: v.record.Handle, Principal: v.record.Principal})
	case c.life == renew:
		s.event(Event{Kind: EventRenewed, Handle: v.record.Handle, Principal: v.record.Principal})
	case s.state == fresh:
		s.event(Event{Kind: EventCreated, Handle: v.record.Handle})
	}
	s.view, s.cookie = v, cookie
	s.life, s.principal, s.ending = keep, "", nil
	if mends(s.err) {
		s.err = nil
	}
}

func (m *Manager) sealCookie(r *store.Record, persistent bool) (string, error) {
	if m.policy != nil { // its sessions count their life from here
		r.CreatedAt, r.LastSeenAt = now(), now()
		r.ExpiresAt = m.deadline(r)
	}
	value, err := m.codec.Encode(*r)
	if err != nil {
		return "", err
	}
	if size := len(m.config.Cookie.Name) + len(value); size > maxCookie {
		return "", fmt.Errorf("%w: the cookie's name and value have %d bytes, browsers take %d", ErrTooLarge, size, maxCookie)
	}
	if m.policy != nil {
		err = m.policy.CheckCookie(m.cookie(&cookieChange{value, persistent, m.deadline(r)}))
	}
	return value, err
}
