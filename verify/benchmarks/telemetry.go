package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"syscall"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/otelsession"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
	"github.com/hipflask/session/verify/benchmarks/measure"
	"github.com/hipflask/session/verify/benchmarks/peers"
)

// telemetry measures what module otelsession costs: its calls alone beside requests that read and change a session in
// Redis, and a server under load with it beside the same without.
func (b *bench) telemetry() error {
	var tb testbed
	defer tb.close()
	url := urlOf(servertest.Redis(&tb))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	defer provider.Shutdown(context.Background())
	opts := &otelsession.Options{
		System: "redis", MeterProvider: provider,
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
	}
	alone := session.Config{Store: instant{}}
	if err := otelsession.Instrument(&alone, opts); err != nil {
		return err
	}
	s, err := newScene(peers.HipflaskRedis(url), b.dir, b.sessions)
	if err != nil {
		return err
	}
	defer s.app.Close()
	plan := b.plan
	plan.Wall = true // most of the work is the server's
	for i, run := range []func(){func() { reading(&alone) }, func() { reading(&alone); changing(&alone) }} {
		op := operations[2+i]
		subject, check := s.subject(op)
		samples := measure.Run(plan, measure.Subject{Name: "telemetry",
			Run: repeat(func() error { run(); return nil })}, subject)
		if err := check(); err != nil {
			return err
		}
		b.row(target{"telemetry, " + op.name, "that request, from Redis", 0.05, 0.02, 0}, samples[0], samples[1])
	}
	return b.telemetryUnderLoad(url, opts)
}

// telemetryUnderLoad lets wrk ask two servers in turns, which differ in their telemetry alone.
func (b *bench) telemetryUnderLoad(url string, opts *otelsession.Options) error {
	var group []server
	for _, name := range []string{"with telemetry", "without"} {
		kept, err := redisstore.Open(context.Background(), url, nil)
		if err != nil {
			return err
		}
		defer kept.Close()
		config := session.Config{Store: kept, SecretKey: session.NewSecretKey(), InsecureHTTP: true}
		if name != "without" {
			if err := otelsession.Instrument(&config, opts); err != nil {
				return err
			}
		}
		m, err := session.New(config)
		if err != nil {
			return err
		}
		defer m.Close()
		app := httptest.NewServer(m.Handler(http.HandlerFunc(visitsPage)))
		defer app.Close()
		s := server{name: name, ours: true, process: &process{url: app.URL + "/"}}
		if err := s.logIn(b.dir, traffics[1]); err != nil {
			return err
		}
		group = append(group, s)
	}
	rounds := b.plan.Rounds/4 + 1
	var used [2][]float64 // processor time of this process for a request, in nanoseconds
	for round := range rounds {
		for k := range group {
			i := (k + round) % 2
			sent, before := group[i].sent, processTime()
			if err := group[i].wrk(); err != nil {
				return err
			}
			used[i] = append(used[i], float64(processTime()-before)/float64(group[i].sent-sent))
		}
	}
	for _, s := range group {
		if _, err := s.kept(); err != nil {
			return err
		}
	}
	against := "the same without"
	b.rate(target{"telemetry, a server under load: rate", against, 0.95, 0.98, 0}, group[0].rate, group[1].rate)
	cpu := target{"telemetry, a server under load: CPU", against, 1.05, 1.02, 0}
	of := measure.Quotient(used[0], used[1])
	b.add(cpu, of, nanoseconds(measure.Spread(used[0]).Median), "", verdict(of.Median, cpu.target, cpu.best))
	return nil
}

func visitsPage(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	if r.URL.Path == "/login" {
		s.Login(r.FormValue("username"))
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	n := session.Key[int](visits).Update(s, func(n int) int { return n + 1 })
	fmt.Fprintf(w, "Logged in as %s, %d visits", s.Principal(), n)
}

// reading and changing make telemetry do what it does for a load, and for a save.
func reading(c *session.Config) {
	ctx := c.Trace.LoadStart(context.Background())
	c.Store.Load(ctx, "")
	c.Trace.LoadDone(ctx, session.LoadFigures{
		Duration: time.Millisecond, Attempts: 1, Bytes: 200, Outcome: session.OutcomeFound})
}

func changing(c *session.Config) {
	ctx := c.Trace.SaveStart(context.Background(), session.SaveChange)
	c.Store.Replace(ctx, store.Record{}, 0)
	c.Trace.SaveDone(ctx, session.SaveFigures{
		Kind: session.SaveChange, Duration: time.Millisecond, Attempts: 1, Bytes: 200, Outcome: session.OutcomeStored})
}

// instant is a store that does nothing.
type instant struct{ store.Store }

func (instant) Load(context.Context, string) (store.Record, error)  { return store.Record{}, nil }
func (instant) Replace(context.Context, store.Record, uint64) error { return nil }

// processTime is the processor time that this process has used.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it can't fail for the process itself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
