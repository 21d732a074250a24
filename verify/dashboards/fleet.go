// Package dashboards runs servers of an application through an operator's bad night, and evaluates the queries of
// docs/dashboards by Prometheus' own engine on the metrics that the servers expose meanwhile.
package dashboards

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/otelsession"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// Fleet is some servers of one application that keep their sessions in one Redis, the visitors of the application, and
// what Prometheus would have read of the servers so far.
type Fleet struct {
	Redis    *servertest.Server
	Visitors []*Visitor
	Every    time.Duration // between two scrapes
	Now      time.Time     // of the next one

	config  session.Config // but for the store
	servers []*server      // with Redis
	all     []*server
	next    atomic.Int64 // the next server, as a load balancer chooses it

	series []*promql.Series
	known  map[uint64]*promql.Series
}

// server is a process of the application: what its Manager knows of the others is in Redis alone.
type server struct {
	sessions *session.Manager
	redis    *redisstore.Store // nil: another store
	rival    *rival
	app      *httptest.Server
	metrics  http.Handler
	release  chan struct{} // lets go the requests of /hold
	held     chan struct{} // gets one for each of them
}

// NewFleet starts Redis and n servers, and logs visitors in. Everything ends with tb.
func NewFleet(tb servertest.TB, n, visitors int, timeout, every time.Duration) (*Fleet, error) {
	f := &Fleet{
		Redis: servertest.Redis(tb), Every: every, Now: time.Now().Truncate(time.Second),
		known: map[uint64]*promql.Series{},
		config: session.Config{
			SecretKey: session.NewSecretKey(), InsecureHTTP: true, StoreTimeout: timeout, MaxBytes: 4096,
			Logger: slog.New(slog.DiscardHandler),
		},
	}
	for range n {
		redis, err := redisstore.Open(context.Background(), f.Redis.URL, nil)
		if err != nil {
			return nil, err
		}
		tb.Cleanup(func() { redis.Close() })
		s, err := f.start(tb, redis)
		if err != nil {
			return nil, err
		}
		s.redis = redis
		f.servers = append(f.servers, s)
	}
	for i := range visitors {
		v, err := f.NewVisitor(fmt.Sprint("visitor-", i))
		if err != nil {
			return nil, err
		}
		f.Visitors = append(f.Visitors, v)
	}
	return f, nil
}

// start starts a server of the same application with a store.
func (f *Fleet) start(tb servertest.TB, kept store.Store) (*server, error) {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	s := &server{
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		release: make(chan struct{}), held: make(chan struct{}),
	}
	s.rival = &rival{Store: kept}
	config := f.config
	config.Store = s.rival
	if err := otelsession.Instrument(&config,
		&otelsession.Options{System: "redis", MeterProvider: provider}); err != nil {
		return nil, err
	}
	if s.sessions, err = session.New(config); err != nil {
		return nil, err
	}
	s.app = httptest.NewServer(s.sessions.Handler(s.routes()))
	tb.Cleanup(func() {
		s.app.Close()
		s.sessions.Close()
		provider.Shutdown(context.Background())
	})
	f.all = append(f.all, s)
	return s, nil
}

var visits = session.Key[int]("visits")

func visit(r *http.Request) { visits.Update(session.From(r), func(n int) int { return n + 1 }) }

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(_ http.ResponseWriter, r *http.Request) {
		session.From(r).Login(r.FormValue("name"))
	})
	mux.HandleFunc("POST /logout", func(_ http.ResponseWriter, r *http.Request) { session.From(r).Logout() })
	mux.HandleFunc("POST /visit", func(w http.ResponseWriter, r *http.Request) {
		if session.From(r).Principal() == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		visit(r)
	})
	mux.HandleFunc("POST /hold", func(_ http.ResponseWriter, r *http.Request) {
		session.From(r)
		s.held <- struct{}{}
		<-s.release
		visit(r)
	})
	mux.HandleFunc("POST /fill", func(_ http.ResponseWriter, r *http.Request) {
		session.From(r).Set("text", strings.Repeat("x", 5000))
	})
	mux.HandleFunc("POST /late", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		session.From(r).Renew()
	})
	return mux
}

// rival is a store in which, when it is told to, somebody else's write always comes first.
type rival struct {
	store.Store
	on atomic.Bool
}

func (s *rival) Unwrap() store.Store { return s.Store }

func (s *rival) Replace(ctx context.Context, r store.Record, version uint64) error {
	if s.on.Load() {
		now, err := s.Load(ctx, r.Key)
		if err != nil {
			return err
		}
		before := now.Version
		now.Version = store.NewVersion()
		if err := s.Store.Replace(ctx, now, before); err != nil {
			return err
		}
	}
	return s.Store.Replace(ctx, r, version)
}

// Visitor is a browser.
type Visitor struct {
	Name   string
	fleet  *Fleet
	client http.Client
}

// NewVisitor returns a browser in which somebody has logged in.
func (f *Fleet) NewVisitor(name string) (*Visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &Visitor{name, f, http.Client{Jar: jar}}
	if status, err := v.Send("/login?name=" + name); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("dashboards: the login of %s got status %d: %w", name, status, err)
	}
	return v, nil
}

// Send sends a request to the server whose turn it is, and returns the status of its response.
func (v *Visitor) Send(path string) (status int, err error) {
	s := v.fleet.servers[int(v.fleet.next.Add(1))%len(v.fleet.servers)]
	res, err := v.client.Post(s.app.URL+path, "", nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// Visit sends a request that changes the visitor's session, and logs in again if there is none.
func (v *Visitor) Visit() {
	if status, err := v.Send("/visit"); err == nil && status == http.StatusUnauthorized {
		v.Send("/login?name=" + v.Name)
	}
}

// All calls fn for each visitor at the same time, and waits.
func All(visitors []*Visitor, fn func(*Visitor)) {
	var all sync.WaitGroup
	for _, v := range visitors {
		all.Go(func() { fn(v) })
	}
	all.Wait()
}

// Scrape reads the metrics of all servers by Prometheus' own parser, as of the time Now, and lets Every pass.
func (f *Fleet) Scrape() error {
	for i, s := range f.all {
		w := httptest.NewRecorder()
		s.metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		p, err := textparse.New(w.Body.Bytes(), w.Header().Get("Content-Type"), nil, textparse.ParserOptions{})
		if err != nil {
			return err
		}
		for {
			entry, err := p.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				return err
			}
			if entry != textparse.EntrySeries {
				continue
			}
			var l labels.Labels
			p.Labels(&l)
			l = labels.NewBuilder(l).Set("instance", fmt.Sprint("server-", i+1)).Labels()
			_, _, value := p.Series()
			f.append(l, value)
		}
	}
	f.Now = f.Now.Add(f.Every)
	return nil
}

func (f *Fleet) append(l labels.Labels, value float64) {
	s := f.known[l.Hash()]
	if s == nil {
		s = &promql.Series{Metric: l}
		f.known[l.Hash()] = s
		f.series = append(f.series, s)
	}
	s.Floats = append(s.Floats, promql.FPoint{T: f.Now.UnixMilli(), F: value})
}
