package redisstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A timer that goes off while a call begins looks at that call: its channel must not come to another one then, nor be
// closed twice.
func TestLateLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, rest := range []time.Duration{0, 2 * look} { // the call ends before its own timer goes off, and after it
			w := watches.New().(*watch)
			time.Sleep(2 * look) // it has no call to look at yet
			call := w.start(ended)
			w.look() // of a timer that was set before
			select {
			case <-call.Done():
			default:
				t.Error("got a call that goes on, want its end")
			}
			time.Sleep(rest)
			w.stop()
			for range 100 {
				if watches.Get().(*watch) == w {
					t.Error("got a watch from the pool whose channel is closed")
				}
			}
		}
	})
}
