//go:build !linux

package measure

import "time"

func threadTime() time.Duration { return wallTime() }
