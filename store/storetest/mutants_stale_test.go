package storetest

import (
	"context"
	"sync"

	"github.com/hipflask/session/store"
)

// hoarding is a store that keeps what it has read.
type hoarding struct {
	mutated
	mu      sync.Mutex
	kept    map[string]store.Record
	shares  bool // what it has kept
	tracked bool // forgets what is written, as it should
}

func (h *hoarding) LoadStale(ctx context.Context, key string) (store.Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rec, ok := h.kept[key]
	if ok && h.tracked {
		now, err := h.Load(ctx, key)
		ok = err == nil && now.Version == rec.Version && now.LastSeenAt.Equal(rec.LastSeenAt)
	}
	if !ok {
		var err error
		if rec, err = h.Load(ctx, key); err != nil {
			return rec, err
		}
		h.kept[key] = rec
	}
	if !h.shares {
		rec = cloned(rec)
	}
	return rec, nil
}

var staleMutants = []mutant{{
	name: "doesn't forget what it writes", caught: []string{"StaleLoadSeesOwnWrites"},
	open: func(s *tiny) store.Store {
		return &hoarding{mutated: mutated{tiny: s}, kept: map[string]store.Record{}}
	},
}, {
	name: "hands out the record in its cache", caught: []string{"StaleLoadSeesOwnWrites"},
	open: func(s *tiny) store.Store {
		return &hoarding{mutated: mutated{tiny: s}, kept: map[string]store.Record{}, shares: true, tracked: true}
	},
}}
