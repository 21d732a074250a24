package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/redisstore"
)

// scaleRedis fills up a Redis server, and measures at each size what requests take, with 64 of them in flight, and what
// it takes to list a user's sessions.
func (b *bench) scaleRedis() error {
	var tb testbed
	defer tb.close()
	server, ctx := servertest.Redis(&tb), context.Background()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, DisableCache: true})
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := redisstore.Open(ctx, urlOf(server), nil)
	if err != nil {
		return err
	}
	defer s.Close()
	empty, err := memoryOf(client)
	if err != nil {
		return err
	}
	t := table{head: []string{"sessions in Redis", "create", "load", "change", "list a user", "bytes per session"}}
	lines := []series{{name: "create"}, {name: "load"}, {name: "change"}, {name: "list a user's three"}}
	have := 0
	for _, n := range b.sizes(1_000_000) {
		values, err := redisAt(ctx, s, have, n)
		if err != nil {
			return err
		}
		have = n
		used, err := memoryOf(client)
		if err != nil {
			return err
		}
		line := []string{thousands(n)}
		for i, v := range values {
			lines[i].add(n, v)
			line = append(line, nanoseconds(v))
		}
		t.add(append(line, fmt.Sprintf("%.0f", (used-empty)/float64(n)))...)
	}
	if err := b.draw("redis.svg", chart{
		title: "Redis as it grows, 64 requests in flight", x: "sessions in Redis", y: "time of one operation",
		format: nanoseconds, series: lines,
	}); err != nil {
		return err
	}
	return b.publish("scale-redis", "Sessions in Redis", t)
}

// redisAt adds sessions until there are n, each user with three, and returns the nanoseconds of a create, a load, a
// change and a list.
func redisAt(ctx context.Context, s *redisstore.Store, have, n int) (values []float64, err error) {
	owner := func(i int) string { return fmt.Sprintf("user-%d", i/3) }
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	any, users := rnd.Perm(n), rnd.Perm(n/3) // no two requests at once change the same session
	calls := min(n, 20_000)
	for _, op := range []struct {
		calls int
		do    func(i int) error
	}{
		{n - have, func(i int) error { return s.Create(ctx, record(have+i, dataSize, owner(have+i))) }},
		{calls, func(i int) error {
			got, err := s.Load(ctx, recordKey(any[i]))
			if err == nil && len(got.Data) != dataSize {
				err = errLost
			}
			return err
		}},
		{calls, func(i int) error { return s.Replace(ctx, record(any[i], dataSize, owner(any[i])), 1) }},
		{calls / 10, func(i int) error {
			found := 0
			for _, err := range s.Principal(ctx, fmt.Sprintf("user-%d", users[i])) {
				if err != nil {
					return err
				}
				found++
			}
			if found != 3 {
				return errLost
			}
			return nil
		}},
	} {
		took, err := timed(1, func(int) error { return spread(op.calls, op.do) })
		if err != nil {
			return nil, err
		}
		values = append(values, took/float64(op.calls))
	}
	return values, nil
}

// spread makes n calls, inFlight of them at a time.
func spread(n int, op func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, inFlight)
	var all sync.WaitGroup
	for worker := range inFlight {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[worker] == nil; i = int(next.Add(1)) - 1 {
				errs[worker] = op(i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

var usedMemory = regexp.MustCompile(`used_memory:(\d+)`)

// memoryOf returns the bytes that the server uses.
func memoryOf(client rueidis.Client) (float64, error) {
	info, err := client.Do(context.Background(), client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return 0, err
	}
	found := usedMemory.FindStringSubmatch(info)
	if found == nil {
		return 0, errors.New("the server doesn't say what memory it uses")
	}
	return strconv.ParseFloat(found[1], 64)
}
