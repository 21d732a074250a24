package session

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

// Login makes the session that of a principal, a user's ID or name of 1 to 256 bytes. It gets a new ID and handle
// (ASVS 5.0, 7.2.4) and a new Lifetime. The values are kept, but if somebody else was logged in they are cleared first;
// attributes are dropped. Login works even if the session has ended meanwhile. An invalid principal sets Err and fails the
// request.
func (s *Session) Login(principal string) {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view.State == protocol.Failed {
		return
	}
	if principal == "" || len(principal) > store.MaxPrincipal || !utf8.ValidString(principal) || strings.ContainsRune(principal, 0) {
		s.refuse(fmt.Errorf("session: Login: the principal is not 1 to %d bytes of UTF-8 without NUL", store.MaxPrincipal))
		return
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
	if s.err == ErrEnded {
		s.err = nil // what was dropped stays dropped, but from here on there is a session again
	}
	s.move, s.principal, s.next = protocol.Login, principal, nil
	if s.m.policy == nil {
		return
	}
	for name, value := range s.m.policy.Login(principal) {
		data, err := s.m.serializer.Marshal(value)
		if err != nil {
			s.refuse(fmt.Errorf("session: Login: %w", err))
			return
		}
		s.changes.Put(name, data, true)
	}
}

// Logout ends the session in the store, so that no request in flight can bring it back, and tells the browser to forget
// its cookie. From then on the session is a new, empty, anonymous one: what is set after it, such as a flash message, is
// stored under a fresh ID, and the response carries that cookie instead.
func (s *Session) Logout() {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view.State == protocol.Failed {
		return
	}
	if s.view.State == protocol.Live {
		ending := s.view
		s.ending = &ending
	}
	s.reset()
}

// reset makes the session a new one. The caller holds mu.
func (s *Session) reset() {
	s.view, s.token, s.label = protocol.View{}, "", nil
	s.changes = document.Changes{Seq: s.changes.Seq + 1} // so that a save in flight does not take what follows for its own
	s.move, s.principal, s.next = protocol.Stay, "", nil
	if s.err == ErrEnded || s.unsure {
		s.err = nil
	}
	s.unsure = false
}

// Renew gives the session a new ID. Values, attributes, principal, handle and Lifetime stay; requests in flight keep their
// changes. Call it when rights grow. A session that is not stored yet needs none.
func (s *Session) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew()
}

func (s *Session) renew() {
	if s.view.State == protocol.Live && s.move == protocol.Stay {
		s.move, s.next = protocol.Renew, nil
	}
}

// pendingMove is the Move of the next save. The caller holds mu.
func (s *Session) pendingMove() protocol.Move {
	if s.move == protocol.Renew && s.view.Moved { // rule: RenewOnce
		return protocol.Stay // the ID was renewed a moment ago; the browser gets it from that response
	}
	return s.move
}

// choose makes the ID of a session that is going to be created, if there is one. The caller holds mu.
func (s *Session) choose() bool {
	creates := s.pendingMove() != protocol.Stay || s.view.State == protocol.Fresh && s.changes.Begin()
	if !creates || s.sealed {
		return false
	}
	if s.next == nil {
		s.next = s.m.keeper.NewID()
		if s.move == protocol.Renew {
			s.next.Handle = s.view.Record.Handle
		}
	}
	return true
}

// Principal returns who is logged in, "" for nobody.
func (s *Session) Principal() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentPrincipal()
}

func (s *Session) currentPrincipal() string {
	if s.move == protocol.Login {
		return s.principal
	}
	if s.view.State != protocol.Live {
		return ""
	}
	return s.view.Record.Principal
}

// SetLabel gives the session a text for lists of sessions, such as "Firefox on Windows". Longer ones are cut to 256
// bytes, what is not UTF-8 is replaced. A label alone does not make an empty session be stored.
func (s *Session) SetLabel(label string) {
	label = strings.ReplaceAll(strings.ToValidUTF8(label, "\uFFFD"), "\x00", "\uFFFD")
	for len(label) > store.MaxLabel {
		_, size := utf8.DecodeLastRuneInString(label)
		label = label[:len(label)-size]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.currentLabel() != label && s.writable() {
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

// SetPersistent says whether the session outlives the browser ("remember me"), as Flask's session.permanent. For a
// session that is stored already this is a Renew, since a cookie is sent only with a new ID. The default is
// Config.Cookie.Persistent.
func (s *Session) SetPersistent(persistent bool) {
	data, err := s.m.serializer.Marshal(persistent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refuse(err)
		return
	}
	if s.isPersistent() != persistent && s.writable() {
		s.changes.Put(document.Permanent, data, true)
		s.renew()
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
