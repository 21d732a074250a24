package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hipflask/session/store"
)

var createMutants = []mutant{{
	name: "misses the optional methods", caught: []string{"DeclaresWhatItIs", "PrincipalListsItsRecords",
		"SweepRemovesWhatHasExpired", "EvictionIsReported"},
	open: func(s *tiny) store.Store { return struct{ store.Store }{s} },
}, {
	name: "declares too little", caught: []string{"DeclaresWhatItIs"}, opts: []Option{NoIndex(), OwnExpiry()},
	open: func(s *tiny) store.Store { return s },
}, {
	name: "opens data of its own", caught: []string{"OpensTheSameDataTwice", "CreateRefusesALiveKey",
		"CloseKeepsTheData"},
	open: func(*tiny) store.Store { return &tiny{newMedium()} },
}, {
	name: "opens the same store", caught: []string{"OpensTheSameDataTwice"},
	open: func() func(*tiny) store.Store {
		same := &tiny{newMedium()}
		return func(*tiny) store.Store { return same }
	}(),
}, {
	name: "loses a Create", caught: []string{"CreateStoresTheRecord"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(context.Context, store.Record) error { return nil }}
	},
}, {
	name: "sends a Create twice", caught: []string{"CreateStoresTheRecord"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			return errors.Join(s.Create(ctx, rec), s.Create(ctx, rec))
		}}
	},
}, {
	name: "Create overwrites", caught: []string{"CreateRefusesALiveKey", "CreateRefusesATombstone",
		"CreateHasOneWinner"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(_ context.Context, rec store.Record) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.put(rec)
			return nil
		}}
	},
}, {
	name: "Create overwrites tombstones", caught: []string{"CreateRefusesATombstone"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			if old, err := s.Load(ctx, rec.Key); err == nil && old.Kind != store.Live {
				return s.Replace(ctx, rec, old.Version)
			}
			return s.Create(ctx, rec)
		}}
	},
}, {
	name: "Delete leaves a mark that Create meets", caught: []string{"CreateAfterDelete", "ListingOmitsDeleted"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s,
			create: func(ctx context.Context, rec store.Record) error {
				if _, err := s.Load(ctx, "deleted:"+rec.Key); err == nil {
					return store.ErrExists
				}
				return s.Create(ctx, rec)
			},
			delete: func(ctx context.Context, key string) error {
				_ = s.Create(ctx, store.Record{Key: "deleted:" + key, ExpiresAt: time.Now().Add(hour)})
				return s.Delete(ctx, key)
			},
		}
	},
}, {
	name: "Delete lies", caught: []string{"DeleteRemovesTheRecord", "DeleteIsFinal"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, delete: func(context.Context, string) error { return nil }}
	},
}, {
	name: "Delete leaves tombstones", caught: []string{"DeleteRemovesTheRecord"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, delete: func(ctx context.Context, key string) error {
			if rec, err := s.Load(ctx, key); err == nil && rec.Kind != store.Live {
				return nil
			}
			return s.Delete(ctx, key)
		}}
	},
}, {
	name: "Delete of nothing is an error", caught: []string{"DeleteOfNothingIsNil", "DeleteAfterExpiry"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, delete: func(ctx context.Context, key string) error {
			if _, err := s.Load(ctx, key); err != nil {
				return err
			}
			return s.Delete(ctx, key)
		}}
	},
}, {
	name: "Delete removes the principal's records", caught: []string{"DeleteLeavesOthers"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, delete: func(_ context.Context, key string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			for other := range s.index[s.recs[key].Principal] {
				s.remove(other)
			}
			s.remove(key)
			return nil
		}}
	},
}, {
	name: "Load of nothing is a zero record", caught: []string{"LoadOfNothingIsNotFound", "DeleteRemovesTheRecord"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			rec, _ := s.Load(ctx, key)
			return rec, nil
		}}
	},
}, {
	name: "Load takes a key for a prefix", caught: []string{"LoadOfNothingIsNotFound"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			s.mu.Lock()
			for k := range s.recs {
				if strings.HasPrefix(k, key) {
					key = k
				}
			}
			s.mu.Unlock()
			return s.Load(ctx, key)
		}}
	},
}}

// replacing returns a store whose Replace stores what merge makes of the old record and the new one.
func replacing(merge func(old, rec store.Record) store.Record) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(_ context.Context, rec store.Record, version uint64) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			old, err := s.at(rec.Key, version)
			if err == nil {
				s.put(merge(old, rec))
			}
			return err
		}}
	}
}

var replaceMutants = []mutant{{
	name: "Replace upserts", caught: []string{"ReplaceNeverCreates", "ReplaceAfterExpiry", "DeleteIsFinal"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			err := s.Replace(ctx, rec, version)
			if errors.Is(err, store.ErrNotFound) {
				return s.Create(ctx, rec)
			}
			return err
		}}
	},
}, {
	name: "Replace ignores the version", caught: []string{"ReplaceRefusesAnotherVersion", "ReplaceHasOneWinner",
		"ReplaceLosesNoUpdate", "VersionsAreExact"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, _ uint64) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, ok := s.get(rec.Key); !ok {
				return store.ErrNotFound
			}
			s.put(rec)
			return ctx.Err()
		}}
	},
}, {
	name: "Replace swaps the versions", caught: []string{"ReplaceRefusesAnotherVersion", "ReplaceStoresTheWholeRecord"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			rec.Version, version = version, rec.Version
			return s.Replace(ctx, rec, version)
		}}
	},
}, {
	name: "Replace retries on a conflict", caught: []string{"ReplaceRefusesAnotherVersion", "ReplaceHasOneWinner"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			err := s.Replace(ctx, rec, version)
			for errors.Is(err, store.ErrConflict) {
				old, loadErr := s.Load(ctx, rec.Key)
				if loadErr != nil {
					return loadErr
				}
				err = s.Replace(ctx, rec, old.Version)
			}
			return err
		}}
	},
}, {
	name: "sends a Replace twice", caught: []string{"ReplaceStoresTheWholeRecord"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			return errors.Join(s.Replace(ctx, rec, version), s.Replace(ctx, rec, version))
		}}
	},
}, {
	name: "calls a conflict not found", caught: []string{"ReplaceRefusesAnotherVersion", "ReplaceHasOneWinner"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			if err := s.Replace(ctx, rec, version); err != nil {
				return store.ErrNotFound
			}
			return nil
		}}
	},
}, {
	name: "answers with every error at once", caught: []string{"ReplaceNeverCreates"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			if err := s.Replace(ctx, rec, version); err != nil {
				return errors.Join(store.ErrNotFound, store.ErrConflict)
			}
			return nil
		}}
	},
}, {
	name: "loses a Replace", caught: []string{"ReplaceStoresTheWholeRecord", "ReplaceKeepsTheNewVersion",
		"ReplaceLosesNoUpdate"},
	open: replacing(func(old, _ store.Record) store.Record { return old }),
}, {
	name: "keeps the first version", caught: []string{"ReplaceKeepsTheNewVersion", "ReplaceRefusesAnotherVersion"},
	open: replacing(func(old, rec store.Record) store.Record { rec.Version = old.Version; return rec }),
}, {
	name: "counts versions itself", caught: []string{"ReplaceKeepsTheNewVersion"},
	open: replacing(func(old, rec store.Record) store.Record { rec.Version = old.Version + 1; return rec }),
}, {
	name: "keeps old fields where the new are empty", caught: []string{"ReplaceStoresTheWholeRecord", "DataMayBeEmpty"},
	open: replacing(func(old, rec store.Record) store.Record {
		if rec.Label == "" {
			rec.Label = old.Label
		}
		if len(rec.Data) == 0 {
			rec.Data = old.Data
		}
		return rec
	}),
}, {
	name: "leaves the end of longer data", caught: []string{"ReplaceShrinksAndGrows"},
	open: replacing(func(old, rec store.Record) store.Record {
		if len(rec.Data) < len(old.Data) {
			rec.Data = append(bytes.Clone(rec.Data), old.Data[len(rec.Data):]...)
		}
		return rec
	}),
}}

// touching returns a store whose Touch stores what change makes of the record, once it is found at that version.
func touching(change func(rec *store.Record)) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s, touch: func(_ context.Context, key string, version uint64,
			seen, expires time.Time) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			rec, err := s.at(key, version)
			if err == nil {
				rec.LastSeenAt, rec.ExpiresAt = seen, expires
				change(&rec)
				s.put(rec)
			}
			return err
		}}
	}
}

var touchMutants = []mutant{{
	name: "Touch changes the version", caught: []string{"TouchMovesTimesOnly"},
	open: touching(func(rec *store.Record) { rec.Version++ }),
}, {
	name: "Touch drops the data", caught: []string{"TouchMovesTimesOnly"},
	open: touching(func(rec *store.Record) { rec.Data = nil }),
}, {
	name: "Touch moves CreatedAt", caught: []string{"TouchMovesTimesOnly"},
	open: touching(func(rec *store.Record) { rec.CreatedAt = rec.LastSeenAt }),
}, {
	name: "Touch makes tombstones live", caught: []string{"TouchMovesTimesOnly"},
	open: touching(func(rec *store.Record) { rec.Kind = store.Live }),
}, {
	name: "Touch does nothing", caught: []string{"TouchMovesTimesOnly", "TouchSetsTheExpiry", "ListingIsCurrent"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, touch: func(_ context.Context, key string, version uint64, _, _ time.Time) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			_, err := s.at(key, version)
			return err
		}}
	},
}, {
	name: "Touch ignores the version", caught: []string{"TouchRefusesAnotherVersion", "VersionsAreExact"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, touch: func(_ context.Context, key string, _ uint64, seen, expires time.Time) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			rec, ok := s.get(key)
			if !ok {
				return store.ErrNotFound
			}
			rec.LastSeenAt, rec.ExpiresAt = seen, expires
			s.put(rec)
			return nil
		}}
	},
}, {
	name: "Touch creates", caught: []string{"TouchNeverCreates", "DeleteIsFinal"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, touch: func(ctx context.Context, key string, version uint64,
			seen, expires time.Time) error {
			err := s.Touch(ctx, key, version, seen, expires)
			if errors.Is(err, store.ErrNotFound) {
				return s.Create(ctx, store.Record{Key: key, Version: version, LastSeenAt: seen, ExpiresAt: expires})
			}
			return err
		}}
	},
}}
