package session_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// embedding is how many a wrapper is written.
type embedding struct{ store.Store }

// timed is such a wrapper with Unwrap.
type timed struct {
	store.Store
	loads int
}

func (s *timed) Load(ctx context.Context, key string) (store.Record, error) {
	s.loads++
	return s.Store.Load(ctx, key)
}

func (s *timed) Unwrap() store.Store { return s.Store }

// A wrapped store is still that store: its sessions are listed, revoked and swept, and its evictions are events.
func TestWrappedStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(&memstore.Options{MaxSessions: 2})
		wrapped := &timed{Store: embeddingWithUnwrap{mem}}
		b := newBench(t, func(c *session.Config) {
			c.Store, c.SweepInterval, c.IdleTimeout = wrapped, time.Minute, time.Hour
		})
		for range 3 {
			b.cookie(t, func(s *session.Session) { s.Login("ann") })
		}
		b.cookie(t, func(s *session.Session) { s.Login("ann") })
		if n, err := b.RevokeAll(t.Context(), "ann"); n != 2 || err != nil {
			t.Errorf("RevokeAll: got %d, %v, want 2", n, err)
		}
		if got := b.events.took(); len(got) == 0 || got[len(got)-1] != "revoked" {
			t.Errorf("got events %q, want the revocations last", got)
		}
		b.get(t, b.cookie(t, func(s *session.Session) { s.Login("ann") }), func(_ http.ResponseWriter, r *http.Request) { session.From(r).Len() })
		if wrapped.loads == 0 {
			t.Error("the wrapper saw no Load, want each")
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n, err := mem.Sweep(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("got %d records left to sweep, %v, want the Manager to have swept", n, err)
		}
	})
}

type embeddingWithUnwrap struct{ store.Store }

func (s embeddingWithUnwrap) Unwrap() store.Store { return s.Store }

// What a wrapper without Unwrap hides is an error that says what to do.
func TestOpaqueStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *session.Config) { c.Store = embedding{memstore.New(nil)} })
	_, err := b.RevokeAll(t.Context(), "ann")
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "give it Unwrap") {
		t.Errorf("got %v, want one that names Unwrap", err)
	}
}
