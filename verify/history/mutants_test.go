package history_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/verify/history"
)

// broken is a store that breaks one rule of the contract.
type broken struct {
	store.Store
	load    func(ctx context.Context, key string) (store.Record, error)
	create  func(ctx context.Context, rec store.Record) error
	replace func(ctx context.Context, rec store.Record, version uint64) error
	touch   func(ctx context.Context, key string, version uint64, seen, expires time.Time) error
	lists   func(store.Record) bool
}

func (b *broken) Load(ctx context.Context, key string) (store.Record, error) {
	if b.load != nil {
		return b.load(ctx, key)
	}
	return b.Store.Load(ctx, key)
}

func (b *broken) Create(ctx context.Context, rec store.Record) error {
	if b.create != nil {
		return b.create(ctx, rec)
	}
	return b.Store.Create(ctx, rec)
}

func (b *broken) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if b.replace != nil {
		return b.replace(ctx, rec, version)
	}
	return b.Store.Replace(ctx, rec, version)
}

func (b *broken) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if b.touch != nil {
		return b.touch(ctx, key, version, seen, expires)
	}
	return b.Store.Touch(ctx, key, version, seen, expires)
}

func (b *broken) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return b.list(b.Store.(store.Lister).Principal(ctx, principal))
}

func (b *broken) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return b.list(b.Store.(store.Lister).All(ctx))
}

func (b *broken) list(records iter.Seq2[store.Record, error]) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		for rec, err := range records {
			if err == nil && b.lists != nil && !b.lists(rec) {
				continue
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// mutants are broken stores. Each has to be caught.
var mutants = map[string]func(store.Store) store.Store{
	"Replace creates": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			err := s.Replace(ctx, rec, version)
			if errors.Is(err, store.ErrNotFound) {
				return s.Create(ctx, rec)
			}
			return err
		}}
	},
	"Replace ignores the version": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, _ uint64) error {
			old, err := s.Load(ctx, rec.Key)
			if err != nil {
				return err
			}
			return s.Replace(ctx, rec, old.Version)
		}}
	},
	"Replace ignores the version of live records": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			old, err := s.Load(ctx, rec.Key)
			if err == nil && old.Kind == store.Live {
				version = old.Version
			}
			return s.Replace(ctx, rec, version)
		}}
	},
	"Replace checks, and then writes": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			old, err := s.Load(ctx, rec.Key)
			if err == nil && old.Version != version {
				err = store.ErrConflict
			}
			if err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond)
			if old, err = s.Load(ctx, rec.Key); err != nil {
				return err
			}
			return s.Replace(ctx, rec, old.Version)
		}}
	},
	"a conflict is answered as success": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			if err := s.Replace(ctx, rec, version); !errors.Is(err, store.ErrConflict) {
				return err
			}
			return nil
		}}
	},
	"a conflict is answered as not found": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			if err := s.Replace(ctx, rec, version); !errors.Is(err, store.ErrConflict) {
				return err
			}
			return store.ErrNotFound
		}}
	},
	"tombstones are deletions": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			err := s.Replace(ctx, rec, version)
			if err == nil && rec.Kind != store.Live {
				return s.Delete(ctx, rec.Key)
			}
			return err
		}}
	},
	"tombstones forget their principal": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			if rec.Kind != store.Live {
				rec.Principal = ""
			}
			return s.Replace(ctx, rec, version)
		}}
	},
	"Touch writes an old record back": func(s store.Store) store.Store {
		return &broken{Store: s, touch: func(ctx context.Context, key string, version uint64,
			seen, expires time.Time) error {
			rec, err := s.Load(ctx, key)
			if err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond)
			now, err := s.Load(ctx, key)
			if err != nil {
				return err
			}
			rec.LastSeenAt, rec.ExpiresAt = seen, expires
			return s.Replace(ctx, rec, now.Version)
		}}
	},
	"writes are sent twice": func(s store.Store) store.Store {
		return &broken{Store: s, replace: func(ctx context.Context, rec store.Record, version uint64) error {
			if err := s.Replace(ctx, rec, version); err != nil {
				return err
			}
			return s.Replace(ctx, rec, version) // as a client library does that repeats after a timeout
		}}
	},
	"reads come from a replica": func(s store.Store) store.Store {
		type write struct {
			at  time.Time
			rec store.Record
		}
		var mu sync.Mutex
		var log []write
		note := func(rec store.Record, err error) error {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				log = append(log, write{time.Now(), rec})
			}
			return err
		}
		return &broken{Store: s,
			create: func(ctx context.Context, rec store.Record) error { return note(rec, s.Create(ctx, rec)) },
			replace: func(ctx context.Context, rec store.Record, version uint64) error {
				return note(rec, s.Replace(ctx, rec, version))
			},
			load: func(ctx context.Context, key string) (store.Record, error) {
				rec, err := s.Load(ctx, key)
				mu.Lock()
				defer mu.Unlock()
				for _, w := range log { // the newest that has arrived
					if err == nil && w.rec.Key == key && time.Since(w.at) > 20*time.Millisecond {
						rec = w.rec
					}
				}
				return rec, err
			},
		}
	},
	"nothing expires": func(s store.Store) store.Store {
		return &broken{Store: s,
			create: func(ctx context.Context, rec store.Record) error {
				rec.ExpiresAt = rec.ExpiresAt.Add(1000 * time.Hour)
				return s.Create(ctx, rec)
			},
			replace: func(ctx context.Context, rec store.Record, version uint64) error {
				rec.ExpiresAt = rec.ExpiresAt.Add(1000 * time.Hour)
				return s.Replace(ctx, rec, version)
			},
		}
	},
	"listings leave tombstones out": func(s store.Store) store.Store {
		return &broken{Store: s, lists: func(rec store.Record) bool { return rec.Kind == store.Live }}
	},
	"listings leave young records out": func(s store.Store) store.Store {
		return &broken{Store: s, lists: func(rec store.Record) bool {
			return time.Since(rec.LastSeenAt) > 50*time.Millisecond
		}}
	},
}

// mutantHistories is how many histories a mutant may survive.
const mutantHistories = 2000

// TestMutantsAreCaught shows that the checker can fail.
func TestMutantsAreCaught(t *testing.T) {
	for name, wrap := range mutants {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= mutantHistories; seed++ {
				v := inBubble(t, history.Generate(seed, history.Bubble), wrap, false).Check()
				if len(v.Problems) > 0 {
					t.Logf("caught by history %d: %s", seed, v.Problems[0])
					return
				}
			}
			t.Errorf("not caught by %d histories", mutantHistories)
		})
	}
}
