package outage_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/verify/outage"
)

// broken is a store on a fake server that breaks one rule.
type broken struct {
	*fake
	load    func(ctx context.Context, key string) (store.Record, error)
	replace func(ctx context.Context, rec store.Record, version uint64) error
}

func (b *broken) Load(ctx context.Context, key string) (store.Record, error) {
	if b.load != nil {
		return b.load(ctx, key)
	}
	return b.fake.Load(ctx, key)
}

func (b *broken) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if b.replace != nil {
		return b.replace(ctx, rec, version)
	}
	return b.fake.Replace(ctx, rec, version)
}

// mutant is a store or an application that breaks a claim.
type mutant struct {
	wrap      func(*fake) store.Store
	configure func(*session.Config)
	in        string // the outage
	caught    string // what has to be found
}

func failed(err error) bool {
	return err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) &&
		!errors.Is(err, store.ErrExists)
}

var mutants = map[string]mutant{
	"a store repeats writes without an answer": {
		in: "answers lost", caught: "a count shows more than was sent",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, replace: func(ctx context.Context, rec store.Record, version uint64) error {
				err := f.Replace(ctx, rec, version)
				if failed(err) {
					time.Sleep(10 * time.Millisecond)
					return f.Replace(ctx, rec, version)
				}
				return err
			}}
		},
	},
	"a store answers before its server": {
		in: "killed and started", caught: "misses what was acknowledged before",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, replace: func(ctx context.Context, rec store.Record, version uint64) error {
				if err := f.Replace(ctx, rec, version); !failed(err) {
					return err
				}
				return nil
			}, load: func(ctx context.Context, key string) (store.Record, error) {
				return f.Store.Load(ctx, key) // else nobody would get as far as a write
			}}
		},
	},
	"a store that was not reached says that nothing is there": {
		in: "killed and started", caught: "a visitor is logged out",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, load: func(ctx context.Context, key string) (store.Record, error) {
				rec, err := f.Load(ctx, key)
				if failed(err) {
					err = store.ErrNotFound
				}
				return rec, err
			}}
		},
	},
	"a store waits for its server for ever": {
		in: "paused and continued", caught: "took longer than it may",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, load: func(ctx context.Context, key string) (store.Record, error) {
				return f.Load(context.WithoutCancel(ctx), key)
			}}
		},
	},
	"a store reads what was there a moment ago": {
		in: "killed and started", caught: "misses what was acknowledged before",
		wrap: func(f *fake) store.Store {
			var mu sync.Mutex
			read := map[string]store.Record{}
			return &broken{fake: f, load: func(ctx context.Context, key string) (store.Record, error) {
				rec, err := f.Load(ctx, key)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case failed(err) && read[key].Version != 0:
					return read[key], nil
				case err == nil && read[key].Version == 0:
					read[key] = rec
				}
				return rec, err
			}}
		},
	},
	"a store takes an end that was not answered for one that was": {
		in: "killed and started", caught: "a session is alive after its end was acknowledged",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, replace: func(ctx context.Context, rec store.Record, version uint64) error {
				if rec.Kind == store.Ended {
					return nil
				}
				return f.Replace(ctx, rec, version)
			}}
		},
	},
	"a store deletes what it could not write": {
		in: "answers lost", caught: "a change of a visitor was dropped",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, replace: func(ctx context.Context, rec store.Record, version uint64) error {
				err := f.Replace(ctx, rec, version)
				if failed(err) {
					f.Store.Delete(ctx, rec.Key)
				}
				return err
			}}
		},
	},
	"a store writes over whatever is there": {
		in: "paused and continued", caught: "two counts of one session gave the same number",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, replace: func(ctx context.Context, rec store.Record, version uint64) error {
				if old, err := f.Store.Load(ctx, rec.Key); err == nil && old.Kind == store.Live {
					version = old.Version
				}
				return f.Replace(ctx, rec, version)
			}}
		},
	},
	"a server takes ends back": {
		in: "killed and started", caught: "an ended session is alive in the end",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, replace: func(ctx context.Context, rec store.Record, version uint64) error {
				old, _ := f.Store.Load(ctx, rec.Key)
				err := f.Replace(ctx, rec, version)
				if err == nil && rec.Kind == store.Ended {
					f.late.Go(func() {
						time.Sleep(50 * time.Millisecond)
						f.Store.Replace(context.WithoutCancel(ctx), old, rec.Version)
					})
				}
				return err
			}}
		},
	},
	"a store deletes what it could not read": {
		in: "killed and started", caught: "a session is gone whose logout was refused",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, load: func(ctx context.Context, key string) (store.Record, error) {
				rec, err := f.Load(ctx, key)
				if failed(err) {
					f.Store.Delete(ctx, key)
				}
				return rec, err
			}}
		},
	},
	"a store leaves a goroutine with each failure": {
		in: "killed and started", caught: "goroutines are left",
		wrap: func(f *fake) store.Store {
			return &broken{fake: f, load: func(ctx context.Context, key string) (store.Record, error) {
				rec, err := f.Load(ctx, key)
				if failed(err) {
					go func() { select {} }()
				}
				return rec, err
			}}
		},
	},
	"a 503 says nothing about when": {
		in: "killed and started", caught: "without Retry-After",
		configure: func(c *session.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		},
	},
	"an outage logs out": {
		in: "killed and started", caught: "changes the client's cookies",
		configure: func(c *session.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
				http.SetCookie(w, &http.Cookie{Name: "session", MaxAge: -1})
				w.Header().Set("Retry-After", "5")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		},
	},
	"an answer is half the handler's": {
		in: "killed and started", caught: "has the handler's output",
		configure: func(c *session.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
				w.Header().Set("Handled", "yes")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		},
	},
	"an outage is another status": {
		in: "killed and started", caught: "status 500",
		configure: func(c *session.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
				w.WriteHeader(http.StatusInternalServerError)
			}
		},
	},
	"nobody is told what happened": {
		in: "killed and started", caught: "without an event",
		configure: func(c *session.Config) { c.OnEvent = nil },
	},
}

// TestClaimsCanFail shows that each claim is broken by something.
func TestClaimsCanFail(t *testing.T) {
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m.wrap == nil {
				m.wrap = func(f *fake) store.Store { return f }
			}
			var findings []string
			for range 20 { // what needs two requests at once does not come each time
				s := newFake().service(m.wrap)
				s.options = outage.Options{Configure: m.configure, StoreTimeout: 200 * time.Millisecond,
					Margin: 300 * time.Millisecond, Patience: 2 * time.Second}
				for _, k := range s.kinds() {
					if k.name == m.in {
						_, findings = s.try(t, k)
					}
				}
				for _, f := range findings {
					if strings.Contains(f, m.caught) {
						return
					}
				}
			}
			t.Errorf("not caught: got %q, want one with %q", findings, m.caught)
		})
	}
}
