package storeurl_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
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
// own, in which there are 200 bytes. Server and client share the machine. The databases wait for the disk, as they do by
// default; Redis is measured without a file and with one.
//
//	go test -run '^$' -bench Requests -benchtime 3s ./storeurl
func BenchmarkRequests(b *testing.B) {
	database := servertest.Postgres(b, "fsync=on").URL
	for _, bench := range []struct{ name, url string }{
		{"memory", "memory:"},
		{"file", "file:" + filepath.Join(b.TempDir(), "sessions")},
		{"sqlite", "sqlite:" + filepath.Join(b.TempDir(), "sessions.db")},
		{"redis", redis().URL},
		{"redis-appendonly", servertest.Redis(b, "--appendonly", "yes").URL},
		{"memcached", memcached().URL},
		{"postgres", database},
		{"postgres-unlogged", database + "?table=unlogged_sessions&unlogged=true"},
		{"mysql", servertest.MariaDB(b, "--innodb-flush-method=fsync").URL},
	} {
		s, err := storeurl.Open(b.Context(), bench.url)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		m := sessiontest.New(b, func(c *session.Config) { c.Store, c.StoreTimeout = s, time.Minute })
		b.Run("store="+bench.name+"/op=read", func(b *testing.B) {
			requests(b, m, func(s *session.Session) bool { return visits.Or(s, 0) > 0 })
		})
		b.Run("store="+bench.name+"/op=change", func(b *testing.B) {
			requests(b, m, func(s *session.Session) bool { return visits.Update(s, func(n int) int { return n + 1 }) > 0 })
		})
	}
}

func requests(b *testing.B, m *session.Manager, handle func(*session.Session) bool) {
	const inFlight = 64
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
