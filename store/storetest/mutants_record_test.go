package storetest

import (
	"bytes"
	"context"
	"math"
	"path"
	"strings"
	"time"

	"github.com/hipflask/session/store"
)

// cut shortens text to n bytes.
func cut(text string, n int) string { return text[:min(n, len(text))] }

var recordMutants = []mutant{{
	name: "keeps times to the second", caught: []string{"TimesToTheMillisecond", "CreateStoresTheRecord"},
	open: writing(func(rec *store.Record) {
		for _, t := range []*time.Time{&rec.CreatedAt, &rec.LastSeenAt, &rec.ExpiresAt} {
			*t = t.Truncate(time.Second)
		}
	}),
}, {
	name: "keeps the last activity to the second", caught: []string{"TimesToTheMillisecond"},
	open: writing(func(rec *store.Record) { rec.LastSeenAt = rec.LastSeenAt.Truncate(time.Second) }),
}, {
	name: "touches to the second", caught: []string{"TimesToTheMillisecond", "TouchMovesTimesOnly"},
	open: touching(func(rec *store.Record) { rec.LastSeenAt = rec.LastSeenAt.Truncate(time.Second) }),
}, {
	name: "swaps two times", caught: []string{"TimesToTheMillisecond"},
	open: writing(func(rec *store.Record) { rec.CreatedAt, rec.LastSeenAt = rec.LastSeenAt, rec.CreatedAt }),
}, {
	name: "keeps times in 32 bits", caught: []string{"TimesToTheMillisecond", "LongLives"},
	open: writing(func(rec *store.Record) {
		if rec.ExpiresAt.Unix() > math.MaxInt32 {
			rec.ExpiresAt = time.Unix(math.MaxInt32, 0)
		}
	}),
}, {
	name: "reads zero as 1970", caught: []string{"TimesToTheMillisecond"},
	open: writing(func(rec *store.Record) {
		if rec.CreatedAt.IsZero() {
			rec.CreatedAt = time.Unix(0, 0)
		}
	}),
}, {
	name: "stores local time without its zone", caught: []string{"TimesToTheMillisecond"},
	open: writing(func(rec *store.Record) {
		_, offset := rec.CreatedAt.Zone()
		rec.CreatedAt = rec.CreatedAt.Add(time.Duration(offset) * time.Second)
	}),
}, {
	name: "keeps versions in 53 bits", caught: []string{"VersionsAreExact", "CreateStoresTheRecord"},
	open: writing(func(rec *store.Record) { rec.Version = uint64(float64(rec.Version)) }),
}, {
	name: "compares versions in 53 bits", caught: []string{"VersionsAreExact"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			if old, err := s.Load(ctx, rec.Key); err == nil && float64(old.Version) == float64(version) {
				version = old.Version
			}
			return s.Replace(ctx, rec, version)
		}}
	},
}, {
	name: "drops MovedTo", caught: []string{"KindsAndTargets", "CreateStoresTheRecord", "PrincipalListsTombstones"},
	open: writing(func(rec *store.Record) { rec.MovedTo = "" }),
}, {
	name: "drops Handle", caught: []string{"KindsAndTargets", "CreateStoresTheRecord"},
	open: writing(func(rec *store.Record) { rec.Handle = "" }),
}, {
	name: "keeps the first Handle", caught: []string{"KindsAndTargets"},
	open: replacing(func(old, rec store.Record) store.Record { rec.Handle = old.Handle; return rec }),
}, {
	name: "knows two kinds", caught: []string{"KindsAndTargets"},
	open: writing(func(rec *store.Record) { rec.Kind = min(rec.Kind, store.Renewed) }),
}, {
	name: "drops Label", caught: []string{"TextIsExact", "CreateStoresTheRecord"},
	open: writing(func(rec *store.Record) { rec.Label = "" }),
}, {
	name: "trims Label", caught: []string{"TextIsExact"},
	open: writing(func(rec *store.Record) { rec.Label = strings.TrimRight(rec.Label, " ") }),
}, {
	name: "ends text at a zero byte", caught: []string{"TextIsExact"},
	open: writing(func(rec *store.Record) { rec.Label, _, _ = strings.Cut(rec.Label, "\x00") }),
}, {
	name: "folds the case of principals", caught: []string{"TextIsExact", "PrincipalNamesAreExact"},
	open: writing(func(rec *store.Record) { rec.Principal = strings.ToLower(rec.Principal) }),
}, {
	name: "keeps 255 bytes of text", caught: []string{"LongestTexts"},
	open: writing(func(rec *store.Record) { rec.Label = cut(rec.Label, 255) }),
}, {
	name: "keeps 127 bytes of a key", caught: []string{"LongestTexts"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s,
			load: func(ctx context.Context, key string) (store.Record, error) {
				rec, err := s.Load(ctx, cut(key, 127))
				if err == nil {
					rec.Key = key
				}
				return rec, err
			},
			create: func(ctx context.Context, rec store.Record) error {
				rec.Key = cut(rec.Key, 127)
				return s.Create(ctx, rec)
			},
			replace: func(ctx context.Context, rec store.Record, version uint64) error {
				rec.Key = cut(rec.Key, 127)
				return s.Replace(ctx, rec, version)
			},
		}
	},
}, {
	name: "keeps data as text", caught: []string{"DataIsBinary"},
	open: writing(func(rec *store.Record) { rec.Data = bytes.ToValidUTF8(rec.Data, []byte("\ufffd")) }),
}, {
	name: "ends data at a zero byte", caught: []string{"DataIsBinary"},
	open: writing(func(rec *store.Record) { rec.Data, _, _ = bytes.Cut(rec.Data, []byte{0}) }),
}, {
	name: "keeps 64 KiB of data", caught: []string{"DataOfAMebibyte", "ReplaceShrinksAndGrows"},
	open: writing(func(rec *store.Record) { rec.Data = rec.Data[:min(len(rec.Data), 1<<16-1)] }),
}, {
	name: "cuts off data over its limit", caught: []string{"DataOverTheLimit"}, opts: []Option{MaxData(1000)},
	open: writing(func(rec *store.Record) { rec.Data = rec.Data[:min(len(rec.Data), 1000)] }),
}, {
	name: "keeps the bytes it is given", caught: []string{"GivenBytesAreNotKept"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			err := s.Create(ctx, rec)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.recs[rec.Key] = rec
			return err
		}}
	},
}, {
	name: "keeps the bytes given to Replace", caught: []string{"GivenBytesAreNotKept"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			err := s.Replace(ctx, rec, version)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.recs[rec.Key] = rec
			return err
		}}
	},
}, {
	name: "returns its own bytes", caught: []string{"ReturnedBytesAreTheCallers"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(_ context.Context, key string) (store.Record, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.recs[key], nil
		}}
	},
}, {
	name: "returns slices of one array", caught: []string{"ReturnedBytesAreTheCallers"},
	open: func(s *tiny) store.Store {
		shared := map[string][]byte{} // of two records that lie behind one another
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			rec, err := s.Load(ctx, key)
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, ok := shared[key]; !ok {
				shared[key] = append(bytes.Clone(rec.Data), rec.Data...)
				rec.Data = shared[key][:len(rec.Data)]
			} else {
				rec.Data = shared[key][len(rec.Data):]
			}
			return rec, err
		}}
	},
}, {
	name: "folds the case of keys", caught: []string{"KeysAreOpaque"},
	open: keysMapped(strings.ToLower),
}, {
	name: "takes keys for paths", caught: []string{"KeysAreOpaque"},
	open: keysMapped(func(key string) string { return path.Clean("/" + key) }),
}, {
	name: "takes keys for patterns", caught: []string{"KeysAreOpaque"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, delete: func(_ context.Context, key string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			for k := range s.recs {
				if ok, _ := path.Match(key, k); ok || k == key {
					s.remove(k)
				}
			}
			return nil
		}}
	},
}}

// keysMapped returns a store that keeps records under another name than their key.
func keysMapped(name func(string) string) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s,
			load: func(ctx context.Context, key string) (store.Record, error) {
				rec, err := s.Load(ctx, name(key))
				if err == nil {
					rec.Key = key
				}
				return rec, err
			},
			create: func(ctx context.Context, rec store.Record) error {
				rec.Key = name(rec.Key)
				return s.Create(ctx, rec)
			},
			replace: func(ctx context.Context, rec store.Record, version uint64) error {
				rec.Key = name(rec.Key)
				return s.Replace(ctx, rec, version)
			},
			touch: func(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
				return s.Touch(ctx, name(key), version, seen, expires)
			},
			delete: func(ctx context.Context, key string) error { return s.Delete(ctx, name(key)) },
		}
	}
}
