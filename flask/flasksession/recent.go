package flasksession

import "sync"

// Recent is a bounded memory of this process: it forgets the older of what it was told. It is safe for concurrent use.
type Recent[K comparable, V any] struct {
	mu           sync.Mutex
	young, aging map[K]V
}

// generation is how many of the latest things are remembered for sure.
const generation = 4096

// Put remembers a value.
func (r *Recent[K, V]) Put(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= generation {
		r.aging, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[K]V)
	}
	r.young[key] = value
}

// Get returns the value that was put last.
func (r *Recent[K, V]) Get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if value, ok = r.young[key]; !ok {
		value, ok = r.aging[key]
	}
	return value, ok
}

// Forget forgets it.
func (r *Recent[K, V]) Forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, key)
	delete(r.aging, key)
}
