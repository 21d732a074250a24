package flasksession

import (
	"sync"
	"time"
)

// written is what this process last wrote of a session. A writer chooses a random version for each write and goes on
// with that, but the medium knows only content; and a medium may not tell the expiry.
type written struct {
	version uint64 // which the writer chose, or loaded
	content uint64 // the version of the document
	expires time.Time
}

// recent remembers by key what this process wrote of the last few thousand sessions. It may forget: the writer then
// meets a conflict and loads what is stored. It is safe for concurrent use.
type recent struct {
	mu           sync.Mutex
	young, aging map[string]written
}

// generation is how many sessions are remembered for certain.
const generation = 4096

func (r *recent) put(key string, w written) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= generation {
		r.aging, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[string]written)
	}
	r.young[key] = w
}

// get returns the zero written if nothing is remembered.
func (r *recent) get(key string) written {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.young[key]; ok {
		return w
	}
	return r.aging[key]
}

func (r *recent) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, key)
	delete(r.aging, key)
}
