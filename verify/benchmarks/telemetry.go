package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	return b.telemetryUnderLoad(url)
}

// pairs is how many pairs of servers telemetryUnderLoad starts: two processes of one program differ by a percent or
// two, wherever their memory happens to be.
const pairs = 10

// telemetryUnderLoad sends requests over 32 connections, ten reads of a session and a change, to two servers in turns,
// which differ in their telemetry alone. First the processor time of a server and its clients counts: how many requests
// a busy machine has time for. Then that of the server alone does. The ratio of a pair is the median of its rounds.
func (b *bench) telemetryUnderLoad(url string) error {
	if err := b.build("verify/benchmarks/visits"); err != nil {
		return err
	}
	kept, err := redisstore.Open(context.Background(), url, nil)
	if err != nil {
		return err
	}
	defer kept.Close()
	m, err := session.New(session.Config{Store: kept, SecretKey: secretKey, InsecureHTTP: true})
	if err != nil {
		return err
	}
	defer m.Close()
	for _, t := range []struct {
		path    string
		clients bool
	}{{"telemetry, a server under load and its clients", true}, {"telemetry, a server under load", false}} {
		var ratios, times []float64
		for range min(pairs, b.plan.Rounds) {
			samples, err := b.pair(url, m, t.clients)
			if err != nil {
				return err
			}
			ratios = append(ratios, samples[0].Over(samples[1]).Median)
			times = append(times, float64(samples[0].Median()))
		}
		r, t := measure.Spread(ratios), target{t.path, "the same without", 1.05, 1.02, 0}
		b.add(t, r, nanoseconds(measure.Spread(times).Median), "", verdict(r.Median, t.target, t.best))
	}
	return nil
}

// pair measures a server with telemetry and one without. m has their sessions.
func (b *bench) pair(url string, m *session.Manager, clients bool) (samples []measure.Samples, err error) {
	var subjects []measure.Subject
	var counted []func() error
	for _, telemetry := range []bool{true, false} {
		p, err := start(func(addr string) *exec.Cmd {
			return exec.Command(filepath.Join(b.dir, "visits"), "-addr", addr, "-store", url,
				fmt.Sprint("-telemetry=", telemetry))
		})
		if err != nil {
			return nil, err
		}
		defer p.stop()
		l := &loaded{manager: m}
		defer l.close()
		if err := l.connect(strings.TrimSuffix(strings.TrimPrefix(p.url, "http://"), "/")); err != nil {
			return nil, err
		}
		subjects = append(subjects, measure.Subject{
			Run: atOnce(len(l.clients), func(i int) error { return l.clients[i].send() }),
			Clock: func() time.Duration {
				took := measure.ProcessTime(p.cmd.Process.Pid)
				if clients {
					took += measure.ProcessTime(os.Getpid())
				}
				return took
			},
		})
		counted = append(counted, l.check)
	}
	plan := b.plan
	plan.Slice, plan.Rounds = plan.Slice/2, 4*plan.Rounds-3
	samples = measure.Run(plan, subjects...)
	return samples, errors.Join(counted[0](), counted[1]())
}

// loaded are the clients of a server under load.
type loaded struct {
	manager *session.Manager // has their sessions
	clients []*connection
}

// connection is one of a browser with a session.
type connection struct {
	conn         net.Conn
	in           *bufio.Reader
	read, change string // requests
	token        string
	sent         int
}

func (l *loaded) connect(addr string) error {
	for range 32 {
		s, err := l.manager.Load(context.Background(), "")
		if err != nil {
			return err
		}
		s.Login(fmt.Sprint("user-", len(l.clients)))
		s.Set(remarks, note)
		if err := s.Save(context.Background()); err != nil {
			return err
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		rest := fmt.Sprintf(" / HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nCookie: %s\r\n\r\n", addr,
			l.manager.Cookie(s))
		l.clients = append(l.clients, &connection{conn, bufio.NewReader(conn), "GET" + rest, "POST" + rest,
			s.Token(), 0})
	}
	return nil
}

func (c *connection) send() error {
	request := c.read
	if c.sent%11 == 10 {
		request = c.change
	}
	if _, err := io.WriteString(c.conn, request); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	c.sent++
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("a server under load: %s: %w", res.Status, err)
	}
	return nil
}

// check looks whether each session has counted what was sent.
func (l *loaded) check() error {
	for _, c := range l.clients {
		s, err := l.manager.Load(context.Background(), c.token)
		if err != nil {
			return err
		}
		if n := session.Key[int](visits).Or(s, 0); n != c.sent/11 {
			return fmt.Errorf("a server under load: %d visits were sent, %d are counted", c.sent/11, n)
		}
	}
	return nil
}

func (l *loaded) close() {
	for _, c := range l.clients {
		c.conn.Close()
	}
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
