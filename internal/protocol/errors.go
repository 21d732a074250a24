package protocol

import (
	"errors"
	"fmt"
)

// The errors of package session, which documents them.
var (
	ErrEnded       = errors.New("session: the session has ended")
	ErrUnavailable = errors.New("session: store unavailable, nothing was changed")
	ErrUncertain   = errors.New("session: store unavailable, the change may or may not have been applied")
	ErrTooLarge    = errors.New("session: the session is too large")
)

// Unavailable wraps the store's error: its text is for the log, and its type is not part of the API.
func Unavailable(step string, cause error) error {
	return fmt.Errorf("%w: %s: %v", ErrUnavailable, step, cause)
}

// Uncertain is Unavailable for a change that may have been applied.
func Uncertain(step string, cause error) error {
	return fmt.Errorf("%w: %s: %v", ErrUncertain, step, cause)
}

// BusyError is an ErrUnavailable although the store responds: too many others write the same session.
type BusyError struct{}

var (
	errBusy   = errors.New("too many concurrent writers of one session")
	errNoTurn = errors.New("the store does not answer the save before")
)

func (*BusyError) Error() string {
	return "session: too many concurrent writers of one session, nothing was changed"
}

// Is makes it an ErrUnavailable.
func (*BusyError) Is(target error) bool { return target == ErrUnavailable }
