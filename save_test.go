package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// lossyStore applies the next Replace, but loses its answer, and can't be reached for the Load that would tell.
type lossyStore struct {
	store.Store
	replaces, loads int
}

var errLost = errors.New("connection reset")

func (l *lossyStore) Replace(ctx context.Context, rec store.Record, version uint64) error {
	err := l.Store.Replace(ctx, rec, version)
	if l.replaces > 0 {
		l.replaces--
		l.loads = 1
		return errLost
	}
	return err
}

func (l *lossyStore) Load(ctx context.Context, key string) (store.Record, error) {
	if l.loads > 0 {
		l.loads--
		return store.Record{}, errLost
	}
	return l.Store.Load(ctx, key)
}

// TestNothingIsSavedAfterAnUncertainSave: the changes may be stored, so another save could apply an Update twice.
func TestNothingIsSavedAfterAnUncertainSave(t *testing.T) {
	t.Parallel()
	count := session.Key[int]("count")
	lossy := &lossyStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = lossy })
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { count.Set(s, 0) })
	lossy.replaces = 1
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		count.Update(s, func(n int) int { return n + 1 })
		for _, again := range []func(context.Context) error{s.Save, s.Save, s.Reload} {
			if err := again(r.Context()); !errors.Is(err, session.ErrUncertain) {
				t.Errorf("got %v, want ErrUncertain", err)
			}
		}
		if _, _, err := count.Take(r.Context(), s); !errors.Is(err, session.ErrUncertain) {
			t.Errorf("Take: got %v, want ErrUncertain", err)
		}
		w.WriteHeader(http.StatusNoContent)
	})).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("got status %d, want 503", w.Code)
	}
	s, err := m.Load(t.Context(), r.Cookies()[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if got := count.Or(s, -1); got != 1 {
		t.Errorf("got count %d after one Update, want 1", got)
	}
}

// TestLogoutAfterAnUncertainSave: ending a session twice does no harm, so that still works.
func TestLogoutAfterAnUncertainSave(t *testing.T) {
	t.Parallel()
	count := session.Key[int]("count")
	lossy := &lossyStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = lossy })
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Login("ann") })
	lossy.replaces = 1
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		count.Set(s, 1)
		if err := s.Save(r.Context()); !errors.Is(err, session.ErrUncertain) {
			t.Errorf("got %v, want ErrUncertain", err)
		}
		s.Logout()
		w.WriteHeader(http.StatusNoContent)
	})).ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		t.Errorf("got status %d, want 204", w.Code)
	}
	if _, err := m.Load(t.Context(), r.Cookies()[0].Value); !errors.Is(err, session.ErrEnded) {
		t.Errorf("after the logout: got %v, want ErrEnded", err)
	}
}

// TestLogoutSavedAtTheSecondTry: the answer is that of the save that worked.
func TestLogoutSavedAtTheSecondTry(t *testing.T) {
	t.Parallel()
	lossy := &lossyStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = lossy })
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Login("ann") })
	lossy.replaces = 1
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Logout()
		if err := s.Save(r.Context()); !errors.Is(err, session.ErrUncertain) {
			t.Errorf("first Save: got %v, want ErrUncertain", err)
		}
		if err := s.Save(r.Context()); err != nil {
			t.Errorf("second Save: got %v, want nil", err)
		}
		w.WriteHeader(http.StatusNoContent)
	})).ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("got status %d and cookie %q, want 204 and a deletion", w.Code, w.Header().Get("Set-Cookie"))
	}
}

// TestSaveAfterTooLate: Save speaks of what it had to store, not of what an earlier one dropped; Err remembers that.
func TestSaveAfterTooLate(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Set("a", 1) })
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		fmt.Fprint(w, "begun")
		s.Renew()
		if err := s.Save(r.Context()); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("Save of a Renew after the first byte: got %v, want ErrTooLate", err)
		}
		s.Set("n", 1)
		if err := s.Save(r.Context()); err != nil {
			t.Errorf("Save of a value: got %v, want nil", err)
		}
		if err := s.Save(r.Context()); err != nil {
			t.Errorf("Save of nothing: got %v, want nil", err)
		}
		if err := s.Err(); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("Err: got %v, want ErrTooLate", err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	s, err := m.Load(t.Context(), r.Cookies()[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := s.Get("n"); n != int64(1) {
		t.Errorf("got n=%v, want 1", n)
	}
}

// slowStore takes its time for the first Replace, whatever its context says.
type slowStore struct {
	store.Store
	first sync.Once
	pause time.Duration
}

func (s *slowStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	err := s.Store.Replace(ctx, r, version)
	s.first.Do(func() { time.Sleep(s.pause) }) // fake time
	return err
}

// TestSavesTakeTurns: saves of one session wait for each other, each for StoreTimeout at most; who gives up is in
// nobody's way.
func TestSavesTakeTurns(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{500, 1200, 1350} {
		synctest.Test(t, func(t *testing.T) { savesTakeTurns(t, pause*time.Millisecond) })
	}
}

func savesTakeTurns(t *testing.T, pause time.Duration) {
	m, err := session.New(session.Config{
		SecretKey: session.NewSecretKey(), StoreTimeout: time.Second, SweepInterval: -1,
		Store: &slowStore{Store: memstore.New(nil), pause: pause},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, _ := m.Load(t.Context(), "")
	s.Set("a", 1)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	save := func(start time.Duration, key string) {
		s, err := m.Load(t.Context(), s.Token())
		if err != nil {
			t.Fatal(err)
		}
		s.Set(key, 1)
		wg.Go(func() {
			time.Sleep(start) // fake time
			err := s.Save(t.Context())
			switch end := start + time.Second; {
			case key != "first" && end < pause && !errors.Is(err, session.ErrUnavailable):
				t.Errorf("%s: got %v, want ErrUnavailable: the turn came too late", key, err)
			case end > pause && err != nil:
				t.Errorf("%s: %v", key, err)
			}
		})
	}
	save(0, "first")
	save(time.Millisecond, "second")
	save(300*time.Millisecond, "third")
	save(400*time.Millisecond, "fourth")
	wg.Wait()
}
