package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

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
