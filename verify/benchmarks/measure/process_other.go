//go:build !linux

package measure

import "time"

func processTime() time.Duration { return wallTime() }

// ProcessTime is the time on the wall here.
func ProcessTime(int) time.Duration { return wallTime() }
