package outage_test

import (
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
)

// services are the stores with their servers.
var services = map[string]func(t *testing.T) *service{
	"memory": func(t *testing.T) *service {
		return newFake().service(func(f *fake) store.Store { return f })
	},
	"redis": func(t *testing.T) *service { return redisAlone(t) },
	"redis, AOF": func(t *testing.T) *service {
		return redisAlone(t, "--appendonly", "yes", "--appendfsync", "always")
	},
	"redis sentinel": redisSentinel,
	"redis cluster":  redisCluster,
	"sqlite":         sqlite,
	"mariadb":        func(t *testing.T) *service { return mariadb(t) },
	"postgres":       func(t *testing.T) *service { return postgres(t) },
	"memcached": func(t *testing.T) *service {
		s := alone(t, servertest.Memcached(t), func(addr string) (store.Store, error) {
			return memcachedstore.Open(t.Context(), "memcached://"+addr, nil)
		})
		s.forgets, s.options.NoIndex = true, true
		return s
	},
}

// alone is a service of one server, with a proxy before each of the application's.
func alone(t *testing.T, server *servertest.Server, open func(addr string) (store.Store, error)) *service {
	s := &service{kill: server.Kill, start: server.Start, pause: server.Pause, resume: server.Resume}
	for range 2 {
		s.proxies = append(s.proxies, servertest.NewProxy(t, server.Addr))
	}
	opened := 0
	s.open = func() (store.Store, func()) {
		t.Helper()
		opened++
		return opening(t, func() (store.Store, error) { return open(s.proxies[opened%2].Addr) })
	}
	return s
}

// opening opens a store for the time of a trial.
func opening(t *testing.T, open func() (store.Store, error)) (store.Store, func()) {
	t.Helper()
	st, err := open()
	if err != nil {
		t.Fatal(err)
	}
	return st, func() {
		if err := st.(interface{ Close() error }).Close(); err != nil {
			t.Error(err)
		}
	}
}
