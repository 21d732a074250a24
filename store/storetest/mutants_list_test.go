package storetest

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

type sequence = iter.Seq2[store.Record, error]

// listingAs returns a store whose listings are what change makes of them.
func listingAs(change func(ctx context.Context, s *tiny, seq sequence) sequence) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s, list: func(ctx context.Context, principal string, all bool) sequence {
			if all {
				return change(ctx, s, s.All(ctx))
			}
			return change(ctx, s, s.Principal(ctx, principal))
		}}
	}
}

// keeping returns a store that lists only what keep says.
func keeping(keep func(rec store.Record) bool) func(*tiny) store.Store {
	return listingAs(func(_ context.Context, _ *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				if (err != nil || keep(rec)) && !yield(rec, err) {
					return
				}
			}
		}
	})
}

// changing returns a store that lists what change makes of each record.
func changing(change func(s *tiny, rec store.Record) store.Record) func(*tiny) store.Store {
	return listingAs(func(_ context.Context, s *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				if err == nil {
					rec = change(s, rec)
				}
				if !yield(rec, err) {
					return
				}
			}
		}
	})
}

// selecting returns a store that lists whatever is in the table and belongs, expired or not.
func selecting(belongs func(rec store.Record, principal string) bool) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s, list: func(ctx context.Context, principal string, all bool) sequence {
			if all {
				return s.All(ctx)
			}
			return func(yield func(store.Record, error) bool) {
				s.mu.Lock()
				recs := slices.Collect(maps.Values(s.recs))
				s.mu.Unlock()
				for _, rec := range recs {
					if belongs(rec, principal) && !yield(withoutData(rec), nil) {
						return
					}
				}
			}
		}}
	}
}

// paging returns a store that reads its listings in pages by position, two records each.
func paging(s *tiny) store.Store {
	return &mutated{tiny: s, list: func(_ context.Context, principal string, all bool) sequence {
		return func(yield func(store.Record, error) bool) {
			for offset := 0; ; offset += 2 {
				s.mu.Lock()
				var recs []store.Record
				for _, rec := range s.recs {
					if (all || principal != "" && rec.Principal == principal) && !expired(rec) {
						recs = append(recs, withoutData(rec))
					}
				}
				s.mu.Unlock()
				slices.SortFunc(recs, func(a, b store.Record) int { return cmp.Compare(a.Key, b.Key) })
				recs = recs[min(offset, len(recs)):]
				for _, rec := range recs[:min(2, len(recs))] {
					if !yield(rec, nil) {
						return
					}
				}
				if len(recs) <= 2 {
					return
				}
			}
		}
	}}
}

var listMutants = []mutant{{
	name: "lists nothing", caught: []string{"PrincipalListsItsRecords", "AllListsEveryRecord", "ListingReportsItsEnd"},
	open: listingAs(func(context.Context, *tiny, sequence) sequence { return func(func(store.Record, error) bool) {} }),
}, {
	name: "lists other principals' records", caught: []string{"PrincipalListsItsRecords", "PrincipalNamesAreExact"},
	open: selecting(func(rec store.Record, principal string) bool { return principal != "" }),
}, {
	name: "lists every record twice", caught: []string{"PrincipalListsItsRecords", "AllListsEveryRecord"},
	open: listingAs(func(_ context.Context, _ *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				for range 2 {
					if !yield(rec, err) {
						return
					}
				}
			}
		}
	}),
}, {
	name:   "misses tombstones in listings",
	caught: []string{"PrincipalListsTombstones", "AllListsEveryRecord", "ListingIsCurrent"},
	open:   keeping(func(rec store.Record) bool { return rec.Kind == store.Live }),
}, {
	name: "lists the anonymous as somebody's", caught: []string{"PrincipalOfNobody"},
	open: selecting(func(rec store.Record, principal string) bool { return rec.Principal == principal }),
}, {
	name: "lists by a pattern", caught: []string{"PrincipalNamesAreExact"},
	open: selecting(func(rec store.Record, principal string) bool {
		return principal != "" && strings.HasPrefix(rec.Principal, principal)
	}),
}, {
	name: "lists by a collation", caught: []string{"PrincipalNamesAreExact"},
	open: selecting(func(rec store.Record, principal string) bool {
		return principal != "" &&
			strings.EqualFold(strings.TrimRight(rec.Principal, " "), strings.TrimRight(principal, " "))
	}),
}, {
	name: "lists one page", caught: []string{"ListingAtSize"},
	open: listingAs(func(_ context.Context, _ *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			n := 0
			for rec, err := range seq {
				if n++; n > 1000 || !yield(rec, err) {
					return
				}
			}
		}
	}),
}, {
	name: "misses the anonymous in All", caught: []string{"AllListsEveryRecord"},
	open: keeping(func(rec store.Record) bool { return rec.Principal != "" }),
}, {
	name: "lists Data", caught: []string{"ListingOmitsData"},
	open: changing(func(s *tiny, rec store.Record) store.Record {
		full, _ := s.Load(context.Background(), rec.Key)
		rec.Data = full.Data
		return rec
	}),
}, {
	name: "drops Label in listings", caught: []string{"PrincipalListsItsRecords", "AllListsEveryRecord"},
	open: changing(func(_ *tiny, rec store.Record) store.Record { rec.Label = ""; return rec }),
}, {
	name: "lists expired records", caught: []string{"ListingOmitsExpired"},
	open: selecting(func(rec store.Record, principal string) bool {
		return principal != "" && rec.Principal == principal
	}),
}, {
	name: "lists deleted records", caught: []string{"ListingOmitsDeleted"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, delete: func(ctx context.Context, key string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if rec, ok := s.recs[key]; ok {
				s.put(store.Record{Key: "deleted:" + key, Principal: rec.Principal, ExpiresAt: rec.ExpiresAt})
			}
			s.remove(key)
			return ctx.Err()
		}}
	},
}, {
	name: "ends a listing without a word", caught: []string{"ListingReportsItsEnd"},
	open: listingAs(func(_ context.Context, _ *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				if err != nil || !yield(rec, nil) {
					return
				}
			}
		}
	}),
}, {
	name: "goes on after an error", caught: []string{"ListingReportsItsEnd"},
	open: listingAs(func(ctx context.Context, s *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				if !yield(rec, err) {
					return
				}
			}
			if ctx.Err() != nil {
				yield(store.Record{}, nil)
			}
		}
	}),
}, {
	name: "yields a record with an error", caught: []string{"ListingReportsItsEnd"},
	open: listingAs(func(_ context.Context, _ *tiny, seq sequence) sequence {
		return func(yield func(store.Record, error) bool) {
			for rec, err := range seq {
				if err != nil {
					rec.Key = "a key"
				}
				if !yield(rec, err) {
					return
				}
			}
		}
	}),
}, {
	name: "heeds the context of a listing at its beginning only", caught: []string{"ListingReportsItsEnd"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, list: func(ctx context.Context, principal string, all bool) sequence {
			if ctx.Err() == nil {
				ctx = context.WithoutCancel(ctx)
			}
			if all {
				return s.All(ctx)
			}
			return s.Principal(ctx, principal)
		}}
	},
}}

var indexMutants = []mutant{{
	name: "lists records as they were created", caught: []string{"ListingIsCurrent", "PrincipalListsTombstones"},
	open: func() func(*tiny) store.Store {
		var created sync.Map
		return func(s *tiny) store.Store {
			m := changing(func(_ *tiny, rec store.Record) store.Record {
				old, _ := created.Load(rec.Key)
				return withoutData(old.(store.Record))
			})(s).(*mutated)
			m.create = func(ctx context.Context, rec store.Record) error {
				created.Store(rec.Key, rec)
				return s.Create(ctx, rec)
			}
			return m
		}
	}(),
}, {
	name: "writes the index entry after the record", caught: []string{"IndexEntryComesFirst"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			bare := rec
			bare.Principal = ""
			if err := s.Create(ctx, bare); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
			return s.overwrite(rec)
		}}
	},
}, {
	name: "ends index entries when the record first said", caught: []string{"IndexOutlivesTheFirstExpiry"},
	open: func() func(*tiny) store.Store {
		var entries sync.Map
		return func(s *tiny) store.Store {
			m := keeping(func(rec store.Record) bool {
				end, _ := entries.Load(rec.Key)
				return time.Now().Before(end.(time.Time))
			})(s).(*mutated)
			m.create = func(ctx context.Context, rec store.Record) error {
				entries.Store(rec.Key, rec.ExpiresAt)
				return s.Create(ctx, rec)
			}
			return m
		}
	}(),
}, {
	name: "lists what is under a stale index entry", caught: []string{"IndexFollowsTheKey"},
	open: func() func(*tiny) store.Store {
		var mu sync.Mutex
		index := map[string]map[string]bool{}
		return func(s *tiny) store.Store {
			return &mutated{tiny: s,
				create: func(ctx context.Context, rec store.Record) error {
					mu.Lock()
					defer mu.Unlock()
					if index[rec.Principal] == nil {
						index[rec.Principal] = map[string]bool{}
					}
					index[rec.Principal][rec.Key] = true
					return s.Create(ctx, rec)
				},
				list: func(ctx context.Context, principal string, _ bool) sequence {
					return func(yield func(store.Record, error) bool) {
						mu.Lock()
						keys := slices.Collect(maps.Keys(index[principal]))
						mu.Unlock()
						for _, key := range keys {
							rec, err := s.Load(ctx, key)
							if errors.Is(err, store.ErrNotFound) {
								continue
							}
							if !yield(withoutData(rec), err) {
								return
							}
						}
					}
				},
			}
		}
	}(),
}}
