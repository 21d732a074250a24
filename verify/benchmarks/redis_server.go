package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/redisstore"
)

// A layout is a way to keep sessions in Redis. Each call has the number of a session. change reads first.
type layout struct {
	name                 string
	create, read, change func(i int) error
}

// redisServer measures what sessions cost the server: its memory, and the CPU time of a request, as INFO tells them.
// Each layout has a server of its own. They are measured in turn, and the least time counts: what other programs do to
// the processor's caches makes it longer.
func (b *bench) redisServer() error {
	sessions, calls, rounds := 400_000, 20_000, 15
	if b.quick {
		sessions, rounds = sessions/10, 5
	}
	t := table{head: []string{thousands(sessions) + " sessions in Redis", "bytes per session", "create", "change",
		"request, 90 % read", "request, 50 % read", "cores for a million requests/s, 90 % read"}}
	var tb testbed
	defer tb.close()
	measured := make([]*serverCosts, 4)
	for i := range measured {
		c, err := fillServer(&tb, i, sessions)
		if err != nil {
			return err
		}
		defer c.close()
		measured[i] = c
	}
	for range rounds {
		for _, c := range measured {
			if err := c.round(sessions, calls); err != nil {
				return err
			}
		}
	}
	for _, c := range measured {
		t.add(c.name, fmt.Sprintf("%.0f", c.bytes), nanoseconds(c.create), nanoseconds(c.times[3]-c.times[0]),
			nanoseconds(c.times[1]), nanoseconds(c.times[2]), fmt.Sprintf("%.1f", c.times[1]/1000))
	}
	return b.publish("redis-server", "What a Redis server pays", t)
}

// serverCosts are of a layout: bytes and nanoseconds.
type serverCosts struct {
	layout
	client        rueidis.Client
	store         *redisstore.Store
	bytes, create float64
	times         [4]float64 // of requests that never change, and each tenth, each second and each time
}

func (c *serverCosts) close() {
	c.client.Close()
	c.store.Close()
}

// fillServer starts a server and fills it up with sessions of the nth layout.
func fillServer(tb *testbed, n, sessions int) (*serverCosts, error) {
	server, ctx := servertest.Redis(tb), context.Background()
	client, err := redisstore.Dial(ctx, urlOf(server))
	if err != nil {
		return nil, err
	}
	s, err := redisstore.Open(ctx, urlOf(server), nil)
	if err != nil {
		return nil, err
	}
	c := &serverCosts{client: client, store: s, create: math.Inf(1)}
	c.layout = [...]layout{
		hipflaskLayout(s, ""), hipflaskLayout(s, "user-"), flaskLayout(client), springLayout(client),
	}[n]
	for i := range c.times {
		c.times[i] = math.Inf(1)
	}
	empty, err := memoryOf(client)
	if err != nil {
		return nil, err
	}
	const parts = 20
	for part := range parts {
		size := sessions / parts
		took, err := serverTime(client, size, func(i int) error { return c.layout.create(part*size + i) })
		if err != nil {
			return nil, err
		}
		c.create = min(c.create, took)
	}
	full, err := memoryOf(client)
	c.bytes = (full - empty) / float64(sessions)
	return c, err
}

// round measures once more.
func (c *serverCosts) round(sessions, calls int) error {
	for i, changes := range [...]int{calls + 1, 10, 2, 1} {
		any := rand.Perm(sessions) // no two requests at once change the same session
		took, err := serverTime(c.client, calls, func(i int) error {
			if i%changes == changes-1 {
				return c.change(any[i])
			}
			return c.read(any[i])
		})
		if err != nil {
			return err
		}
		c.times[i] = min(c.times[i], took)
	}
	return nil
}

// serverTime returns how many nanoseconds of the server's CPU each of n calls takes, with 64 of them in flight.
func serverTime(client rueidis.Client, n int, op func(i int) error) (float64, error) {
	before, err := cpuOf(client)
	if err != nil {
		return 0, err
	}
	if err := spread(n, op); err != nil {
		return 0, err
	}
	after, err := cpuOf(client)
	return (after - before) * 1e9 / float64(n), err
}

var usedCPU = regexp.MustCompile(`used_cpu_(?:user|sys):([\d.]+)`)

// cpuOf returns the seconds of CPU that the server has used.
func cpuOf(client rueidis.Client) (seconds float64, err error) {
	info, err := client.Do(context.Background(), client.B().Info().Section("cpu").Build()).ToString()
	if err != nil {
		return 0, err
	}
	found := usedCPU.FindAllStringSubmatch(info, -1)
	if len(found) != 2 {
		return 0, errors.New("the server doesn't say what CPU time it has used")
	}
	for _, match := range found {
		part, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			return 0, err
		}
		seconds += part
	}
	return seconds, nil
}

func hipflaskLayout(s *redisstore.Store, user string) layout {
	ctx := context.Background()
	name := "Hipflask, a visitor"
	if user != "" {
		name = "Hipflask, a user with one session"
	}
	return layout{name, func(i int) error {
		rec := record(i, dataSize, "")
		rec.Handle = rec.Key[:16]
		if user != "" {
			rec.Principal = fmt.Sprintf("%s%06d", user, i)
		}
		return s.Create(ctx, rec)
	}, func(i int) error {
		_, err := s.Load(ctx, recordKey(i))
		return err
	}, func(i int) error {
		rec, err := s.Load(ctx, recordKey(i))
		if err != nil {
			return err
		}
		version := rec.Version
		rec.Version++
		return s.Replace(ctx, rec, version)
	}}
}

// flaskLayout is that of Flask-Session 0.8: one value, written by a SET with an expiry, not compared.
func flaskLayout(client rueidis.Client) layout {
	value := string(make([]byte, dataSize))
	set := func(i int) error {
		return send(client, []string{"SET", fmt.Sprintf("session:%043d", i), value, "EX", "86400"})
	}
	get := func(i int) error { return send(client, []string{"GET", fmt.Sprintf("session:%043d", i)}) }
	return layout{"Flask-Session's layout", set, get, func(i int) error { return errors.Join(get(i), set(i)) }}
}

// springLayout is that of Spring Session 3.4 with RedisIndexedSessionRepository, with Java's serialization of times (82
// bytes each). Each request writes the time of the last access, and prolongs three keys.
func springLayout(client rueidis.Client) layout {
	const prefix = "spring:session:"
	long, data := string(make([]byte, 82)), string(make([]byte, dataSize))
	names := func(i int) (session, expires, minute, id string) {
		id = fmt.Sprintf("%08d-0000-0000-0000-%012d", i, i)
		minute = prefix + "expirations:" + strconv.Itoa(1_800_000_000_000+i%1440*60_000)
		return prefix + "sessions:" + id, prefix + "sessions:expires:" + id, minute, id
	}
	prolong := func(i int) [][]string {
		session, expires, minute, _ := names(i)
		return [][]string{{"EXPIRE", minute, "86700"}, {"APPEND", expires, ""}, {"EXPIRE", expires, "86400"},
			{"EXPIRE", session, "86700"}}
	}
	create := func(i int) error {
		session, _, minute, id := names(i)
		return send(client, append([][]string{
			{"HSET", session, "creationTime", long, "lastAccessedTime", long, "maxInactiveInterval", long,
				"sessionAttr:data", data},
			{"SADD", prefix + "index:PRINCIPAL_NAME:" + id, id}, {"SADD", minute, "expires:" + id}}, prolong(i)...)...)
	}
	use := func(i int, fields ...string) error {
		session, _, _, _ := names(i)
		return send(client, append([][]string{{"HGETALL", session},
			append([]string{"HSET", session, "lastAccessedTime", long}, fields...)}, prolong(i)...)...)
	}
	return layout{"Spring Session's layout", create, func(i int) error { return use(i) },
		func(i int) error { return use(i, "sessionAttr:data", data) }}
}

func send(client rueidis.Client, commands ...[]string) error {
	for _, words := range commands {
		command := client.B().Arbitrary(words[0]).Keys(words[1]).Args(words[2:]...).Build()
		if err := client.Do(context.Background(), command).Error(); err != nil {
			return err
		}
	}
	return nil
}
