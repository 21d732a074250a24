package storeurl_test

import (
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/storeurl"
)

const visits = session.Key[int]("visits")

// BenchmarkRequests measures whole requests through the middleware, 64 in flight, each goroutine with a session of its
// own, in which there are 200 bytes. Server and client share the machine. The databases wait for the disk, as they do
// by default; Redis is measured without a file and with one.
//
//	go test -run '^$' -bench Requests -benchtime 3s ./storeurl
func BenchmarkRequests(b *testing.B) {
	for name, url := range servers(b) {
		m := manager(b, url)
		b.Run("store="+name+"/op=read", func(b *testing.B) {
			requests(b, m, func(s *session.Session) bool { return visits.Or(s, 0) > 0 })
		})
		b.Run("store="+name+"/op=change", func(b *testing.B) {
			requests(b, m, func(s *session.Session) bool {
				return visits.Update(s, func(n int) int { return n + 1 }) > 0
			})
		})
	}
}

// servers yields the names and URLs of all stores.
func servers(b *testing.B) iter.Seq2[string, string] {
	database := servertest.Postgres(b, "fsync=on").URL
	return func(yield func(name, url string) bool) {
		_ = yield("memory", "memory:") &&
			yield("file", "file:"+filepath.Join(b.TempDir(), "sessions")) &&
			yield("sqlite", "sqlite:"+filepath.Join(b.TempDir(), "sessions.db")) &&
			yield("redis", redis().URL) &&
			yield("redis-appendonly", servertest.Redis(b, "--appendonly", "yes").URL) &&
			yield("memcached", memcached().URL) &&
			yield("postgres", database) &&
			yield("postgres-unlogged", database+"?table=unlogged_sessions&unlogged=true") &&
			yield("mysql", servertest.MariaDB(b, "--innodb-flush-method=fsync").URL)
	}
}

func manager(b *testing.B, url string) *session.Manager {
	s, err := storeurl.Open(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return sessiontest.New(b, func(c *session.Config) { c.Store, c.StoreTimeout = s, time.Minute })
}

// BenchmarkRevokeAll ends 10,000 sessions of one user by one call.
//
//	go test -run '^$' -bench RevokeAll -benchtime 3x ./storeurl
func BenchmarkRevokeAll(b *testing.B) {
	sessions := 10_000
	if testing.Short() {
		sessions = 200
	}
	for name, url := range servers(b) {
		if name == "memcached" {
			continue // it has no lists
		}
		m := manager(b, url)
		b.Run("store="+name, func(b *testing.B) {
			for user := 0; b.Loop(); user++ { // each time another: the list has the last one's tombstones for a while
				b.StopTimer()
				name := fmt.Sprint("bob", user)
				logins(b, m, name, sessions)
				b.StartTimer()
				if n, err := m.RevokeAll(b.Context(), name); n != sessions || err != nil {
					b.Fatalf("RevokeAll: got %d, %v, want %d", n, err, sessions)
				}
			}
		})
	}
}

// logins logs a user in so many times.
func logins(b *testing.B, m *session.Manager, user string, n int) {
	var all sync.WaitGroup
	for g := range inFlight {
		all.Go(func() {
			for i := g; i < n; i += inFlight {
				s, err := m.Load(b.Context(), "")
				if err == nil {
					s.Login(user)
					err = s.Save(b.Context())
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

const inFlight = 64

func requests(b *testing.B, m *session.Manager, handle func(*session.Session) bool) {
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !handle(session.From(r)) {
			b.Error("the session was not loaded")
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	var visitors [inFlight]*http.Request
	for i := range visitors {
		visitors[i] = sessiontest.Request(b, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
			s.Login("ann")
			visits.Set(s, 1)
			s.Set("cart", strings.Repeat("x", 160))
		})
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(inFlight / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := visitors[int(next.Add(1))%inFlight]
		for pb.Next() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusNoContent {
				b.Errorf("got status %d", w.Code)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}
