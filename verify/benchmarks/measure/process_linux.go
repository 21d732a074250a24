package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// processTime returns the processor time that this process has used so far. getrusage is exact to a tick only.
func processTime() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// ProcessTime returns the processor time that a running process has used so far.
func ProcessTime(pid int) time.Duration { return clock(int32(^pid)<<3 | 2) } // as clock_getcpuclockid(3) computes it

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // there is no such process
	}
	return time.Duration(t.Nano())
}
