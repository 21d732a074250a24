package session

import (
	"errors"

	"github.com/hipflask/session/internal/protocol"
)

// The errors that callers tell apart with [errors.Is]. Their texts, and those of the errors that wrap them, never hold
// an ID, a cookie, a key or a value.
var (
	// ErrEnded: the session was logged out, revoked, replaced by a login, or has expired. Its changes are dropped with it.
	ErrEnded = protocol.ErrEnded

	// ErrUnavailable: the store could not be reached in time, and nothing was changed. Try again.
	ErrUnavailable = protocol.ErrUnavailable

	// ErrUncertain: the store failed in the middle of a change, which may have been applied or not.
	ErrUncertain = protocol.ErrUncertain

	// ErrTooLate: the change needs a new cookie, but the response's header has been sent. Log in, renew, or make the
	// first change of a new session before the first byte.
	ErrTooLate = errors.New("session: too late for a new cookie: the response's header has been sent")

	// ErrTooLarge: the encoded session is longer than Config.MaxBytes, or than a browser takes in one cookie.
	ErrTooLarge = protocol.ErrTooLarge
)

// replaces reports whether err makes the response a failure. A session that ended and a cookie that came too late do
// not: the answer stands, the changes are gone, Err and an event say so.
func replaces(err error) bool {
	return err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrTooLate)
}
