package session

import (
	"context"

	"github.com/hipflask/session/internal/document"
)

// Key is the typed name of a value in a session. Declare keys once, as constants:
//
//	const visits = session.Key[int]("visits")
//
// Values are encoded when they are set and decoded when they are read, as encoding/json does it; nothing needs to be
// registered. A stored value of another type counts as absent and is an event, so a changed struct is no accident.
type Key[T any] string

// Get returns the value, and whether there is one.
func (k Key[T]) Get(s *Session) (T, bool) {
	if document.IsAttribute(string(k)) {
		var zero T
		return zero, false
	}
	return getValue[T](s, string(k), s.m.serializer)
}

// Or returns the value, or fallback if there is none.
func (k Key[T]) Or(s *Session, fallback T) T {
	if v, ok := k.Get(s); ok {
		return v
	}
	return fallback
}

// Set stores the value. It is encoded now. What can't be encoded sets Session.Err, and the request fails.
func (k Key[T]) Set(s *Session, value T) { s.Set(string(k), value) }

// Pop removes the value and returns it. See Take for values that may be used once.
func (k Key[T]) Pop(s *Session) (T, bool) {
	v, ok := k.Get(s)
	s.Delete(string(k))
	return v, ok
}

// Delete removes the value, if there is one.
func (k Key[T]) Delete(s *Session) { s.Delete(string(k)) }

// Update replaces the value by fn of it; without one, fn gets the zero value. It is atomic: if other requests change the
// value meanwhile, fn runs again on theirs when the session is saved, inside the response's first Write. So fn has no
// side effects, and calls nothing of the session but Get. Update returns fn's result on the value seen so far. If the save
// later conflicts with another request, fn runs again and Get returns the final value.
func (k Key[T]) Update(s *Session, fn func(T) T) T {
	return updateValue(s, string(k), s.m.serializer, checkName(string(k)), fn)
}

// Take removes the value from the store at once and returns it: of any number of requests that try, exactly one gets
// it. It is for values that may be used once, such as an OAuth state or a reset code. Besides Save, Reload and
// RevokeOthers it is the only call on a Session that does I/O.
//
// Errors: ErrUnavailable: nothing happened. ErrUncertain: the value may be gone. ErrEnded: so is the session. With a
// cookie codec there is no place where one could be first: errors.ErrUnsupported.
func (k Key[T]) Take(ctx context.Context, s *Session) (T, bool, error) {
	var v, zero T
	data, ok, err := s.take(ctx, string(k))
	if err != nil || !ok || !s.decode(s.m.serializer, string(k), "", data, &v) {
		return zero, false, err
	}
	return v, true, nil
}
