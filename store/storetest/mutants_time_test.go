package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hipflask/session/store"
)

// expiring returns a store that has its own idea of when a record ends, which its expiry does not tell.
func expiring(end func(rec store.Record) time.Time) func(*tiny) store.Store {
	return func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(_ context.Context, key string) (store.Record, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			rec, ok := s.recs[key]
			if !ok || !time.Now().Before(end(rec)) {
				return store.Record{}, store.ErrNotFound
			}
			rec.Data = bytes.Clone(rec.Data)
			return rec, nil
		}}
	}
}

// deadlines returns a store that ends its records when they first said, by whom the times are moved.
func deadlines(moved func(rec store.Record, first time.Time) time.Time) func(*tiny) store.Store {
	first := sync.Map{}
	return func(s *tiny) store.Store {
		m := expiring(func(rec store.Record) time.Time {
			at, _ := first.LoadOrStore(rec.Key, rec.ExpiresAt)
			return moved(rec, at.(time.Time))
		})(s).(*mutated)
		m.create = func(ctx context.Context, rec store.Record) error {
			first.Store(rec.Key, rec.ExpiresAt)
			return s.Create(ctx, rec)
		}
		return m
	}
}

var expiryMutants = []mutant{{
	name: "forgets expiry", caught: []string{"LivesUntilItExpires", "DeleteAfterExpiry", "TombstonesExpire",
		"WrittenTooLate"},
	open: func(s *tiny) store.Store {
		m := expiring(func(store.Record) time.Time { return time.Now().Add(hour) })(s).(*mutated)
		m.delete = func(ctx context.Context, key string) error {
			if _, err := s.Load(ctx, key); err != nil {
				return nil
			}
			return s.Delete(ctx, key)
		}
		return m
	},
}, {
	name: "counts seconds, rounded up", caught: []string{"LivesUntilItExpires"},
	open: expiring(func(rec store.Record) time.Time { return rec.ExpiresAt.Truncate(time.Second).Add(time.Second) }),
}, {
	name: "counts seconds, rounded down", caught: []string{"LivesUntilItExpires"},
	open: expiring(func(rec store.Record) time.Time { return rec.ExpiresAt.Truncate(time.Second) }),
}, {
	name: "ends records early where it said late", caught: []string{"LivesUntilItExpires"},
	opts: []Option{CoarseExpiry(50 * time.Millisecond)},
	open: expiring(func(rec store.Record) time.Time { return rec.ExpiresAt.Add(-50 * time.Millisecond) }),
}, {
	name: "expires by cleaning up only", caught: []string{"LivesUntilItExpires"},
	open: expiring(func(rec store.Record) time.Time { return rec.ExpiresAt.Add(100 * time.Millisecond) }),
}, {
	name: "forgets the expiry of tombstones", caught: []string{"TombstonesExpire"},
	open: expiring(func(rec store.Record) time.Time {
		if rec.Kind != store.Live {
			return time.Now().Add(hour)
		}
		return rec.ExpiresAt
	}),
}, {
	name: "Create refuses an expired key", caught: []string{"CreateAfterExpiry", "SweepSparesTheLiving"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			s.mu.Lock()
			_, there := s.recs[rec.Key]
			s.mu.Unlock()
			if there {
				return store.ErrExists
			}
			return s.Create(ctx, rec)
		}}
	},
}, {
	name: "Replace forgets expiry", caught: []string{"ReplaceAfterExpiry"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(_ context.Context, rec store.Record, version uint64) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			old, ok := s.recs[rec.Key]
			switch {
			case !ok:
				return store.ErrNotFound
			case old.Version != version:
				return store.ErrConflict
			}
			s.put(rec)
			return nil
		}}
	},
}, {
	name: "Replace of an expired record is a conflict", caught: []string{"ReplaceAfterExpiry"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			s.mu.Lock()
			old, ok := s.recs[rec.Key]
			s.mu.Unlock()
			if ok && expired(old) {
				return store.ErrConflict
			}
			return s.Replace(ctx, rec, version)
		}}
	},
}, {
	name: "Touch revives", caught: []string{"TouchAfterExpiry"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, touch: func(_ context.Context, key string, version uint64,
			seen, expires time.Time) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			rec, ok := s.recs[key]
			switch {
			case !ok:
				return store.ErrNotFound
			case rec.Version != version:
				return store.ErrConflict
			}
			rec.LastSeenAt, rec.ExpiresAt = seen, expires
			s.put(rec)
			return nil
		}}
	},
}, {
	name: "keeps the first deadline", caught: []string{"TouchSetsTheExpiry", "ReplaceSetsTheExpiry"},
	open: deadlines(func(_ store.Record, first time.Time) time.Time { return first }),
}, {
	name:   "never ends a record earlier than it said first",
	caught: []string{"TouchSetsTheExpiry", "ReplaceSetsTheExpiry", "TombstonesExpire"},
	open: deadlines(func(rec store.Record, first time.Time) time.Time {
		if rec.ExpiresAt.Before(first) {
			return first
		}
		return rec.ExpiresAt
	}),
}, {
	name: "takes no time left for no expiry", caught: []string{"WrittenTooLate"},
	open: writing(func(rec *store.Record) {
		if time.Until(rec.ExpiresAt) <= 0 {
			rec.ExpiresAt = time.Now().Add(hour)
		}
	}),
}, {
	name: "refuses records without time left", caught: []string{"WrittenTooLate"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			if expired(rec) {
				return errors.New("invalid expire time")
			}
			return s.Create(ctx, rec)
		}}
	},
}, {
	name: "takes over 30 days for a date", caught: []string{"LongLives"},
	open: expiring(func(rec store.Record) time.Time {
		if time.Until(rec.ExpiresAt) > 30*24*hour {
			return time.Unix(int64(time.Until(rec.ExpiresAt).Seconds()), 0)
		}
		return rec.ExpiresAt
	}),
}, {
	name: "overflows after 292 years", caught: []string{"LongLives"},
	open: expiring(func(rec store.Record) time.Time {
		return time.Unix(0, rec.ExpiresAt.UnixNano())
	}),
}}

var raceMutants = []mutant{{
	name: "Create checks, then writes", caught: []string{"CreateHasOneWinner"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			if _, err := s.Load(ctx, rec.Key); err == nil {
				return store.ErrExists
			}
			return s.overwrite(rec)
		}}
	},
}, {
	name: "Replace checks, then writes", caught: []string{"ReplaceHasOneWinner", "DeleteIsFinal"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(_ context.Context, rec store.Record, version uint64) error {
			s.mu.Lock()
			_, err := s.at(rec.Key, version)
			s.mu.Unlock()
			if err != nil {
				return err
			}
			return s.overwrite(rec)
		}}
	},
}, {
	name: "Touch checks, then writes", caught: []string{"TouchLosesNoReplace", "DeleteIsFinal"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, touch: func(_ context.Context, key string, version uint64,
			seen, expires time.Time) error {
			s.mu.Lock()
			rec, err := s.at(key, version)
			s.mu.Unlock()
			if err != nil {
				return err
			}
			rec.LastSeenAt, rec.ExpiresAt = seen, expires
			return s.overwrite(rec)
		}}
	},
}, {
	name: "Replace fails where it waits", caught: []string{"ReplaceHasOneWinner"},
	open: func(s *tiny) store.Store {
		busy := make(chan struct{}, 1)
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			select {
			case busy <- struct{}{}:
				defer func() { <-busy }()
				return s.Replace(ctx, rec, version)
			default:
				return errors.New("database is locked")
			}
		}}
	},
}, {
	name: "caches what it has seen", caught: []string{"LoadSeesAnsweredWrites"},
	open: func(s *tiny) store.Store {
		var cache sync.Map
		return &mutated{tiny: s,
			load: func(ctx context.Context, key string) (store.Record, error) {
				if rec, ok := cache.Load(key); ok {
					return rec.(store.Record), nil
				}
				rec, err := s.Load(ctx, key)
				if err == nil {
					cache.Store(key, rec)
				}
				return rec, err
			},
			replace: func(ctx context.Context, rec store.Record, version uint64) error {
				cache.Delete(rec.Key)
				return s.Replace(ctx, rec, version)
			},
		}
	},
}, {
	name: "answers before it writes", caught: []string{"LoadSeesAnsweredWrites", "ReplaceStoresTheWholeRecord"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			s.mu.Lock()
			_, err := s.at(rec.Key, version)
			s.mu.Unlock()
			time.AfterFunc(10*time.Millisecond, func() { _ = s.Replace(ctx, rec, version) })
			return err
		}}
	},
}, {
	name: "writes in two steps", caught: []string{"ReadersSeeWholeRecords"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			half, err := s.Load(ctx, rec.Key)
			if err != nil || half.Version != version {
				return s.Replace(ctx, rec, version)
			}
			half.Data = rec.Data
			_ = s.overwrite(half)
			return s.Replace(ctx, rec, version)
		}}
	},
}}

// overwrite stores rec whatever is there.
func (m *medium) overwrite(rec store.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(rec)
	return nil
}

var contextMutants = []mutant{{
	name: "ignores contexts", caught: []string{"EndedContextIsAnError"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			return s.Load(context.WithoutCancel(ctx), key)
		}}
	},
}, {
	name: "ignores contexts of writes", caught: []string{"EndedContextIsAnError"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			return s.Replace(context.WithoutCancel(ctx), rec, version)
		}}
	},
}, {
	name: "takes an ended context for an absent record", caught: []string{"EndedContextIsAnError"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			rec, err := s.Load(ctx, key)
			if err != nil {
				err = store.ErrNotFound
			}
			return rec, err
		}}
	},
}, {
	name: "keeps its lock when a call is cancelled", caught: []string{"CancelledCallsLeaveNoLock"}, hangs: true,
	open: func() func(*tiny) store.Store {
		lock := make(chan struct{}, 1)
		return func(s *tiny) store.Store {
			return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
				select {
				case lock <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
				defer func() { <-lock }()
				return s.Replace(ctx, rec, version)
			}}
		}
	}(),
}, {
	name: "names the key in errors", caught: []string{"ErrorsKeepSecrets"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, load: func(ctx context.Context, key string) (store.Record, error) {
			rec, err := s.Load(ctx, key)
			if err != nil {
				err = fmt.Errorf("load %q: %w", key, err)
			}
			return rec, err
		}}
	},
}, {
	name: "names the file in errors", caught: []string{"ErrorsKeepSecrets"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, create: func(ctx context.Context, rec store.Record) error {
			if len(rec.Key) > store.MaxKey {
				return fmt.Errorf("open /tmp/%s: file name too long", hex.EncodeToString([]byte(rec.Key)))
			}
			return s.Create(ctx, rec)
		}}
	},
}, {
	name: "names the principal in errors", caught: []string{"ErrorsKeepSecrets"},
	open: func(s *tiny) store.Store {
		return &mutated{tiny: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			err := s.Replace(ctx, rec, version)
			if err != nil {
				err = fmt.Errorf("session of %s: %w", rec.Principal, err)
			}
			return err
		}}
	},
}}
