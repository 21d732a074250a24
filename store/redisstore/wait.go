package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// mostWait is how long a write waits for replicas where its context has no deadline.
const mostWait = 5 * time.Second

// runAndWait runs a script and waits until enough replicas have what it wrote. It waits until its context ends: whoever
// gets an error sooner would look at the master, find the write there, and take it for saved.
//
// It waits in a goroutine of its own: with a server that has stopped to answer, rueidis takes seconds to give a connection
// out, and to take it back, whatever the context says.
func (s *Store) runAndWait(ctx context.Context, sc *script, key string, args []string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	type outcome struct {
		answer
		err error
	}
	done := make(chan outcome, 1)
	s.waiting.RLock()
	go func() {
		defer s.waiting.RUnlock()
		defer cancel()
		a, err := s.runDedicated(ctx, sc, key, args)
		done <- outcome{a, err}
	}()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// runDedicated takes a connection for itself meanwhile: WAIT is about the writes of its own.
func (s *Store) runDedicated(ctx context.Context, sc *script, key string, args []string) (answer, error) {
	client, release := s.client.Dedicate()
	defer release()
	wait := func() rueidis.Completed {
		return client.B().Wait().Numreplicas(int64(s.replicas)).Timeout(2 * mostWait.Milliseconds()).Build() // ctx ends first
	}
	res := client.DoMulti(ctx, sc.evalsha(client.B(), key, args), wait())
	if noScript(res[0]) {
		res = client.DoMulti(ctx, sc.eval(client.B(), key, args), wait())
	}
	a, err := parse(res[0])
	if err != nil {
		return a, err
	}
	have, err := res[1].AsInt64()
	if err == nil && have < int64(s.replicas) {
		err = fmt.Errorf("%d replicas have the write, Replicas is %d", have, s.replicas)
	}
	return a, err
}
