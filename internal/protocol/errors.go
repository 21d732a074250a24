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

// Unavailable and Uncertain hide the store's error behind ours: its text is for the log, its type is nobody's contract.
func Unavailable(step string, cause error) error {
	return fmt.Errorf("%w: %s: %v", ErrUnavailable, step, cause)
}

func Uncertain(step string, cause error) error {
	return fmt.Errorf("%w: %s: %v", ErrUncertain, step, cause)
}
