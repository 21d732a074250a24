//go:build !linux

package measure

import "time"

func processTime() time.Duration { return wallTime() }
