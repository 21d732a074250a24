package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session/store"
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
	m *Manager

	// io lets one operation on the store run at a time. It is taken before mu.
	io sync.Mutex

	// mu guards what follows. It is held neither during I/O nor while a caller's function runs.
	mu sync.Mutex
	view
	isNew    bool
	isActive bool // belongs to a request, which counts for the idle timeout
	sealed   bool // the response's header has been sent: no cookie can be
	unsure   bool // a save ended in ErrUncertain: what was changed may be stored
	err      error

	life      life
	principal string          // of a pending login
	next      *identity       // the ID of what is to be created; nil until it is first asked for
	ending    *ending         // what Logout is to end
	cookie    *cookieChange   // what the response has to tell the browser; nil: nothing
	ctx       context.Context // of the request around the Handler: OnEvent can't get at the session, whose lock may be held
}

// view is what the session is known to be in the store, and what this request changed since.
type view struct {
	found
	token   string // as the client has it, or will get it
	changes changes
	label   *string
}

type state uint8

const (
	fresh  state = iota // nothing in the store
	live                // record is in the store
	late                // came with an ID that a login or an end retired: reads empty, drops changes; only Login works
	spent               // moved by a parallel login from anonymous to a principal: keeps its view, takes no changes
	failed              // could not be read: reads empty, ignores changes
)

type life uint8

const (
	keep life = iota
	renew
	login
)

// identity is a new session's ID, before it is stored.
type identity struct{ token, key, handle string }

// ending is a session that is to be ended: its record, when that was loaded, and the principal who ends it.
type ending struct {
	record store.Record
	at     time.Time
	who    string
}

// cookieChange is a cookie to be set, or deleted if it has no value.
type cookieChange struct {
	value      string
	persistent bool
	expiresAt  time.Time
}

// Get returns the value of key. It gives JSON's types: nil, bool, string, int64, float64, []any and map[string]any; a
// Key gives other types. A value that can't be decoded counts as absent and is an event.
func (s *Session) Get(key string) (any, bool) {
	return Key[any](key).Get(s)
}

// Set stores value under key. It is encoded now: later changes to what it points to are not seen. A value that JSON has
// no form for sets Err, and the request fails.
func (s *Session) Set(key string, value any) {
	data, err := s.m.serializer.Marshal(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = checkName(key)
	}
	if err != nil {
		s.refuse(fmt.Errorf("session: key %q can't be set: %w", key, err))
		return
	}
	if s.writable() {
		s.changes.put(key, data, true)
	}
}

// Pop removes key and returns its value, as Flask's session.pop. Of overlapping requests several can get it: for values
// that may be used once see Key.Take.
func (s *Session) Pop(key string) (any, bool) {
	v, ok := s.Get(key)
	s.Delete(key)
	return v, ok
}

// Delete removes key, if it is there.
func (s *Session) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.changes.get(s.document, key); !ok {
		return
	}
	if err := checkName(key); err != nil {
		s.refuse(fmt.Errorf("session: key %q can't be deleted: %w", key, err))
	} else if s.writable() {
		s.changes.put(key, nil, false)
	}
}

// Clear removes all values. The session keeps its ID, principal, label and persistence.
func (s *Session) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (len(s.document) > 0 || !s.changes.empty()) && s.writable() {
		s.changes.clear()
	}
}

// Keys returns the names of all values, sorted.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(s.changes.names(s.document))
}

// Len returns the number of values.
func (s *Session) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes.count(s.document)
}

var errReserved = errors.New("the name is reserved; use SetPersistent")

func checkName(key string) error {
	switch {
	case key == permanentKey:
		return errReserved
	case !utf8.ValidString(key):
		return errUTF8
	}
	return nil
}

// value returns the encoded value of key, and the handle of the session that it is in.
func (s *Session) value(key string) (data []byte, handle string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok = s.changes.get(s.document, key)
	return data, s.record.Handle, ok
}

func (s *Session) decode(key, handle string, data []byte, pointer any) bool {
	if err := s.m.serializer.Unmarshal(data, pointer); err != nil {
		// The decoder's own text can quote the value.
		err = fmt.Errorf("session: the stored value is not a %T", pointer)
		s.m.emit(s.context(), Event{Kind: EventUndecodable, Handle: handle, Key: key, Err: err})
		return false
	}
	return true
}

// maxRuns bounds the runs of an Update against the other goroutines of the request. It is reached only by a function
// that changes the session itself.
const maxRuns = 10_000

// update runs now on the value of key, without a lock, and again if another goroutine changed it meanwhile. A save that
// meets another request runs again instead.
func (s *Session) update(key string, now, again updater) error {
	if err := checkName(key); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.refuse(fmt.Errorf("session: key %q can't be updated: %w", key, err))
	}
	for range maxRuns {
		s.mu.Lock()
		if !s.writable() {
			s.mu.Unlock()
			return nil
		}
		value, present := s.changes.get(s.document, key)
		seq, version := s.changes.seq, s.record.Version
		s.mu.Unlock()

		next, keep, err := now(value, present)

		s.mu.Lock()
		switch {
		case s.changes.seq != seq || s.record.Version != version:
			s.mu.Unlock()
			continue
		case err != nil:
			err = s.refuse(fmt.Errorf("session: key %q can't be updated: %w", key, err))
		default:
			s.changes.update(key, again, next, keep)
		}
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse(fmt.Errorf("session: key %q can't be updated: the session changed in each of %d runs of the function, "+
		"which may call nothing of the session but Get", key, maxRuns))
}

// writable reports whether changes can be taken. The caller holds mu.
func (s *Session) writable() bool {
	switch s.state {
	case fresh, live:
		return true
	case late, spent:
		if s.life == login {
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
		s.event(Event{Kind: EventDropped, Handle: s.record.Handle, Principal: s.record.Principal, Err: ErrEnded})
	}
}

func (s *Session) event(e Event) { s.m.emit(s.context(), e) }

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
		s.m.failed(s.context(), s.record.Handle, err)
	}
	return s.fail(err)
}

// Login makes the session that of a principal, a user's ID or name of 1 to 256 bytes. It gets a new ID and handle
// (ASVS 5.0, 7.2.4) and a new Lifetime. The values are kept; but if somebody else was logged in, they are cleared first.
// It works whatever became of the session meanwhile. Another principal than such a text sets Err, and the request fails.
func (s *Session) Login(principal string) {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == failed {
		return
	}
	if principal == "" || len(principal) > store.MaxPrincipal || !utf8.ValidString(principal) || strings.ContainsRune(principal, 0) {
		s.refuse(fmt.Errorf("session: Login: the principal is not 1 to %d bytes of UTF-8 without NUL", store.MaxPrincipal))
		return
	}
	if was := s.currentPrincipal(); was != "" && was != principal || s.state == spent {
		s.changes.clear()
		s.changes.forget(permanentKey)
		none := ""
		s.document, s.label = nil, &none
	}
	if s.err == ErrEnded {
		s.err = nil // what was dropped stays dropped, but from here on there is a session again
	}
	s.life, s.principal, s.next = login, principal, nil
	if s.m.policy == nil {
		return
	}
	for name, value := range s.m.policy.Login(principal) {
		data, err := s.m.serializer.Marshal(value)
		if err != nil {
			s.refuse(fmt.Errorf("session: Login: %w", err))
			return
		}
		s.changes.put(name, data, true)
	}
}

// Logout ends the session in the store, so that no request in flight can bring it back, and tells the browser to forget
// its cookie. From then on the session is a new, empty, anonymous one: what is set after it, such as a flash message, is
// stored under a fresh ID, and the answer carries that cookie instead.
func (s *Session) Logout() {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == failed {
		return
	}
	if s.state == live {
		s.ending = &ending{s.record, s.loadedAt, s.record.Principal}
	}
	s.reset()
}

// reset makes the session a new one. The caller holds mu.
func (s *Session) reset() {
	seq := s.changes.seq + 1 // so that a save under way does not take what follows for its own
	s.view = view{changes: changes{seq: seq}}
	s.life, s.principal, s.next = keep, "", nil
	if s.err == ErrEnded || s.unsure {
		s.err = nil
	}
	s.unsure = false
}

// Renew gives the session a new ID. Values, principal, handle and Lifetime stay; requests in flight keep their changes.
// Call it when rights grow. A session that is not stored yet needs none.
func (s *Session) Renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew()
}

func (s *Session) renew() {
	if s.state == live && s.life == keep {
		s.life, s.next = renew, nil
	}
}

// Principal returns who is logged in, "" for nobody.
func (s *Session) Principal() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.currentPrincipal()
}

func (s *Session) currentPrincipal() string {
	if s.life == login {
		return s.principal
	}
	if s.state != live {
		return ""
	}
	return s.record.Principal
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
		s.changes.seq++
		s.label = &label
	}
}

func (s *Session) currentLabel() string {
	if s.label != nil {
		return *s.label
	}
	return s.record.Label
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
		s.changes.put(permanentKey, data, true)
		s.renew()
	}
}

func (s *Session) isPersistent() bool {
	data, ok := s.changes.get(s.document, permanentKey)
	if !ok {
		return s.m.config.Cookie.Persistent
	}
	return s.m.persistent(data)
}

// IsNew reports whether the request came without a session that is still alive.
func (s *Session) IsNew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isNew
}

// Err returns what went wrong with the session in this request: nil, ErrEnded, ErrTooLate, or an error for which the
// Handler replaces the answer (ErrUnavailable, ErrUncertain, ErrTooLarge, a value that can't be encoded).
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Token returns what the client sends back to have this session: the cookie's value, or the bearer token. It is a
// secret. Login, Renew and the first change of a new session choose the token at once; it is good for something when
// the session is saved. "" while there is no session. After a parallel Renew it is the token that the client sent.
func (s *Session) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.choose() {
		return s.next.token
	}
	return s.token
}

// Info returns what a list of sessions would say of this one. Handle is "" while there is no session.
func (s *Session) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var i Info // without times, while a login waits for its save
	if s.life != login {
		i = info(&s.record)
	}
	if s.choose() {
		i.Handle = s.next.handle
	}
	i.Principal, i.Label = s.currentPrincipal(), s.currentLabel()
	return i
}

// choose makes the ID of a session that is going to be created, if there is one. The caller holds mu.
func (s *Session) choose() bool {
	creates := s.life != keep && !(s.life == renew && s.moved) || s.state == fresh && s.changes.count(nil) > 0
	if !creates || s.sealed || s.m.codec != nil {
		return false
	}
	if s.next == nil {
		s.next = &identity{handle: newHandle()}
		s.next.token, s.next.key = s.m.ids.New()
		if s.life == renew {
			s.next.handle = s.record.Handle
		}
	}
	return true
}
