package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// processTime returns the processor time that this process has used so far. getrusage is exact to a tick only.
func processTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // it can't fail for the process itself
	}
	return time.Duration(t.Nano())
}
