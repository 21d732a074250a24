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

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/verify/benchmarks/measure"
	"github.com/hipflask/session/verify/benchmarks/peers"
)

// inFlight is how many requests a server has at a time.
const inFlight = 64

func urlOf(redis *servertest.Server) string { return "redis://" + redis.Addr }

// bareClients are what the bare commands are sent by: the client library with the settings that it has by itself, which
// is what the targets are held against; and with settings that make it collect commands, as Open of package redisstore
// has them, for longer or shorter: what suits requests, which work between two commands, makes commands wait that have
// nothing between them.
var bareClients = []struct {
	name   string
	option rueidis.ClientOption
}{
	{"by the client as it comes", rueidis.ClientOption{}},
	{"collected for 10 µs", collecting(10 * time.Microsecond)},
	{"collected for 25 µs", collecting(25 * time.Microsecond)},
	{"collected for 100 µs", collecting(100 * time.Microsecond)},
}

func collecting(delay time.Duration) rueidis.ClientOption {
	return rueidis.ClientOption{
		DisableCache: true, DisableRetry: true, AlwaysPipelining: true, PipelineMultiplex: -1, MaxFlushDelay: delay,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
	}
}

// redis holds whole requests with sessions in Redis against the bare commands that they can't do without.
func (b *bench) redis() error {
	var tb testbed
	defer tb.close()
	server := servertest.Redis(&tb)
	s, err := newScene(peers.HipflaskRedis(urlOf(server)), b.dir, inFlight)
	if err != nil {
		return err
	}
	defer s.app.Close()
	var subjects []measure.Subject
	for _, c := range bareClients {
		c.option.InitAddress = []string{server.Addr}
		bare, err := rueidis.NewClient(c.option)
		if err != nil {
			return err
		}
		defer bare.Close()
		get, change, err := redisFloors(bare, c.name+":")
		if err != nil {
			return err
		}
		subjects = append(subjects, get, change)
	}
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
	floors := 2 * len(bareClients)
	b.row(target{"Redis, read, 64 in flight", samples[0].Name, 1.5, 1.2, 0}, samples[floors], samples[0])
	b.row(target{"Redis, change, 64 in flight", samples[1].Name, 1.5, 1.2, 0}, samples[floors+1], samples[1])
	if err := b.cachedReads(server); err != nil {
		return err
	}
	t := table{head: []string{"bare commands", samples[0].Name, "a request that reads takes", samples[1].Name,
		"a request that changes takes"}}
	for i, c := range bareClients {
		get, change := samples[2*i], samples[2*i+1]
		t.add(c.name, duration(get.Median()), times(samples[floors].Over(get)), duration(change.Median()),
			times(samples[floors+1].Over(change)))
	}
	return b.publish("redis", "Redis, 64 requests in flight", t)
}

func times(r measure.Ratio) string { return fmt.Sprintf("%.2f times that", r.Median) }

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
		n, err := client.Do(ctx, client.B().Evalsha().Sha1(sha).Numkeys(1).Key(keys[worker]).Arg(old,
			value(worker)).Build()).AsInt64()
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
