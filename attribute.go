package session

import (
	"errors"
	"unicode/utf8"

	"github.com/hipflask/session/internal/document"
)

// Attribute is the typed name of a value that belongs to the session itself and not to the application's dictionary: it
// isn't in Get, Keys or Len. Clear and Renew keep it; Login and Logout drop it. Modules keep their state in attributes,
// named by their import path:
//
//	const binding = session.Attribute[Binding]("example.com/device")
//
// Attributes merge by name, as values do. Where the layout has no place for attributes, since it is shared with Flask, Set
// and Update set Session.Err, and the request fails.
type Attribute[T any] string

// Get returns the value, and whether there is one. A stored value of another type counts as absent and is an event.
func (a Attribute[T]) Get(s *Session) (T, bool) {
	return getValue[T](s, document.Attribute(string(a)), s.m.serializer)
}

// Set stores the value. It is encoded now. What can't be encoded sets Session.Err, and the request fails.
func (a Attribute[T]) Set(s *Session, value T) {
	setAttribute(s, document.Attribute(string(a)), s.m.serializer, value)
}

// Delete removes the value, if there is one.
func (a Attribute[T]) Delete(s *Session) {
	s.remove(document.Attribute(string(a)), s.m.checkAttribute(string(a)))
}

// Update replaces the value by fn of it, as [Key.Update].
func (a Attribute[T]) Update(s *Session, fn func(T) T) T {
	return updateValue(s, document.Attribute(string(a)), s.m.serializer, s.m.checkAttribute(string(a)), fn)
}

// PublicAttribute is an [Attribute] that lists of sessions show as well. All public attributes of a session have at most
// 512 bytes together, as a JSON object of their names and values; beyond that the save fails with [ErrTooLarge].
type PublicAttribute[T any] string

// Get returns the value, and whether there is one. A stored value of another type counts as absent and is an event.
func (a PublicAttribute[T]) Get(s *Session) (T, bool) {
	return getValue[T](s, document.PublicAttribute(string(a)), JSON)
}

// Of returns the value that a listed session has, and whether there is one. A value of another type counts as absent.
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

// Set stores the value. It is encoded now. What can't be encoded sets Session.Err, and the request fails.
func (a PublicAttribute[T]) Set(s *Session, value T) {
	setAttribute(s, document.PublicAttribute(string(a)), JSON, value)
}

// Delete removes the value, if there is one.
func (a PublicAttribute[T]) Delete(s *Session) {
	s.remove(document.PublicAttribute(string(a)), s.m.checkAttribute(string(a)))
}

// Update replaces the value by fn of it, as [Key.Update].
func (a PublicAttribute[T]) Update(s *Session, fn func(T) T) T {
	return updateValue(s, document.PublicAttribute(string(a)), JSON, s.m.checkAttribute(string(a)), fn)
}

// checkAttribute returns why there can be no attribute of that name.
func (m *Manager) checkAttribute(name string) error {
	switch {
	case m.policy != nil:
		return errors.New("the layout is shared with another framework and has no place for attributes; " +
			"they need a Store in the layout of this package, or EncryptedCookie")
	case !utf8.ValidString(name):
		return document.ErrUTF8
	}
	return nil
}

func setAttribute[T any](s *Session, name string, with Serializer, value T) {
	data, err := with.Marshal(value)
	if err == nil {
		err = s.m.checkAttribute(document.PlainName(name))
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

// updateValue is Update of a name of the document. err is why it can't be updated.
func updateValue[T any](s *Session, name string, with Serializer, err error, fn func(T) T) T {
	var result T
	s.update(name, err, updater(s, name, with, fn, &result), updater(s, name, with, fn, nil))
	return result
}

// updater is fn on encoded values. Its result is only for the caller of Update: a save of another goroutine may run fn
// again when Update has returned.
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
