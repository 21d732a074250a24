package session

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
)

// Attribute is the typed name of a value that belongs to the session itself, not to the application's dictionary:
// [Session.Get], [Session.Keys] and [Session.Len] don't show it. [Session.Clear] and [Session.Renew] keep it,
// [Session.Login] and [Session.Logout] drop it. Modules keep their state in attributes, named by their import path:
//
//	type Binding struct{ Device string }
//
//	const binding = session.Attribute[Binding]("example.com/device")
//
// Attributes of overlapping requests merge by name, as values do. An attribute alone makes a session worth storing. A
// layout that is shared with Flask has no place for attributes: there Set and Update set [Session.Err] and fail the
// request. The methods are safe for concurrent use.
type Attribute[T any] string

// Get returns the value, and whether there is one. A stored value of another type counts as absent, and is reported as
// [EventUndecodable].
func (a Attribute[T]) Get(s *Session) (T, bool) {
	return getValue[T](s, document.Attribute(string(a)), s.m.serializer)
}

// Set sets the value, as [Key.Set] does.
func (a Attribute[T]) Set(s *Session, value T) {
	setAttribute(s, document.Attribute(string(a)), s.m.serializer, value, s.m.checkAttribute(string(a)))
}

// Delete removes the value. It does nothing if there is none.
func (a Attribute[T]) Delete(s *Session) {
	s.remove(document.Attribute(string(a)), s.m.checkAttribute(string(a)))
}

// Update replaces the value by the result of fn, atomically, as [Key.Update] does.
func (a Attribute[T]) Update(s *Session, fn func(T) T) T {
	return updateValue(s, document.Attribute(string(a)), s.m.serializer, s.m.checkAttribute(string(a)), fn)
}

// PublicAttribute is an [Attribute] that lists of sessions show as well: [PublicAttribute.Of] reads it from an [Info].
// All public attributes of a session together have at most 512 bytes ([store.MaxPublic]), as a JSON object of their
// names and values; beyond that the save fails with [ErrTooLarge]. A
// persistent session needs 19 bytes of these itself. They are always encoded by [JSON], not by [Config.Serializer].
type PublicAttribute[T any] string

// Get returns the value, and whether there is one. A stored value of another type counts as absent, and is reported as
// [EventUndecodable].
func (a PublicAttribute[T]) Get(s *Session) (T, bool) {
	return getValue[T](s, document.PublicAttribute(string(a)), JSON)
}

// Of returns the value in an [Info], as [Manager.Sessions] and [Manager.All] yield it, and whether there is one. A
// value of another type counts as absent. It does no I/O.
func (a PublicAttribute[T]) Of(i Info) (T, bool) {
	var v, zero T
	members, err := JSON.Split([]byte(i.public))
	if err != nil {
		return zero, false
	}
	for _, m := range members {
		if m.Name == string(a) && JSON.Unmarshal(m.Value, &v) == nil {
			return v, true
		}
	}
	return zero, false
}

// Set sets the value, as [Key.Set] does.
func (a PublicAttribute[T]) Set(s *Session, value T) {
	setAttribute(s, document.PublicAttribute(string(a)), JSON, value, s.m.checkPublic(string(a)))
}

// Delete removes the value. It does nothing if there is none.
func (a PublicAttribute[T]) Delete(s *Session) {
	s.remove(document.PublicAttribute(string(a)), s.m.checkPublic(string(a)))
}

// Update replaces the value by the result of fn, atomically, as [Key.Update] does.
func (a PublicAttribute[T]) Update(s *Session, fn func(T) T) T {
	return updateValue(s, document.PublicAttribute(string(a)), JSON, s.m.checkPublic(string(a)), fn)
}

// checkAttribute returns why a session can't have an attribute of that name; nil if it can.
func (m *Manager) checkAttribute(name string) error {
	switch {
	case m.policy != nil:
		return errors.New("the layout is shared with another framework and has no place for attributes; " +
			"they need a Store in the layout of this package, or EncryptedCookie")
	case !utf8.ValidString(name):
		return document.ErrUTF8
	case name == document.Permanent: // Record.Public has a mark of that name
		return errPersistent
	}
	return nil
}

// checkPublic is checkAttribute for a public attribute.
func (m *Manager) checkPublic(name string) error {
	if protocol.IsReserved(name) {
		return errors.New("the name is reserved; use LoginWith or Elevate")
	}
	return m.checkAttribute(name)
}

// setAttribute implements Set. A non-nil refused says why a session can't have the attribute.
func setAttribute[T any](s *Session, name string, with Serializer, value T, refused error) {
	data, err := with.Marshal(value)
	if err == nil {
		err = refused
	}
	s.put(name, data, err)
}

func getValue[T any](s *Session, name string, with Serializer) (T, bool) {
	var zero T
	data, handle, ok := s.value(name)
	if !ok {
		return zero, false
	}
	var v T
	if !s.decode(with, name, handle, data, &v) {
		return zero, false // v may be half decoded
	}
	return v, true
}

// updateValue implements Update for a name of the document. A non-nil err says why the name can't be updated.
func updateValue[T any](s *Session, name string, with Serializer, err error, fn func(T) T) T {
	var result T
	name = strings.Clone(name) // the save may run fn again, when the caller's memory has changed
	s.update(name, err, updater(s, name, with, fn, &result), updater(s, name, with, fn, nil))
	return result
}

// updater returns fn as a function of encoded values. It stores fn's result in *result, unless that is nil. Only the
// run within Update has a result: the save of another goroutine may run fn again after Update has returned.
func updater[T any](s *Session, name string, with Serializer, fn func(T) T, result *T) document.Updater {
	return func(data []byte, present bool) ([]byte, bool, error) {
		var v T
		if present && !s.decode(with, name, "", data, &v) {
			var zero T
			v = zero
		}
		v = fn(v)
		next, err := with.Marshal(v)
		if err == nil && result != nil {
			*result = v
		}
		return next, true, err
	}
}
