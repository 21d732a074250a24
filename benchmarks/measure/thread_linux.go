package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime returns the processor time that this thread has used so far. getrusage is exact to a tick only.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // it can't fail for the thread itself
	}
	return time.Duration(t.Nano())
}
