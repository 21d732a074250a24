package storeurl_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/storeurl"
)

// hole is a state in which clients get no response, for a while.
type hole struct {
	name   string
	enter  func(*servertest.Proxy)
	length time.Duration
}

var holes = []hole{
	{"the network drops everything", (*servertest.Proxy).Hold,
		9 * time.Second}, // longer than any client takes a silent connection for alive
}

// A network that drops all packets, without a reset, costs a request StoreTimeout and little more, also while the
// client library makes new connections; and the store works again when the network does. So does a server that accepts
// no connection.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*servertest.Server{
		"redis": servertest.Redis(t), "postgres": servertest.Postgres(t), "mariadb": servertest.MariaDB(t),
		"memcached": servertest.Memcached(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := server.URL
			if name == "memcached" {
				url = "memcached://" + server.Addr
			}
			blackHole(t, server, url)
		})
	}
}

func blackHole(t *testing.T, server *servertest.Server, url string) {
	const timeout = 2 * time.Second
	proxy := servertest.NewProxy(t, server.Addr)
	s, err := storeurl.Open(t.Context(), strings.Replace(url, server.Addr, proxy.Addr, 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m := sessiontest.New(t, func(c *session.Config) { c.Store, c.StoreTimeout = s, timeout })
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits.Update(session.From(r), func(n int) int { return n + 1 })
		w.WriteHeader(http.StatusNoContent)
	}))
	var clients [100]*http.Request
	for i := range clients {
		clients[i] = sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
			s.Login("ann")
		})
	}
	for _, hole := range holes {
		took := dropped(t, h, clients[:], func() { hole.enter(proxy) }, hole.length)
		if len(took) == 0 {
			t.Fatalf("%s: no request failed", hole.name)
		}
		longest := took[len(took)-1]
		t.Logf("%s: %d requests, p50 %v, p99 %v, longest %v", hole.name, len(took), took[len(took)/2],
			took[len(took)*99/100], longest)
		const little = 1500 * time.Millisecond
		if longest > timeout+little {
			t.Errorf("%s: a request took %v, StoreTimeout is %v", hole.name, longest, timeout)
		}
		proxy.Pass()
		for began := time.Now(); ; {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, clients[0])
			if w.Code == http.StatusNoContent {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("%s: the store does not work again", hole.name)
			}
		}
	}
}

// dropped lets clients send requests, calls enter when each has had some responses, and returns how long the requests
// took that got a 503 within the time after that, the shortest first.
func dropped(t *testing.T, h http.Handler, clients []*http.Request, enter func(), length time.Duration) (
	took []time.Duration) {
	stop := make(chan struct{})
	var (
		mu   sync.Mutex
		all  sync.WaitGroup
		warm sync.WaitGroup // until each client has had some responses
	)
	for _, r := range clients {
		warm.Add(1)
		all.Go(func() {
			for n := 0; ; n++ {
				if n == 20 {
					warm.Done()
				}
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code == http.StatusServiceUnavailable {
					mu.Lock()
					took = append(took, time.Since(began))
					mu.Unlock()
				}
			}
		})
	}
	warm.Wait()
	enter()
	held, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	<-held.Done()
	close(stop)
	all.Wait()
	slices.Sort(took)
	return took
}
