package protocol

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A process lets others go first only if they have written what it has written, and then for about as long as its
// attempt took.
func TestRivals(t *testing.T) {
	t.Parallel()
	const attempt = 4 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		l := newTurns()
		next := uint64(1)
		wrote := func(key string, over uint64, lost bool, took time.Duration) uint64 {
			began := time.Now()
			time.Sleep(took)
			next++
			l.leave(key, write{next, over, began, lost})
			return next
		}
		// enter takes the turn of a key, and returns for how long that save has to let others go first.
		enter := func(key string) time.Duration {
			w, _, err := l.enter(t.Context(), key, nil)
			switch {
			case err != nil:
				t.Fatal(err)
			case w == nil:
				return 0
			}
			return w.pause
		}
		about := func(what string, got, want time.Duration) {
			t.Helper()
			if got < want*3/4 || got > want*5/4 {
				t.Errorf("%s: got a pause of %v, want about %v", what, got, want)
			}
		}
		enter("key")
		v := wrote("key", 1, false, attempt)
		about("after a write that met nobody", enter("key"), 0)
		v = wrote("key", v, true, attempt)
		about("after a write that had lost before", enter("key"), attempt)
		v = wrote("key", v, false, attempt)
		about("after a write over the own one", enter("key"), 0)
		v = wrote("key", v+100, false, attempt)
		about("after a write over another process's", enter("key"), attempt)
		l.leave("key", write{})
		about("after a save that wrote nothing", enter("key"), attempt)
		l.leave("key", write{})
		time.Sleep(attempt / 2)
		if got := enter("key"); got > attempt*3/4 {
			t.Errorf("half an attempt later: got a pause of %v", got)
		}
		l.leave("key", write{})
		time.Sleep(attempt)
		about("later", enter("key"), 0)
		v = wrote("key", v, true, time.Second)
		if got := enter("key"); got <= 0 || got > longestPause {
			t.Errorf("after a long attempt: got a pause of %v, want at most %v", got, longestPause)
		}
		l.leave("key", write{})
		time.Sleep(rivalry + longestPause + 1)
		enter("key")
		v = wrote("key", v+100, false, attempt)
		about("over a write of another process, long after the own one", enter("key"), 0)
		v = wrote("key", v, true, attempt)
		for i := range 10_000 {
			other := fmt.Sprint(i)
			about("another session", enter(other), 0)
			l.leave(other, write{1, 2, time.Now(), false})
		}
		if enter("key") == 0 {
			t.Error("writes of other sessions, which nobody contends for, made it forget this one")
		}
		known := 0
		for i := range 10_000 {
			other := fmt.Sprint(i)
			enter(other)
			l.leave(other, write{1, 2, time.Now(), true})
			known = max(known, len(l.shard(other).rivals))
		}
		if known != mostRivals {
			t.Errorf("a shard knows of up to %d sessions, want %d", known, mostRivals)
		}

		// Who waits gets the turn with the pause.
		done := make(chan time.Duration)
		go func() { done <- enter("key") }()
		synctest.Wait()
		wrote("key", v, true, attempt)
		about("for the next in the queue", <-done, attempt)
	})
}
