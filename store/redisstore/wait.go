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
// WAIT is about the writes of its own connection, which is therefore taken for this alone meanwhile.
func (s *Store) runAndWait(ctx context.Context, sc *script, key string, args []string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
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
