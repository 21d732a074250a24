package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// slow is a store on a server: each call takes time, and any number of them overlap.
type slowServer struct {
	store.Store
	read, write time.Duration
}

func (s slowServer) Load(ctx context.Context, key string) (store.Record, error) {
	time.Sleep(s.read) // fake time
	return s.Store.Load(ctx, key)
}

func (s slowServer) Replace(ctx context.Context, r store.Record, version uint64) error {
	time.Sleep(s.write)
	return s.Store.Replace(ctx, r, version)
}

// contended lets clients of several servers add to one session at once, and returns how many requests each client made.
func contended(t *testing.T, s store.Store, servers, clients, requests int) (each []int, slowest time.Duration) {
	t.Helper()
	var handlers []http.Handler
	var managers []*session.Manager
	var events eventLog
	count := session.Key[int]("count")
	for range servers {
		m, err := session.New(session.Config{SecretKey: secret, Store: s, SweepInterval: -1, OnEvent: events.add})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		managers = append(managers, m)
		handlers = append(handlers, m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			count.Update(session.From(r), func(n int) int { return n + 1 })
			fmt.Fprint(w, "added")
		})))
	}
	one, _ := managers[0].Load(t.Context(), "")
	count.Set(one, 0)
	if err := one.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	events.took()
	each = make([]int, servers*clients)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range each {
		wg.Go(func() {
			for range requests {
				r := httptest.NewRequest("GET", "/", nil)
				r.AddCookie(&http.Cookie{Name: hostCookie, Value: one.Token()})
				w := httptest.NewRecorder()
				began := time.Now()
				handlers[c%servers].ServeHTTP(w, r)
				took := time.Since(began)
				if w.Code != http.StatusOK {
					t.Errorf("client %d: got status %d, want 200", c, w.Code)
					return
				}
				mu.Lock()
				each[c]++
				slowest = max(slowest, took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	got, err := managers[0].Load(t.Context(), one.Token())
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := count.Get(got); n != servers*clients*requests {
		t.Errorf("got a count of %d, want %d", n, servers*clients*requests)
	}
	if e := events.took(); len(e) > 0 {
		slices.Sort(e)
		t.Errorf("got events %q, want none", slices.Compact(e))
	}
	return each, slowest
}

// P11: overlapping requests of one session are each answered by their own result, with one server and with several.
func TestP11Contention(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ servers, clients, requests int }{{1, 200, 20}, {2, 2, 300}, {4, 50, 10}, {8, 1, 100}} {
		began := time.Now()
		_, slowest := contended(t, memstore.New(nil), c.servers, c.clients, c.requests)
		t.Logf("%d servers, %d clients each: %v, slowest %v", c.servers, c.clients, time.Since(began), slowest)
	}
}

// P11: a store that takes a while for a write serves many clients by one write for all who wait.
func TestP11SlowStore(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 2, 4} {
		synctest.Test(t, func(t *testing.T) {
			s := slowServer{memstore.New(nil), 2 * time.Millisecond, 5 * time.Millisecond}
			_, slowest := contended(t, s, servers, 1000/servers, 2)
			t.Logf("%d servers: slowest %v", servers, slowest)
			if slowest > time.Second {
				t.Errorf("%d servers: the slowest took %v, want at most a second", servers, slowest)
			}
		})
	}
}

// P11: each of the concurrent requests gets its own result: no two count to the same number.
func TestP11OwnResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Config{SecretKey: secret, SweepInterval: -1,
			Store: slowServer{memstore.New(nil), 2 * time.Millisecond, 5 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		count := session.Key[int]("count")
		one, _ := m.Load(t.Context(), "")
		count.Set(one, 0)
		if err := one.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var got []int
		var wg sync.WaitGroup
		const n = 50
		for i := range n {
			wg.Go(func() {
				s, err := m.Load(t.Context(), one.Token())
				if err != nil {
					t.Error(err)
					return
				}
				count.Update(s, func(n int) int { return n + 1 })
				if err := s.Save(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				v, _ := count.Get(s)
				got = append(got, v)
				mu.Unlock()
				s.Set(fmt.Sprint("again", i), i) // a second save of the same session keeps what the others did
				if err := s.Save(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(got)
		if len(slices.Compact(got)) != n {
			t.Errorf("got %d different numbers, want %d", len(slices.Compact(got)), n)
		}
		s, err := m.Load(t.Context(), one.Token())
		if err != nil {
			t.Fatal(err)
		}
		if c, _ := count.Get(s); c != n || s.Len() != n+1 {
			t.Errorf("got a count of %d and %d values, want %d and %d", c, s.Len(), n, n+1)
		}
	})
}
