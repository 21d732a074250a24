package session

import (
	"context"

	"github.com/hipflask/session/internal/document"
)

// Key is the typed name of a value in a session. Declare keys once, as constants:
//
//	const visits = session.Key[int]("visits")
//
// T is any type that encoding/json encodes and decodes, such as a struct, slice or map; no type needs to be registered.
// Values are encoded when they are set, and decoded when they are read. A stored value that can't be decoded into a T
// counts as absent and is reported as [EventUndecodable], so a changed type never fails a request.
//
// A key is any UTF-8 text, except "_permanent" and texts that begin with "_hipflask:", which are reserved. Methods are
// safe for concurrent use, and only [Key.Take] does I/O.
type Key[T any] string

// Get returns the value, and whether there is one. Without one it returns the zero value of T.
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

// Set sets the value. It is encoded at once, so later changes to data that it points to have no effect. The session is
// saved before the first byte of the response. A value that can't be encoded, or a reserved name, sets [Session.Err]
// and fails the request.
func (k Key[T]) Set(s *Session, value T) { s.Set(string(k), value) }

// Pop removes the value and returns it, and whether there was one. Of overlapping requests several may get it: use
// [Key.Take] for values that may be used only once.
func (k Key[T]) Pop(s *Session) (T, bool) {
	v, ok := k.Get(s)
	s.Delete(string(k))
	return v, ok
}

// Delete removes the value. It does nothing if there is none.
func (k Key[T]) Delete(s *Session) { s.Delete(string(k)) }

// Update replaces the value by the result of fn. If there is no value, fn gets the zero value of T. Update is atomic,
// even if other requests change the same value meanwhile.
//
// Update returns fn's result on the value seen so far. If the save later conflicts with another request, fn runs again
// on the value of that request, and Get returns the final value. A save takes place inside the first Write of the
// response, so fn must have no side effects, and must call no method of the session but Get.
//
// With a [Config.CookieCodec] there is no other value to run fn on: the last response wins. If the session has ended,
// or could not be loaded, fn doesn't run, and Update returns the zero value.
func (k Key[T]) Update(s *Session, fn func(T) T) T {
	return updateValue(s, string(k), s.m.serializer, checkName(string(k)), fn)
}

// Take removes the value from the store at once and returns it. If several requests take the same value, exactly one
// gets it; the others get false. It is for values that may be used only once, such as an OAuth state or a reset code.
//
// Take stores no other changes of the session: the next save does. If ctx is cancelled, Take goes on for at most
// [Config.StoreTimeout]. A value that is not a T is removed too, and counts as absent.
//
// Errors:
//   - [ErrUnavailable]: the store can't be reached, and the value is still there.
//   - [ErrUncertain]: the store failed, and the value may be gone.
//   - [ErrEnded]: the session has ended, and the value with it.
//   - [errors.ErrUnsupported]: there is a [Config.CookieCodec], and so no store that could tell which request came
//     first.
func (k Key[T]) Take(ctx context.Context, s *Session) (T, bool, error) {
	var v, zero T
	data, ok, err := s.take(ctx, string(k))
	if err != nil || !ok || !s.decode(s.m.serializer, string(k), "", data, &v) {
		return zero, false, err
	}
	return v, true, nil
}
