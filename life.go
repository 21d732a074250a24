package session

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

// Login makes the session belong to a principal: the ID or name of a user, 1 to 256 bytes of UTF-8 without NUL, less
// with a [Config.Realm], and not beginning with U+241F. Call it after the user has been authenticated. It takes effect
// in this request at once, and for others when the session is saved.
//
// The session gets a new ID, a new handle (ASVS 5.0, 7.2.4), and its [Config.Lifetime] starts again; the old ID is no
// longer valid. The values are kept, such as a basket that was filled before; but if another principal was logged in,
// they are cleared first. Attributes are dropped. Login works even if the session has ended meanwhile.
//
// An invalid principal sets [Session.Err] and fails the request. After the first byte of the response it is too late
// for the new cookie: see [ErrTooLate].
//
// [Session.LoginWith] also records how the user was authenticated.
func (s *Session) Login(principal string) { s.LoginWith(principal, Auth{}) }

// login is LoginWith. The caller holds io and mu.
func (s *Session) login(principal string, auth Auth) {
	if s.view.State == protocol.Failed {
		return
	}
	most := store.MaxPrincipal - len(s.m.realm)
	if principal == "" || len(principal) > most || strings.HasPrefix(principal, realmMark) ||
		!utf8.ValidString(principal) || strings.ContainsRune(principal, 0) {
		s.refuse(fmt.Errorf("session: Login: the principal is not 1 to %d bytes of UTF-8 without NUL "+
			"and %q at its beginning", most, realmMark))
		return
	}
	var values map[string]any
	if s.m.policy != nil {
		values = s.m.policy.Login(principal, s.decoded)
	}
	was := s.currentPrincipal()
	another := was != "" && was != principal // rule: ScrubView
	if another || s.view.State == protocol.Spent {
		s.changes.Clear()
		s.changes.Forget(document.Permanent)
		none := ""
		s.view.Document, s.label = nil, &none
	}
	s.changes.LeaveAttributes()
	if s.err == ErrEnded || s.err == ErrCrossSite {
		s.err = nil // what was dropped stays dropped, but from here on there is a session again
	}
	s.move, s.next = protocol.Login, nil
	s.auth = &protocol.Authentication{
		Principal: strings.Clone(principal), // fiber uses the memory of its texts again
		Since:     auth.time(time.Now()),
	}
	if s.m.policy != nil {
		s.putAll("Login", values)
	} else {
		s.auth.Attribute = (&storedAuth{Methods: auth.Methods, Level: auth.Level}).encode()
	}
}

// putAll sets the values of a Policy. The caller holds mu.
func (s *Session) putAll(method string, values map[string]any) {
	for name, value := range values {
		data, err := s.m.serializer.Marshal(value)
		if err != nil {
			s.refuse(fmt.Errorf("session: %s: %w", method, err))
			return
		}
		s.changes.Put(s.view.Document, name, data, true)
	}
}

// decoded decodes a value for a Policy. The caller holds mu.
func (s *Session) decoded(key string, pointer any) bool {
	data, ok := s.changes.Get(s.view.Document, key)
	return ok && s.m.serializer.Unmarshal(data, pointer) == nil
}

// setUser is a Login of the user that data, a value for the Policy's UserKey, names. The value is stored as it was
// given.
func (s *Session) setUser(data []byte) {
	key := s.m.policy.UserKey()
	principal := s.m.principal([]Member{{Name: key, Value: data}})
	if principal == "" {
		s.endLogin()
	}
	if principal != "" {
		s.Login(principal)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writable() && s.currentPrincipal() == principal {
		s.changes.Put(s.view.Document, key, data, true)
	}
}

// endLogin is a Logout that keeps the values, less those that belong to the login: what Flask applications do that take
// the user out of the session.
func (s *Session) endLogin() {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.changes.Get(s.view.Document, s.m.policy.UserKey()); !ok || !s.writable() {
		return
	}
	var kept []Member
	for name := range s.changes.All(s.view.Document) {
		if data, _ := s.changes.Get(s.view.Document, name); !slices.Contains(s.m.loginKeys, name) {
			kept = append(kept, Member{Name: name, Value: data})
		}
	}
	s.logout()
	for _, m := range kept {
		s.changes.Put(s.view.Document, m.Name, m.Value, true)
	}
}

// Logout ends the session: in the store, so that no request in flight can bring it back (ASVS 5.0, 7.4.1), and in the
// browser, which is told to forget the cookie. It takes effect when the session is saved.
//
// Afterwards the Session is a new, empty and anonymous one. What is set after Logout, such as a flash message, is
// stored under a new ID, and the response has that cookie instead. Unsaved changes from before Logout are dropped.
//
// With a [Config.CookieCodec] only the browser forgets: a copy of the cookie is valid until it expires.
func (s *Session) Logout() {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logout()
}

// logout implements Logout. The caller holds io and mu.
func (s *Session) logout() {
	if s.view.State == protocol.Failed {
		return
	}
	if s.view.State == protocol.Live || s.view.State == protocol.Spent {
		ending := s.view
		s.ending = &ending
	}
	s.reset()
	if s.m.policy != nil && s.req != nil {
		s.putAll("Logout", s.m.policy.Logout(s.req))
	}
}

// reset makes the session a new one. The caller holds mu.
func (s *Session) reset() {
	s.view, s.token, s.label = protocol.View{}, "", nil
	// so that a save in flight does not take what follows for its own
	s.changes = document.Changes{Seq: s.changes.Seq + 1}
	s.move, s.auth, s.next = protocol.Stay, nil, nil
	if s.err == ErrEnded || s.err == ErrCrossSite || s.unsure {
		s.err = nil
	}
	s.unsure = false
}

// dropOverdue empties a session whose Adopt has logged somebody in at a time that is longer ago than the lifetime: such
// a login is over at once, not with the next request.
func (s *Session) dropOverdue() {
	s.mu.Lock()
	who := s.currentPrincipal()
	// A layout shared with another framework counts from the last change, and keeps no time of a login.
	overdue := s.m.policy == nil && who != "" && !s.loginTime().Add(s.m.lifetime(s.isPersistent())).After(time.Now())
	if overdue {
		s.logout() // Adopt may have saved it
	}
	s.mu.Unlock()
	if overdue {
		s.m.emit(s.ctx, Event{Kind: EventRejected, Reason: ReasonLifetime, Principal: who})
	}
}

// Renew gives the session a new ID when it is saved, so that an ID is not in use for long. Values, attributes,
// principal, handle and Lifetime stay; requests in flight keep their changes.
//
// The old ID is accepted for the time of [Config.Grace] and [Config.StoreTimeout] together, for reads and writes, so a
// copy of the old cookie works for as long. When the rights of the session grow, call [Session.Elevate]. If somebody
// may have copied the cookie, call [Session.RevokeOthers]. After these two the old ID is not accepted. Renew does
// nothing to a session that is not stored yet, nor if this request came with an ID that another request has renewed
// already. After the first byte of the response it is too late for the new cookie: see [ErrTooLate].
func (s *Session) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew()
}

func (s *Session) renew() {
	if s.view.State == protocol.Live && s.move == protocol.Stay {
		s.move, s.next = protocol.Renew, nil
	}
	s.aging = false // if there is a Renew already, it has to be stored from here on
}

// pendingMove returns the Move of the next save. The caller holds mu.
func (s *Session) pendingMove() protocol.Move {
	if s.move == protocol.Renew && s.view.Moved { // rule: RenewOnce
		return protocol.Stay // the ID was renewed a moment ago; the browser gets it from that response
	}
	return s.move
}

// harden makes the next save give the session a new ID and retire the old one at once. The caller holds mu.
func (s *Session) harden() {
	if s.view.State == protocol.Live && (s.move == protocol.Stay || s.move == protocol.Renew) {
		s.move, s.next = protocol.Hard, nil
	}
}

// choose makes the ID of the session that the next save creates. It reports whether the save is going to create one.
// The caller holds mu.
func (s *Session) choose() bool {
	creates := s.pendingMove() != protocol.Stay || s.view.State == protocol.Fresh && s.changes.Begin()
	if !creates || s.sealed || s.lost() {
		return false
	}
	if s.next == nil {
		s.next = s.m.keeper.NewID()
		if s.move != protocol.Login && s.view.State == protocol.Live {
			s.next.Handle = s.view.Record.Handle
		}
	}
	return true
}

// Principal returns the principal who is logged in (see [Session.Login]); "" for nobody.
func (s *Session) Principal() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentPrincipal()
}

func (s *Session) currentPrincipal() string {
	if s.move == protocol.Login {
		return s.auth.Principal
	}
	if s.view.State != protocol.Live && s.view.State != protocol.Spent {
		return ""
	}
	return s.view.Record.Principal
}

// SetLabel sets a text that lists of sessions show, such as "Firefox on Windows": see [Info]. It is cut to at most 256
// bytes, between characters. Bytes that are not UTF-8, and NUL, are replaced by U+FFFD. A label alone doesn't make a
// session worth storing.
func (s *Session) SetLabel(label string) {
	label = strings.ReplaceAll(strings.ToValidUTF8(label, "\uFFFD"), "\x00", "\uFFFD")
	for len(label) > store.MaxLabel {
		_, size := utf8.DecodeLastRuneInString(label)
		label = label[:len(label)-size]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.currentLabel() != label || s.view.Stale) && s.writable() {
		label = strings.Clone(label) // as in Login
		s.changes.Seq++
		s.label = &label
	}
}

func (s *Session) currentLabel() string {
	if s.label != nil {
		return *s.label
	}
	return s.view.Record.Label
}

// SetPersistent says whether the session outlives the browser ("remember me"), as Flask's session.permanent does. The
// default is [Cookie.Persistent]. A persistent session has the timeouts [Config.PersistentIdleTimeout] and
// [Config.PersistentLifetime], and its cookie has a Max-Age: the rest of PersistentLifetime, but at most 400 days (RFC
// 6265bis, section 5.5). Always call it with the value of the login form's checkbox: SetPersistent(false) undoes the
// choice of an earlier login.
//
// If that changes anything for a session that is stored already, SetPersistent includes a [Session.Renew], since a
// cookie is sent only with a new ID.
func (s *Session) SetPersistent(persistent bool) {
	data, err := s.m.serializer.Marshal(persistent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refuse(err)
		return
	}
	if differs := s.isPersistent() != persistent; (differs || s.view.Stale) && s.writable() {
		s.changes.Put(s.view.Document, document.Permanent, data, true)
		if differs {
			s.renew()
		}
	}
}

// isPersistent reports whether the session outlives the browser. The caller holds mu.
func (s *Session) isPersistent() bool {
	data, ok := s.changes.Get(s.view.Document, document.Permanent)
	if !ok && s.view.State != protocol.Live {
		return s.m.config.Cookie.Persistent // as it is going to begin
	}
	return s.m.persistent(data, ok)
}
