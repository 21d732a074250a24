package storetest

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"

	"github.com/hipflask/session/store"
)

// promiseMutants are stores on which package session can't keep its promises, however right it is itself.
var promiseMutants = []mutant{{
	name: "promises: overwrites, as most session libraries do",
	caught: []string{"P1KeepsEveryKey", "P1CountsEveryUpdate", "P1TakeHasOneWinner", "P2LogoutIsFinal",
		"P2RevokeIsFinal",
		"P3RenewalKeepsWrites", "P3LoginAmongWrites", "P3ParallelRenewals", "P3NothingCrossesUsers",
		"P4FaultAmongWrites"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(_ context.Context, rec store.Record, _ uint64) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, ok := s.get(rec.Key); !ok {
				return store.ErrNotFound
			}
			s.put(rec)
			return nil
		}}
	},
}, {
	name: "promises: removes what has ended, and upserts", caught: []string{"P2LogoutIsFinal", "P2RevokeIsFinal"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			err := s.Replace(ctx, rec, version)
			switch {
			case errors.Is(err, store.ErrNotFound):
				return s.Create(ctx, rec)
			case err == nil && rec.Kind == store.Ended:
				return s.Delete(ctx, rec.Key)
			}
			return err
		}}
	},
}, {
	name:   "promises: forgets where a session went",
	caught: []string{"P2LateLogout", "P3RenewalKeepsWrites", "P3LoginAmongWrites", "P4Outage", "P4WritesFail"},
	open:   writing(func(rec *store.Record) { rec.MovedTo = "" }),
}, {
	name:   "promises: lists one device of a user",
	caught: []string{"P2RevokeAllAmongRenewals", "MaxSessionsAmongLogins"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, list: func(ctx context.Context, principal string,
			all bool) iter.Seq2[store.Record, error] {
			if all {
				return s.All(ctx)
			}
			return func(yield func(store.Record, error) bool) {
				for r, err := range s.Principal(ctx, principal) {
					yield(r, err)
					return
				}
			}
		}}
	},
}, {
	name: "promises: lists whose principal ends so", caught: []string{"P2RealmsAreApart"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, list: func(ctx context.Context, principal string,
			all bool) iter.Seq2[store.Record, error] {
			return func(yield func(store.Record, error) bool) {
				for r, err := range s.All(ctx) {
					if (all || principal != "" && strings.HasSuffix(r.Principal, principal)) && !yield(r, err) {
						return
					}
				}
			}
		}}
	},
}, {
	name: "promises: has no tombstones", caught: []string{"P2LogoutIsFinal", "P2LoginAfterTheEnd", "P3ParallelRenewals",
		"P10BadRecordIsOneSession"},
	open: writing(func(rec *store.Record) { rec.Kind = store.Live }),
}, {
	name: "promises: chooses the versions itself", caught: []string{"P4OneFault"},
	open: replacing(func(old, rec store.Record) store.Record { rec.Version = old.Version + 1; return rec }),
}, {
	name: "promises: caches what it has read", caught: []string{"P5AnswerMeansSaved"},
	open: func(s *tiny) store.Store {
		var mu sync.Mutex
		cache := map[string]store.Record{}
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			if rec, ok := cache[key]; ok {
				return rec, nil
			}
			rec, err := s.Load(ctx, key)
			if err == nil {
				cache[key] = rec
			}
			return rec, err
		}}
	},
}, {
	name: "promises: cuts data off at 64 KiB", caught: []string{"P9LargestSession"},
	open: writing(func(rec *store.Record) { rec.Data = rec.Data[:min(len(rec.Data), 1<<16-1)] }),
}, {
	name: "promises: loses what is public at a change", caught: []string{"P1AttributesBelongToTheSession"},
	open: replacing(func(_, rec store.Record) store.Record { rec.Public = nil; return rec }),
}}
