package redisstore_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
	"github.com/hipflask/session/store/storetest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// The servers that tests share, each started by the first test that needs it.
var (
	redis   = sync.OnceValue(func() *servertest.Server { return servertest.Redis(servertest.Shared) })
	cluster = sync.OnceValue(func() *servertest.Cluster {
		c := servertest.RedisCluster(servertest.Shared)
		tell(c.Nodes, "CONFIG", "SET", "cluster-node-timeout", patience)
		return c
	})
	sentinels = sync.OnceValue(func() *servertest.Sentinels {
		s := servertest.RedisSentinel(servertest.Shared)
		tell(s.Sentinels, "SENTINEL", "SET", s.Master, "down-after-milliseconds", patience)
		return s
	})
)

// patience is how many milliseconds a shared master may be silent: on a busy machine that can be long, and a failover
// would be in the way of tests that are about something else.
const patience = "60000"

func tell(servers []*servertest.Server, words ...string) {
	for _, server := range servers {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr},
			ForceSingleClient: true, DisableCache: true})
		if err == nil {
			err = client.Do(context.Background(), client.B().Arbitrary(words...).Build()).Error()
			client.Close()
		}
		if err != nil {
			panic(err)
		}
	}
}

func clusterURL() string { return "redis://" + strings.Join(cluster().Addrs(), ",") }

func sentinelURL() string {
	return "redis+sentinel://" + strings.Join(sentinels().Addrs(), ",") + "/" + sentinels().Master
}

// opener returns a function that opens the store at a URL, as storetest wants it.
func opener(url func() string, opts *redisstore.Options) func(testing.TB) store.Store {
	return func(tb testing.TB) store.Store {
		tb.Helper()
		return open(tb, url(), opts)
	}
}

func open(tb testing.TB, url string, opts *redisstore.Options) *redisstore.Store {
	tb.Helper()
	s, err := redisstore.Open(tb.Context(), url, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, opener(func() string { return redis().URL }, nil), storetest.OwnExpiry())
}

// What differs on a cluster and under Sentinel is the way of a command, whoever opened the store: SingleOpen halves the
// time that these take.

func TestConformanceOnCluster(t *testing.T) {
	t.Parallel()
	storetest.Run(t, opener(clusterURL, &redisstore.Options{MaxStale: aMinute}), storetest.OwnExpiry(),
		storetest.SingleOpen())
}

func TestConformanceUnderSentinel(t *testing.T) {
	t.Parallel()
	storetest.Run(t, opener(sentinelURL, &redisstore.Options{Replicas: 2, MaxStale: aMinute}), storetest.OwnExpiry(),
		storetest.SingleOpen())
}

func BenchmarkConformance(b *testing.B) {
	storetest.Bench(b, opener(func() string { return redis().URL }, nil), storetest.OwnExpiry())
}
