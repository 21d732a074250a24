package session

import (
	"errors"
	"fmt"
)

// The errors that callers tell apart with [errors.Is]. Their texts, and those of the errors that wrap them, never hold
// an ID, a cookie, a key or a value.
var (
	// ErrEnded: the session was logged out, revoked, replaced by a login, or has expired. Its changes are dropped with it.
	ErrEnded = errors.New("session: the session has ended")

	// ErrUnavailable: the store could not be reached in time, and nothing was changed. Try again.
	ErrUnavailable = errors.New("session: store unavailable, nothing was changed")

	// ErrUncertain: the store failed in the middle of a change, which may have been applied or not.
	ErrUncertain = errors.New("session: store unavailable, the change may or may not have been applied")

	// ErrTooLate: the change needs a new cookie, but the response's header has been sent. Log in, renew, or make the
	// first change of a new session before the first byte.
	ErrTooLate = errors.New("session: too late for a new cookie: the response's header has been sent")

	// ErrTooLarge: the encoded session is longer than Config.MaxBytes, or than a browser takes in one cookie.
	ErrTooLarge = errors.New("session: the session is too large")
)

// unavailable and uncertain hide the store's error behind ours: its text is for the log, its type is nobody's contract.
func unavailable(step string, cause error) error {
	return fmt.Errorf("%w: %s: %v", ErrUnavailable, step, cause)
}

func uncertain(step string, cause error) error {
	return fmt.Errorf("%w: %s: %v", ErrUncertain, step, cause)
}

// replaces reports whether err makes the response a failure. A session that ended and a cookie that came too late do
// not: the answer stands, the changes are gone, Err and an event say so.
func replaces(err error) bool {
	return err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrTooLate)
}
