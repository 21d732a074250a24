package redisstore

import (
	"strconv"
	"sync/atomic"
	"time"
)

// A clock tells the server's time if the server has told it a moment ago. With it a change of a user's session says
// until when the record lives, not for how long. Then the script needn't compare the server's time, which is a fifth of
// its work: a record with an absolute expiry doesn't outlive its index entry, however late the call arrives.
type clock struct{ last atomic.Pointer[reading] }

// A reading is what the server's clock showed at a moment.
type reading struct{ at, server time.Time }

const (
	// clockAge is how long a reading counts: clocks drift, somebody may set the server's, and another server may become
	// the master.
	clockAge = time.Second
	// clockError is how long the call of a reading may have taken. The reading is off by half of that at most.
	clockError = 4 * time.Millisecond
)

// read takes what TIME has answered, seconds and microseconds, in a call that began then, and returns it as a time.
func (c *clock) read(began time.Time, seconds, micros string) (server time.Time, err error) {
	var parts [2]int64
	for i, text := range [...]string{seconds, micros} {
		if parts[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return server, errUnexpected
		}
	}
	server = time.Unix(parts[0], parts[1]*1000)
	if took := time.Since(began); took <= clockError {
		c.last.Store(&reading{began.Add(took / 2), server})
	}
	return server, nil
}

// now returns the server's time at that local time, in milliseconds.
func (c *clock) now(local time.Time) (ms int64, known bool) {
	r := c.last.Load()
	if r == nil {
		return 0, false
	}
	age := local.Sub(r.at)
	return r.server.Add(age).UnixMilli(), counts(age, local.Round(0).Sub(r.at.Round(0)))
}

// counts reports whether a reading counts that is so old by the monotonic clock and by the wall clock. If those
// disagree, this machine was suspended, or its clock was set, as the server's may have been.
func counts(age, byWall time.Duration) bool {
	return age <= clockAge && (byWall-age).Abs() <= clockError
}
