package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/benchmarks/measure"
	"github.com/hipflask/session/benchmarks/peers"
	"github.com/hipflask/session/internal/servertest"
)

// inFlight is how many requests a server has at a time.
const inFlight = 64

// startRedis starts a Redis server and returns a client with the settings that redisstore.Open gives its own.
func startRedis(tb servertest.TB) (*servertest.Server, rueidis.Client, error) {
	server := servertest.Redis(tb)
	client, err := redisClient(server, 100*time.Microsecond)
	return server, client, err
}

// redisClient returns a client that waits for so long between two writes, to collect commands.
func redisClient(server *servertest.Server, flushDelay time.Duration) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr}, DisableCache: true, DisableRetry: true, AlwaysPipelining: true,
		MaxFlushDelay: flushDelay, ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
	})
}

// floorDelays are the clients that the bare commands are tried with: what suits requests, which work between two
// commands, makes commands wait that have nothing between them. The fastest is the floor.
var floorDelays = []time.Duration{0, 20 * time.Microsecond, 100 * time.Microsecond}

// redis holds whole requests with sessions in Redis against the bare commands that they can't do without.
func (b *bench) redis() error {
	var tb testbed
	defer tb.close()
	server, client, err := startRedis(&tb)
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := newScene(peers.HipflaskRedis(client), b.dir, inFlight)
	if err != nil {
		return err
	}
	defer s.app.Close()
	var subjects []measure.Subject
	for _, delay := range floorDelays {
		bare, err := redisClient(server, delay)
		if err != nil {
			return err
		}
		defer bare.Close()
		get, change, err := redisFloors(bare, delay.String()+":")
		if err != nil {
			return err
		}
		subjects = append(subjects, get, change)
	}
	floors := len(subjects)
	var checks []func() error
	for _, op := range operations[2:] {
		subject, check := s.inFlight(op)
		subjects, checks = append(subjects, subject), append(checks, check)
	}
	plan := b.plan
	plan.Wall = true // most of the work is the server's
	samples := measure.Run(plan, subjects...)
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	get, change := samples[0], samples[1]
	for i := 2; i < floors; i += 2 {
		get, change = faster(get, samples[i]), faster(change, samples[i+1])
	}
	b.row(target{"Redis, read, 64 in flight", get.Name, 1.5, 1.2, 0}, samples[floors], get)
	b.row(target{"Redis, change, 64 in flight", change.Name, 1.5, 1.2, 0}, samples[floors+1], change)
	return nil
}

func faster(a, b measure.Samples) measure.Samples {
	if b.Median() < a.Median() {
		return b
	}
	return a
}

// inFlight is as subject, with a request of every session at the same time.
func (s *scene) inFlight(op operation) (measure.Subject, func() error) {
	runs := make([]func(int), len(s.cookies))
	checks := make([]func() error, len(s.cookies))
	for i := range s.cookies {
		one := *s
		one.cookies, one.users = s.cookies[i:i+1], s.users[i:i+1]
		var subject measure.Subject
		subject, checks[i] = one.subject(op)
		runs[i] = subject.Run
	}
	run := atOnce(len(runs), func(worker int) error {
		runs[worker](1)
		return nil
	})
	return measure.Subject{Name: s.library.Name, Run: run}, func() error {
		var errs []error
		for _, check := range checks {
			errs = append(errs, check())
		}
		return errors.Join(errs...)
	}
}

// atOnce returns a Run that spreads its operations over some workers.
func atOnce(workers int, op func(worker int) error) func(n int) {
	return func(n int) {
		var left atomic.Int64
		left.Store(int64(n))
		var all sync.WaitGroup
		for worker := range workers {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					if err := op(worker); err != nil {
						panic(err)
					}
				}
			})
		}
		all.Wait()
	}
}

// bareSwap is the least that a compare-and-swap is on Redis: a look at the version, and the write.
const bareSwap = `if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', 86400000)
return 1`

// redisFloors are a bare GET of as many bytes as a session has there, and a GET with a bare compare-and-swap.
func redisFloors(client rueidis.Client, prefix string) (get, change measure.Subject, err error) {
	ctx := context.Background()
	var keys [inFlight]string
	var versions [inFlight]int
	value := func(worker int) string { return fmt.Sprintf("%08d%0201d", versions[worker], worker) }
	for i := range keys {
		keys[i] = prefix + strconv.Itoa(i)
		if err := client.Do(ctx, client.B().Set().Key(keys[i]).Value(value(i)).Build()).Error(); err != nil {
			return get, change, err
		}
	}
	sha, err := client.Do(ctx, client.B().ScriptLoad().Script(bareSwap).Build()).ToString()
	if err != nil {
		return get, change, err
	}
	read := func(worker int) error {
		text, err := client.Do(ctx, client.B().Get().Key(keys[worker]).Build()).ToString()
		if err == nil && len(text) != 209 {
			err = errors.New("got another value than the one stored")
		}
		return err
	}
	get = measure.Subject{Name: "GET", Run: atOnce(inFlight, read)}
	change = measure.Subject{Name: "GET and a script", Run: atOnce(inFlight, func(worker int) error {
		if err := read(worker); err != nil {
			return err
		}
		old := fmt.Sprintf("%08d", versions[worker])
		versions[worker] = (versions[worker] + 1) % 1e8
		n, err := client.Do(ctx, client.B().Evalsha().Sha1(sha).Numkeys(1).Key(keys[worker]).Arg(old, value(worker)).Build()).AsInt64()
		if err == nil && n != 1 {
			err = errors.New("the version was another one")
		}
		return err
	})}
	return get, change, nil
}

// testbed is what servertest needs of a test.
type testbed struct{ cleanups []func() }

func (t *testbed) Helper() {}

func (t *testbed) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *testbed) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *testbed) close() {
	for i := range t.cleanups {
		t.cleanups[len(t.cleanups)-1-i]()
	}
}
