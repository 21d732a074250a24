package session_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// hookedStore calls hook before each operation, without a lock: it may take its time, and call the store.
type hookedStore struct {
	store.Store
	hook func(op string) error
}

// hooked is an option of newBench.
func hooked(s *hookedStore) func(*session.Config) {
	return func(c *session.Config) { s.Store, c.Store = c.Store, s }
}

func (s *hookedStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := s.hook("load"); err != nil {
		return store.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *hookedStore) Create(ctx context.Context, r store.Record) error {
	if err := s.hook("create"); err != nil {
		return err
	}
	return s.Store.Create(ctx, r)
}

func (s *hookedStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	if err := s.hook("replace"); err != nil {
		return err
	}
	return s.Store.Replace(ctx, r, version)
}

func set(key string) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { session.From(r).Set(key, 1) }
}

// A save that waits for another one's turn notes when it was made, not when it began to wait: else a session with a short
// IdleTimeout would have expired when it is stored.
func TestLastSeenAfterAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failing := []string{"replace", "load"} // of the first request, which leaves everything as it is
		b := newBench(t, hooked(&hookedStore{hook: func(op string) error {
			if len(failing) == 0 || op != failing[0] {
				return nil
			}
			failing = failing[1:]
			if op == "replace" {
				time.Sleep(4 * time.Second)
			}
			return errDown
		}}))
		cookie := b.cookie(t, func(s *session.Session) { s.Set("v", 1) })
		var first, second int
		begun := make(chan struct{})
		var requests sync.WaitGroup
		requests.Go(func() {
			second = b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				session.From(r)
				<-begun
				set("second")(w, r)
			}).StatusCode
		})
		synctest.Wait()
		requests.Go(func() { first = b.get(t, cookie, set("first")).StatusCode })
		synctest.Wait()
		close(begun)
		if requests.Wait(); first != http.StatusServiceUnavailable || second != http.StatusOK {
			t.Fatalf("got answers %d and %d, want 503 and 200", first, second)
		}
		s, err := b.Load(t.Context(), value(cookie))
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(s.Info().LastSeenAt); got != 0 {
			t.Errorf("got a session that was last seen %v before it was saved", got)
		}
	})
}

// A Renew that takes long does not take back what another process has noted meanwhile.
func TestLastSeenAfterASlowRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cookie string
		var other *bench
		s := &hookedStore{hook: func(string) error { return nil }}
		b := newBench(t, hooked(s))
		other = newBench(t, func(c *session.Config) { c.Store = s.Store })
		cookie = b.cookie(t, func(s *session.Session) { s.Set("v", 1) })
		s.hook = func(op string) error {
			if op == "create" {
				time.Sleep(2 * time.Second)
				other.get(t, cookie, set("other"))
			}
			return nil
		}
		time.Sleep(time.Second)
		res := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Renew() })
		if len(res.Cookies()) != 1 {
			t.Fatalf("got status %d without a cookie", res.StatusCode)
		}
		renewed, err := b.Load(t.Context(), res.Cookies()[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(renewed.Info().LastSeenAt); got != 0 {
			t.Errorf("got a session that was last seen %v before another process saw it", got)
		}
	})
}

// The event about a cookie whose session is gone names it by the tombstone that a Renew left.
func TestRejectedByATombstone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	renewed := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Renew() }).Cookies()[0]
	s, err := b.Load(t.Context(), renewed.Value)
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range b.store.Store.(store.Lister).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == store.Live {
			b.store.Delete(t.Context(), rec.Key)
		}
	}
	b.events.took()
	b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r) })
	if e := b.events.events; len(e) != 1 || e[0].Reason != session.ReasonUnknown || e[0].Handle != s.Info().Handle || e[0].Principal != "ann" {
		t.Errorf("got %+v, want one of reason unknown with handle %s and principal ann", e, s.Info().Handle)
	}
}

// A goroutine of the handler may be the first to ask for the session, while the header is sent: for the race detector.
func TestFromDuringTheFirstByte(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 500 {
		b.get(t, "", func(w http.ResponseWriter, r *http.Request) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				session.From(r).Len()
			}()
			w.WriteHeader(http.StatusOK)
			<-done
		})
	}
}
