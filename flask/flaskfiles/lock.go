package flaskfiles

import (
	"context"
	"fmt"
	"os"
	"time"
)

// How long to wait before trying a lock again. A writer holds it for some ten microseconds.
const (
	firstWait = 50 * time.Microsecond
	longWait  = 2 * time.Millisecond
)

// lock takes the exclusive lock of an open file. It polls, because a thread that waits for the lock can't be called
// back when ctx ends. Closing the file releases the lock, and so does the end of the process.
func lock(ctx context.Context, f *os.File) error {
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		if locked, err := tryLock(f); err != nil {
			return fmt.Errorf("lock: %w", err)
		} else if locked {
			return nil
		}
		timer := time.NewTimer(wait/2 + time.Duration(time.Now().UnixNano())%wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for another writer: %w", ctx.Err())
		case <-timer.C:
		}
	}
}
