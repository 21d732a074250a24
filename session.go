package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/internal/token"
)

// Session is the data of one client, as one request sees it: a dictionary that was read once and is saved before the
// response's first byte. Get and Set never do I/O.
//
// A Session is safe for concurrent use by the goroutines of its request, which see each other's changes. After the
// handler has returned it stays usable through Save and Reload; it is never reused for another request.
//
// Methods that change a session return nothing. What goes wrong (a value that can't be encoded, a session that ended
// meanwhile, a store that failed) is in Err, and where it matters the Handler answers for it.
type Session struct {
	m   *Manager
	ctx context.Context // of the request around the Handler: OnEvent can't get at the session, whose lock may be held

	// io lets one operation on the store run at a time. It is taken before mu.
	io sync.Mutex

	// mu guards what follows. It is held neither during I/O nor while a caller's function runs.
	mu       sync.Mutex
	view     protocol.View    // what is known to be stored
	token    string           // as the client has it, or will get it
	changes  document.Changes // what this request changed since
	label    *string          // the new one, if it was changed
	isNew    bool
	isActive bool // belongs to a request, which counts for the idle timeout
	sealed   bool // the response's header has been sent: no cookie can be
	unsure   bool // a save ended in ErrUncertain: what was changed may be stored
	err      error

	move      protocol.Move
	principal string         // of a pending login
	next      *token.ID      // of the session that is to be created; nil until somebody asks for it
	ending    *protocol.View // what Logout is to end
	cookie    *cookieChange  // what the response has to tell the browser; nil: nothing
}

// cookieChange is a cookie to be set, or deleted if it has no value.
type cookieChange struct {
	value      string
	persistent bool
	deadline   time.Time
}

// newSession returns a session with nothing in the store.
func (m *Manager) newSession() *Session { return &Session{m: m, isNew: true} }

// Get returns the value of key. It gives JSON's types: nil, bool, string, int64, float64, []any and map[string]any; a
// [Key] gives other types. A value that can't be decoded counts as absent and is an event.
func (s *Session) Get(key string) (any, bool) {
	return Key[any](key).Get(s)
}

// Set stores value under key. It is encoded now: later changes to what it points to are not seen. A value that JSON has
// no form for sets Err, and the request fails.
func (s *Session) Set(key string, value any) {
	data, err := s.m.serializer.Marshal(value)
	if err == nil {
		err = checkName(key)
	}
	s.put(key, data, err)
}

// put stores an encoded value under a name of the document. err is why it can't be.
func (s *Session) put(name string, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refuse(fmt.Errorf("session: key %q can't be set: %w", document.PlainName(name), err))
	} else if s.writable() {
		s.changes.Put(name, data, true)
	}
}

// Pop removes key and returns its value, as Flask's session.pop. Of overlapping requests several can get it: for values
// that may be used once see [Key.Take].
func (s *Session) Pop(key string) (any, bool) {
	v, ok := s.Get(key)
	s.Delete(key)
	return v, ok
}

// Delete removes key, if it is there.
func (s *Session) Delete(key string) { s.remove(key, checkName(key)) }

// remove removes a name from the document. err is why it can't be.
func (s *Session) remove(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.changes.Get(s.view.Document, name); !ok {
		return
	}
	if err != nil {
		s.refuse(fmt.Errorf("session: key %q can't be deleted: %w", document.PlainName(name), err))
	} else if s.writable() {
		s.changes.Put(name, nil, false)
	}
}

// Clear removes all values. The session keeps its ID, principal, label, persistence and attributes.
func (s *Session) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (len(s.view.Document) > 0 || !s.changes.Empty()) && s.writable() {
		s.changes.Clear()
	}
}

// Keys returns the names of all values, sorted.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(s.changes.Names(s.view.Document))
}

// Len returns the number of values.
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

// value returns the encoded value of a name, and the handle of the session that it is in.
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
		s.m.emit(s.context(), Event{Kind: EventUndecodable, Handle: handle, Key: document.PlainName(name), Err: err})
		return false
	}
	return true
}

// maxRuns bounds the runs of an Update against the other goroutines of the request. It is reached only by a function
// that changes the session itself.
const maxRuns = 10_000

// update runs now on the value of a name, without a lock, and again if another goroutine changed it meanwhile. A save that
// meets another request runs again instead. err is why the name can't be updated.
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
		s.mu.Unlock()

		var next []byte
		var keep bool
		next, keep, err = now(value, present)

		s.mu.Lock()
		if s.changes.Seq != seq || s.view.Record.Version != version {
			err = nil // of a value that is not the session's any more
		} else if err == nil {
			s.changes.Update(name, again, next, keep)
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse(fmt.Errorf("session: key %q can't be updated: the session changed in each of %d runs of the function, "+
		"which may call nothing of the session but Get", document.PlainName(name), maxRuns))
}

// writable reports whether changes can be taken. The caller holds mu.
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

// drop says that changes went with a session that has ended. The caller holds mu.
func (s *Session) drop() {
	if s.err == nil {
		s.err = ErrEnded
		s.event(EventDropped, ErrEnded)
	}
}

// event emits an event about the session as it is known. The caller holds mu.
func (s *Session) event(kind EventKind, err error) {
	s.m.emit(s.context(), Event{Kind: kind, Handle: s.view.Record.Handle, Principal: s.view.Record.Principal, Err: err})
}

func (s *Session) context() context.Context {
	if s.ctx == nil {
		return context.Background()
	}
	return s.ctx
}

// fail sets Err. The first failure of a request stays. The caller holds mu.
func (s *Session) fail(err error) error {
	if !replaces(s.err) {
		s.err = err
	}
	return err
}

// refuse is fail for what the program passed, and reports it: no save will. The caller holds mu.
func (s *Session) refuse(err error) error {
	if !replaces(s.err) {
		s.m.failed(s.context(), s.view.Record.Handle, err)
	}
	return s.fail(err)
}

// IsNew reports whether the request came without a session that is still alive.
func (s *Session) IsNew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isNew
}

// Err returns what went wrong with the session in this request: nil, [ErrEnded], [ErrTooLate], or an error for which the
// [Manager.Handler] replaces the response ([ErrUnavailable], [ErrUncertain], [ErrTooLarge], a value that can't be encoded).
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Token returns what the client sends back to have this session: the cookie's value, or the bearer token. It is a
// secret. The token is chosen by Login, Renew, or the first change of a new session, but is valid only after the session
// has been saved; with a CookieCodec it is known only then. "" while there is no session. After a concurrent Renew it is
// the token that the client sent.
func (s *Session) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.choose() && s.next.Token != "" {
		return s.next.Token
	}
	return s.token
}

// Info returns what a list of sessions would say of this one. Handle is "" while there is no session.
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
