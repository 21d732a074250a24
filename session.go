package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/internal/token"
)

// Session is the data of one client as one request sees it: a dictionary that is loaded once, and saved before the
// first byte of the response. [From], [Open] and [Manager.Load] return one; the zero value can't be used.
//
// A Session is safe for concurrent use by the goroutines of its request, which see each other's changes. It is never
// reused for another request. After the handler has returned it stays usable, through [Session.Save] and
// [Session.Reload]. Only these two, [Session.RevokeOthers] and [Key.Take] do I/O, and [Session.Elevate] if the session
// was read from a cache.
//
// Methods that change a session return no error. [Session.Err] says what went wrong, such as a value that can't be
// encoded, a session that has ended meanwhile, or a store that failed, and the [Manager.Handler] fails the request
// where that is necessary.
type Session struct{ *sealedSession }

// sealedSession is one of the two pointers between a Session and its state. Package fmt calls no Format method of a
// value in an unexported field. There it prints what a pointer points to if the verb doesn't fit, as %s doesn't, but
// follows no second pointer.
type sealedSession struct{ *sessionState }

type sessionState struct {
	m   *Manager
	ctx context.Context // of the request around the Handler: OnEvent can't get at the session, whose lock may be held
	req *http.Request   // nil outside a Handler

	// io lets one operation on the store run at a time. It is taken before mu.
	io sync.Mutex

	// mu guards what follows. It is held neither during I/O nor while a caller's function runs.
	mu       sync.Mutex
	view     protocol.View    // what is known to be stored
	token    string           // the one that the client has or will get
	changes  document.Changes // what this request changed since
	label    *string          // the new label; nil: unchanged
	isNew    bool
	isActive bool // belongs to a request, which counts for the idle timeout
	peeked   bool // but it has only been looked at by Peek
	aging    bool // move is a Renew that nobody asked for, for the sake of the cookie's Max-Age
	sealed   bool // the response's header has been sent: no cookie can be
	behind   bool // that was sent by a writer below ours
	withheld bool // the browser may have a cookie of ours that it kept back: see Manager.withholds
	over     bool // the handler has answered for a failure: nothing more is stored
	unsure   bool // a save ended in ErrUncertain: what was changed may be stored
	move     protocol.Move
	rejected Reason // why the request's own cookie gives no session
	err      error

	auth   *protocol.Authentication // of a pending login or elevation; not nil while move is a Login
	next   *token.ID                // of the session that is to be created; nil until somebody asks for it
	ending *protocol.View           // what Logout is to end
	cookie *cookieChange            // what the response has to tell the browser; nil: nothing
}

// cookieChange is a cookie to be set, or deleted if it has no value.
type cookieChange struct {
	value      string
	persistent bool
	deadline   time.Time
	created    bool // the client can have the session by no other cookie
}

// newSession returns a session of which nothing is stored.
func (m *Manager) newSession() *Session {
	var s struct { // in one piece, to be allocated at once
		outer Session
		inner sealedSession
		state sessionState
	}
	s.outer.sealedSession, s.inner.sessionState = &s.inner, &s.state
	s.state.m, s.state.isNew = m, true
	return &s.outer
}

// Get returns the value of key, and whether there is one. It gives the types of [JSON]: nil, bool, string, int64,
// float64, []any and map[string]any; a [Key] gives other types. The value is a copy. A value that can't be decoded
// counts as absent and is reported as [EventUndecodable].
func (s *Session) Get(key string) (any, bool) {
	return Key[any](key).Get(s)
}

// Set sets the value of key. It is encoded at once, so later changes to data that it points to have no effect. A value
// that can't be encoded, or a reserved name (see [Key]), sets [Session.Err] and fails the request.
func (s *Session) Set(key string, value any) {
	data, err := s.m.serializer.Marshal(value)
	if s.m.policy != nil && err == nil {
		switch key {
		case document.Permanent: // flask/sessions.py, SessionMixin.permanent: the item is the attribute
			s.SetPersistent(s.m.persistent(data, true))
			return
		case s.m.policy.UserKey():
			s.setUser(data)
			return
		}
	}
	if err == nil {
		err = checkName(key)
	}
	s.put(key, data, err)
}

// put sets a name of the document to an encoded value. A non-nil err says why it can't be set.
func (s *Session) put(name string, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refuse(fmt.Errorf("session: key %q can't be set: %w", document.PlainName(name), err))
	} else if s.writable() {
		s.changes.Put(s.view.Document, name, data, true)
	}
}

// Pop removes key and returns its value, and whether there was one, as Flask's session.pop does. Of overlapping
// requests several may get it: use [Key.Take] for values that may be used only once.
func (s *Session) Pop(key string) (any, bool) {
	v, ok := s.Get(key)
	s.Delete(key)
	return v, ok
}

// Delete removes key and its value. It does nothing if there is none.
func (s *Session) Delete(key string) {
	if s.m.policy != nil {
		switch key {
		case document.Permanent:
			s.SetPersistent(false)
			return
		case s.m.policy.UserKey():
			s.endLogin()
			return
		}
	}
	s.remove(key, checkName(key))
}

// remove removes a name from the document. A non-nil err says why it can't be removed.
func (s *Session) remove(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.changes.Get(s.view.Document, name); !ok && !s.view.Stale {
		return
	}
	if err != nil {
		s.refuse(fmt.Errorf("session: key %q can't be deleted: %w", document.PlainName(name), err))
	} else if s.writable() {
		s.changes.Put(s.view.Document, name, nil, false)
	}
}

// Clear removes all values, also those that overlapping requests have set before the session is saved. The session
// keeps its ID, principal, label, persistence and attributes; [Session.Logout] ends it.
func (s *Session) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (len(s.view.Document) > 0 || !s.changes.Empty() || s.view.Stale) && s.writable() {
		s.changes.Clear(s.m.loginKeys...)
	}
}

// Keys returns the names of all values, sorted. Attributes are not among them.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(s.changes.Names(s.view.Document))
}

// Len returns the number of values. Attributes don't count.
func (s *Session) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes.Count(s.view.Document)
}

var (
	errPersistent = errors.New("the name is reserved; use SetPersistent")
	errAttribute  = errors.New("the name is reserved; use an Attribute")
)

func checkName(key string) error {
	switch {
	case key == document.Permanent:
		return errPersistent
	case document.IsAttribute(key):
		return errAttribute
	case !utf8.ValidString(key):
		return document.ErrUTF8
	}
	return nil
}

// value returns the encoded value of a name, and the session's handle.
func (s *Session) value(name string) (data []byte, handle string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok = s.changes.Get(s.view.Document, name)
	return data, s.view.Record.Handle, ok
}

func (s *Session) decode(from Serializer, name, handle string, data []byte, pointer any) bool {
	if err := from.Unmarshal(data, pointer); err != nil {
		// The decoder's own text can quote the value.
		err = fmt.Errorf("session: the stored value is not a %T", pointer)
		s.m.emit(s.context(), Event{Kind: EventUndecodable, Handle: handle,
			Key: strings.Clone(document.PlainName(name)), Err: err})
		return false
	}
	return true
}

// maxRuns bounds how often an Update runs its function because other goroutines of the request change the session. Only
// a function that changes the session itself reaches it.
const maxRuns = 10_000

// update runs now on the value of a name, without holding a lock, and repeats that if another goroutine has changed the
// session meanwhile. A save that conflicts with another request runs again instead of now. A non-nil err says why the
// name can't be updated.
func (s *Session) update(name string, err error, now, again document.Updater) error {
	for range maxRuns {
		s.mu.Lock()
		if err != nil {
			defer s.mu.Unlock()
			return s.refuse(fmt.Errorf("session: key %q can't be updated: %w", document.PlainName(name), err))
		}
		if !s.writable() {
			s.mu.Unlock()
			return nil
		}
		value, present := s.changes.Get(s.view.Document, name)
		seq, version := s.changes.Seq, s.view.Record.Version
		names := s.m.policy != nil && name == s.m.policy.UserKey()
		s.mu.Unlock()

		var next []byte
		var keep bool
		next, keep, err = now(value, present)
		if names && err == nil { // a login has a new ID: no other request can change it meanwhile
			if keep {
				s.setUser(next)
			} else {
				s.endLogin()
			}
			return nil
		}

		s.mu.Lock()
		if s.changes.Seq != seq || s.view.Record.Version != version {
			err = nil // it was about an outdated value
		} else if err == nil {
			s.changes.Update(s.view.Document, name, again, next, keep)
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse(fmt.Errorf("session: key %q can't be updated: the session changed in each of %d "+
		"runs of the function, which may call nothing of the session but Get", document.PlainName(name), maxRuns))
}

// writable reports whether the session accepts changes. The caller holds mu.
func (s *Session) writable() bool {
	switch s.view.State {
	case protocol.Fresh, protocol.Live:
		return true
	case protocol.Late, protocol.Spent:
		if s.move == protocol.Login {
			return true
		}
		s.drop()
	}
	return false
}

// drop reports, once, that changes are dropped since the session has ended. The caller holds mu.
func (s *Session) drop() {
	if s.err == nil {
		s.err = ErrEnded
		s.event(EventDropped, ErrEnded)
	}
}

// event emits an event about this session. The caller holds mu.
func (s *Session) event(kind EventKind, err error) {
	s.m.emit(s.context(), about(kind, &s.view.Record, err))
}

func (s *Session) context() context.Context {
	if s.ctx == nil {
		return context.Background()
	}
	return s.ctx
}

// fail sets Err, unless an earlier failure is there. It returns err. The caller holds mu.
func (s *Session) fail(err error) error {
	if !replaces(s.err) {
		s.err = err
	}
	return err
}

// refuse is fail for an invalid argument. It also reports err as an event, since no save is going to do that. The
// caller holds mu.
func (s *Session) refuse(err error) error {
	if !replaces(s.err) {
		s.m.failed(s.context(), s.view.Record.Handle, err)
	}
	return s.fail(err)
}

// IsNew reports whether the request came without a live session: with no cookie, or with one whose session has expired
// or was ended. It doesn't change during the request.
func (s *Session) IsNew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isNew
}

// Err returns what went wrong with the session in this request; nil if nothing did. After [ErrEnded], [ErrTooLate] and
// [ErrCrossSite] the changes are lost, but the response is sent as it is. For any other error [Manager.Handler]
// replaces the response: [ErrUnavailable], [ErrUncertain], [ErrTooLarge], a value that can't be encoded, an invalid
// name or principal.
//
// Logout resets ErrEnded and ErrCrossSite, and so does Login. A later save that succeeds resets ErrUnavailable and
// ErrTooLarge.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.lost() {
		return ErrCrossSite
	}
	return s.err
}

// Token returns what the client has to send to use this session: the cookie's value, or the bearer token. It is a
// secret. Token returns "" while the session is not stored and holds nothing to store.
//
// The token is chosen by Login, Renew, or the first change of a new session, but is valid only after the session has
// been saved. With a [Config.CookieCodec] it is known only then. If another request has renewed the session meanwhile,
// it is the token that the client sent with this request.
func (s *Session) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.choose() && s.next.Token != "" {
		return s.next.Token
	}
	return s.token
}

// Info describes the session as a list of sessions does, as far as this request knows it. Handle is "" while the
// session is not stored and holds nothing to store. Between Login and the save the times are zero.
func (s *Session) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var i Info // without times, while a login waits for its save
	if s.move != protocol.Login {
		i = info(&s.view.Record)
	}
	if s.choose() {
		i.Handle = s.next.Handle
	}
	i.Principal, i.Label = s.currentPrincipal(), s.currentLabel()
	return i
}
