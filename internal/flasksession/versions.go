package flasksession

import "sync"

// versions knows the content under the versions that this process has written. The writer chooses a random version for
// each write, and goes on with that; the layout knows only content. It is no loss to forget one: the writer then meets
// a conflict, and loads what is there.
type versions struct {
	mu           sync.Mutex
	young, aging map[uint64]uint64
}

// generation is how many writes are known for sure; a request needs its own for as long as it takes.
const generation = 4096

func (v *versions) put(version, content uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= generation {
		v.aging, v.young = v.young, nil
	}
	if v.young == nil {
		v.young = make(map[uint64]uint64)
	}
	v.young[version] = content
}

// get returns the content that the given version stands for: itself, if it was loaded.
func (v *versions) get(version uint64) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if content, ok := v.young[version]; ok {
		return content
	}
	if content, ok := v.aging[version]; ok {
		return content
	}
	return version
}
