package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

var loopMutants = []mutant{{
	name: "pages by position", caught: []string{"LoopMayDelete", "ListingDuringWrites"},
	open: paging,
}, {
	name: "holds its lock while it yields", caught: []string{"LoopMayDelete", "LoopMayWrite"}, hangs: true,
	open: listingAs(func(_ context.Context, s *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			var recs []store.Record
			for rec, err := range seq {
				if err == nil {
					recs = append(recs, rec)
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, rec := range recs {
				if !yield(rec, nil) {
					return
				}
			}
		}
	}),
}, {
	name: "keeps its lock when a loop stops", caught: []string{"LoopMayStop", "NoGoroutineLeft"}, hangs: true,
	open: listingAs(func(_ context.Context, s *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				if !yield(rec, err) {
					s.mu.Lock()
					return
				}
			}
		}
	}),
}, {
	name: "goes on when a loop stops", caught: []string{"LoopMayStop"},
	open: listingAs(func(_ context.Context, _ *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				_ = yield(rec, err)
			}
		}
	}),
}, {
	name: "lists once", caught: []string{"LoopMayStop"},
	open: listingAs(func(_ context.Context, _ *tiny, seq sequence) sequence {
		var once sync.Once
		return func(yield func(store.Record, error) bool) {
			once.Do(func() { seq(yield) })
		}
	}),
}, {
	name: "lists what was changed again", caught: []string{"LoopMayWrite"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, list: func(_ context.Context, principal string, all bool) sequence {
			return func(yield func(store.Record, error) bool) {
				seen := map[uint64]bool{}
				for found := true; found; {
					found = false
					s.mu.Lock()
					var recs []store.Record
					for _, rec := range s.recs {
						if (all || rec.Principal == principal) && !seen[rec.Version] && len(seen) < 1000 {
							recs = append(recs, withoutData(rec))
						}
					}
					s.mu.Unlock()
					for _, rec := range recs {
						seen[rec.Version], found = true, true
						if !yield(rec, nil) {
							return
						}
					}
				}
			}
		}}
	},
}}

// sweeping returns a store whose Sweep is another one, called with the lock held.
func sweeping(sweep func(s *tiny, limit int) int) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s, sweep: func(ctx context.Context, limit int) (int, error) {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return sweep(s, limit), nil
		}}
	}
}

var sweepMutants = []mutant{{
	name: "sweeps nothing", caught: []string{"SweepRemovesWhatHasExpired", "SweepFindsWhatWasShortened"},
	open: sweeping(func(*tiny, int) int { return 0 }),
}, {
	name: "sweeps without a limit", caught: []string{"SweepRemovesWhatHasExpired"},
	open: sweeping(func(s *tiny, _ int) int { return s.sweep(1 << 30) }),
}, {
	name: "sweeps without a limit and hides it", caught: []string{"SweepRemovesWhatHasExpired"},
	open: sweeping(func(s *tiny, limit int) int { return min(s.sweep(1<<30), limit) }),
}, {
	name: "never stops sweeping", caught: []string{"SweepRemovesWhatHasExpired", "SweepSparesTheLiving"},
	open: sweeping(func(s *tiny, limit int) int { s.sweep(limit); return limit }),
}, {
	name: "stops sweeping early", caught: []string{"SweepRemovesWhatHasExpired"},
	open: sweeping(func(s *tiny, limit int) int { return s.sweep(min(limit, 1)) }),
}, {
	name: "sweeps the living", caught: []string{"SweepSparesTheLiving"},
	open: sweeping(func(s *tiny, limit int) (n int) {
		for key := range s.recs {
			if n < limit {
				s.remove(key)
				n++
			}
		}
		return n
	}),
}, {
	name: "sweeps by the first deadline", caught: []string{"SweepSparesTheLiving"},
	open: sweeping(func(s *tiny, limit int) (n int) {
		for n < limit && len(s.expiries) > 0 && time.Now().After(s.expiries[0].at) {
			s.remove(s.expiries[0].key)
			s.expiries = s.expiries[1:]
			n++
		}
		return n
	}),
}, {
	name: "sweeps by the last deadline", caught: []string{"SweepFindsWhatWasShortened"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, sweep: func(context.Context, int) (n int, _ error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			due := map[string]bool{}
			for _, d := range s.expiries {
				if time.Now().Before(d.at) {
					due[d.key] = false
				} else if _, later := due[d.key]; !later {
					due[d.key] = true
				}
			}
			for key, yes := range due {
				if _, ok := s.recs[key]; ok && yes {
					s.remove(key)
					n++
				}
			}
			return n, nil
		}}
	},
}, {
	name: "sweeps by a scan", caught: []string{"SweepCostIgnoresTheLiving"},
	open: sweeping(func(s *tiny, limit int) (n int) {
		for key, rec := range s.recs {
			if n < limit && expired(rec) {
				s.remove(key)
				n++
			}
		}
		return n
	}),
}, {
	name: "ignores the context of Sweep", caught: []string{"SweepReportsItsEnd"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, sweep: func(ctx context.Context, limit int) (int, error) {
			return s.Sweep(context.WithoutCancel(ctx), limit)
		}}
	},
}}

// reporting returns a store that reports evictions in another way.
func reporting(onEvict func(s *tiny, fn func(store.Record)) func()) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s, onEvict: func(fn func(store.Record)) func() { return onEvict(s, fn) }}
	}
}

var evictMutants = []mutant{{
	name: "reports no eviction", caught: []string{"EvictionIsReported", "EvictionHoldsNoLock", "EvictionReportsEnd"},
	hangs: true,
	open:  reporting(func(*tiny, func(store.Record)) func() { return func() {} }),
}, {
	name: "reports evictions to the last function only", caught: []string{"EvictionIsReported"}, hangs: true,
	open: reporting(func(s *tiny, fn func(store.Record)) func() {
		clear(s.evicted)
		return s.OnEvict(fn)
	}),
}, {
	name: "reports evictions with the lock held", caught: []string{"EvictionHoldsNoLock"}, hangs: true,
	open: reporting(func(s *tiny, fn func(store.Record)) func() {
		return s.OnEvict(func(rec store.Record) {
			s.mu.Lock()
			defer s.mu.Unlock()
			fn(rec)
		})
	}),
}, {
	name: "reports records that are still there", caught: []string{"EvictionHoldsNoLock"},
	open: reporting(func(s *tiny, fn func(store.Record)) func() {
		return s.OnEvict(func(rec store.Record) {
			_ = s.overwrite(rec)
			fn(rec)
		})
	}),
}, {
	name: "reports evicted Data", caught: []string{"EvictionIsReported"},
	open: reporting(func(s *tiny, fn func(store.Record)) func() {
		return s.OnEvict(func(rec store.Record) {
			rec.Data = []byte("data")
			fn(rec)
		})
	}),
}, {
	name: "reports deleted records as evicted", caught: []string{"EvictionIsReported"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, delete: func(ctx context.Context, key string) error {
			for _, fn := range s.evicted {
				fn(store.Record{Key: key})
			}
			return s.Delete(ctx, key)
		}}
	},
}, {
	name: "reports evictions for ever", caught: []string{"EvictionReportsEnd"},
	open: reporting(func(s *tiny, fn func(store.Record)) func() {
		s.OnEvict(fn)
		return func() {}
	}),
}, {
	name: "cancels every report", caught: []string{"EvictionReportsEnd"}, hangs: true,
	open: func(s *tiny) store.Store {
		all := true
		return reporting(func(s *tiny, fn func(store.Record)) func() {
			s.OnEvict(func(rec store.Record) {
				if all {
					fn(rec)
				}
			})
			return func() { all = false }
		})(s)
	},
}}

var closeMutants = []mutant{{
	name: "panics when it is closed again", caught: []string{"CloseTwice"},
	open: func(s *tiny) store.Store {
		stop := make(chan struct{})
		return &mutated{tiny: s, close: func() error { close(stop); return nil }}
	},
}, {
	name: "drops the data when it is closed", caught: []string{"CloseKeepsTheData"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, close: func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			clear(s.recs)
			return nil
		}}
	},
}, {
	name: "leaves a goroutine", caught: []string{"NoGoroutineLeft"}, hangs: true,
	open: func(s *tiny) store.Store {
		done := make(chan struct{})
		go func() { <-done }()
		return s
	},
}, {
	name: "leaves a goroutine for each call that is cancelled", caught: []string{"NoGoroutineLeft"}, hangs: true,
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			answer := make(chan error) // nobody reads it once the context has ended
			go func() { answer <- nil }()
			select {
			case <-answer:
				return s.Load(ctx, key)
			case <-ctx.Done():
				return store.Record{}, ctx.Err()
			}
		}}
	},
}}
