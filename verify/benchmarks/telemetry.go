package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// telemetryUnderLoad sends requests over 32 connections, ten reads of a session and a change, to two servers in turns,
// which differ in their telemetry alone. The processor time of both servers and clients counts: how many requests a
// busy machine has time for.
func (b *bench) telemetryUnderLoad(url string, opts *otelsession.Options) error {
	var subjects []measure.Subject
	var counted []func() error
	for _, telemetry := range []bool{true, false} {
		kept, err := redisstore.Open(context.Background(), url, nil)
		if err != nil {
			return err
		}
		defer kept.Close()
		config := session.Config{Store: kept, SecretKey: session.NewSecretKey(), InsecureHTTP: true}
		if telemetry {
			if err := otelsession.Instrument(&config, opts); err != nil {
				return err
			}
		}
		m, err := session.New(config)
		if err != nil {
			return err
		}
		defer m.Close()
		l := &loaded{manager: m}
		app := httptest.NewServer(m.Handler(http.HandlerFunc(l.visit)))
		defer app.Close()
		if err := l.connect(app.Listener.Addr().String()); err != nil {
			return err
		}
		defer l.close()
		subjects = append(subjects, measure.Subject{Run: atOnce(len(l.clients), func(i int) error {
			return l.clients[i].send()
		})})
		counted = append(counted, l.check)
	}
	plan := b.plan
	plan.Rounds = 3*plan.Rounds - 2
	samples := measure.Run(plan, subjects...)
	b.row(target{"telemetry, a server under load", "the same without", 1.05, 1.02, 0}, samples[0], samples[1])
	return errors.Join(counted[0](), counted[1]())
}

// loaded is a server under load, and its clients.
type loaded struct {
	manager *session.Manager
	clients []*connection
}

func (l *loaded) visit(w http.ResponseWriter, r *http.Request) {
	s, key := session.From(r), session.Key[int](visits)
	if r.Method == http.MethodPost {
		key.Update(s, func(n int) int { return n + 1 })
	}
	fmt.Fprint(w, key.Or(s, 0))
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
