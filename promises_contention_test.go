package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
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

// slowServer is a store on a server: each call takes time, a little more or less each time, and any number of them
// overlap.
type slowServer struct {
	store.Store
	read, write time.Duration
}

func (s slowServer) Load(ctx context.Context, key string) (store.Record, error) {
	about(s.read / 2) // fake time
	r, err := s.Store.Load(ctx, key)
	about(s.read / 2)
	return r, err
}

func (s slowServer) Replace(ctx context.Context, r store.Record, version uint64) error {
	about(s.write / 2)
	err := s.Store.Replace(ctx, r, version)
	about(s.write / 2)
	return err
}

// about sleeps for d, give or take 2 %.
func about(d time.Duration) { time.Sleep(d + time.Duration((rand.Float64()-0.5)/25*float64(d))) }

// contended lets clients of several servers, each with its store, add to one session at once as long as more says so.
// It returns how many requests each client made.
func contended(t *testing.T, stores []store.Store, clients int, more func(made int) bool) (
	each []int, slowest time.Duration) {
	t.Helper()
	servers := len(stores)
	var handlers []http.Handler
	var managers []*session.Manager
	var events eventLog
	count := session.Key[int]("count")
	for _, s := range stores {
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
	each = make([]int, clients)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range each {
		wg.Go(func() {
			for made := 0; more(made); made++ {
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
	want := 0
	for _, n := range each {
		want += n
	}
	if n, _ := count.Get(got); n != want {
		t.Errorf("got a count of %d, want %d", n, want)
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
		stores := slices.Repeat([]store.Store{memstore.New(nil)}, c.servers)
		_, slowest := contended(t, stores, c.servers*c.clients, func(made int) bool { return made < c.requests })
		t.Logf("%d servers, %d clients each: %v, slowest %v", c.servers, c.clients, time.Since(began), slowest)
	}
}

// P11: a store that takes a while for a write serves many clients by one write for all who wait.
func TestP11SlowStore(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 2, 4} {
		synctest.Test(t, func(t *testing.T) {
			s := slowServer{memstore.New(nil), 2 * time.Millisecond, 5 * time.Millisecond}
			_, slowest := contended(t, slices.Repeat([]store.Store{s}, servers), 1000,
				func(made int) bool { return made < 2 })
			t.Logf("%d servers: slowest %v", servers, slowest)
			if slowest > time.Second {
				t.Errorf("%d servers: the slowest took %v, want at most a second", servers, slowest)
			}
		})
	}
}

// P11: the slowest client makes at least half as many requests as the fastest, whichever servers they are on: also if
// each sends its next request at once, so that nothing but the servers' rules brings them out of step, and if half of
// the servers are further from the store.
func TestP11Fair(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ servers, clients, slower int }{
		{2, 2, 0}, {2, 3, 0}, {2, 10, 0}, {2, 50, 0}, {4, 4, 0}, {4, 10, 0}, {4, 50, 0},
		{2, 2, 20}, {2, 3, 20}, {2, 10, 20}, {2, 50, 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			mem := memstore.New(nil)
			var stores []store.Store
			for i := range c.servers {
				took := time.Millisecond + time.Duration(i%2*c.slower)*10*time.Microsecond
				stores = append(stores, slowServer{mem, took, took})
			}
			began := time.Now()
			each, _ := contended(t, stores, c.clients, func(int) bool { return time.Since(began) < 4*time.Second })
			slices.Sort(each)
			least, most := each[0], each[len(each)-1]
			t.Logf("%d servers, %d clients, half of the servers slower by %d %%: %d to %d requests",
				c.servers, c.clients, c.slower, least, most)
			if 2*least < most {
				t.Errorf("%d servers, %d clients: one made %d requests, another one %d",
					c.servers, c.clients, least, most)
			}
		})
	}
}

// P11: a save that loses against other servers retries at once. A pause would give them the next turn as well.
func TestP11LoserRetriesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &overtaking{memstore.New(nil), 0}
		m := server(t, func(c *session.Config) { c.Store = s })
		c := newVisitor(t)
		c.do(m, func(s *session.Session) { s.Set("a", 1) })
		s.left = 200
		began := time.Now()
		c.do(m, func(s *session.Session) { s.Set("a", 2) })
		if took := time.Since(began); took > 0 || s.left > 0 {
			t.Errorf("after %d attempts that came too late the change took %v, want no time", 200-s.left, took)
		}
		c.want([]*session.Manager{m}, "afterwards", ": [a=2]")
	})
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
