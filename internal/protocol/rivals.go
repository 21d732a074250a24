package protocol

import (
	"maps"
	"time"
)

// rivals are the sessions, by their keys, for which this process has lately met other processes that write them too.
// Without those nothing is kept.
//
// The process that wrote last is the first to load the record again, so it would win again and again. After a write it
// therefore lets the others go first, for about as long as one attempt takes. Then it comes to the end of the line,
// since those that lost retry at once.
type rivals map[string]rival

const (
	rivalry    = time.Second // how long after its last write a process remembers that it has met others
	mostRivals = 16          // in a shard; beyond, all are forgotten
)

type rival struct {
	version uint64    // which this process wrote last
	until   time.Time // others go first; the time of the write if they don't
}

// write is a write of a save that succeeded. The zero value is none.
type write struct {
	version, over uint64    // over: the version that it replaced
	began         time.Time // the attempt, with its load if it made one
	lost          bool      // an attempt before it was too late
}

// longestPause bounds each pause of a save.
const longestPause = 20 * time.Millisecond

// note is told what the process has written. If others have written since it last did, they go first now. The pause is
// random within bounds: processes of equal speed would else come in the same order for ever.
func (r rivals) note(key string, w write) {
	if w.version == 0 {
		return
	}
	now := time.Now()
	forgotten := func(_ string, old rival) bool { return now.Sub(old.until) > rivalry }
	last, known := r[key]
	if known && forgotten(key, last) {
		delete(r, key)
		known = false
	}
	if !known && !w.lost {
		return
	}
	if !known && len(r) >= mostRivals {
		maps.DeleteFunc(r, forgotten)
		if len(r) >= mostRivals {
			clear(r)
		}
	}
	pause := time.Duration(0)
	if w.lost || last.version != w.over {
		attempt := now.Sub(w.began)
		pause = min(attempt-attempt/4+jitter(attempt/2), longestPause)
	}
	r[key] = rival{w.version, now.Add(pause)}
}

// pause returns for how long the next save of key lets others go first.
func (r rivals) pause(key string) time.Duration {
	if last, known := r[key]; known {
		return time.Until(last.until)
	}
	return 0
}
