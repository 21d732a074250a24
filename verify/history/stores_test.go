package history_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memcachedstore"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/redisstore"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/verify/history"
)

// storesBudget is the time for all stores together, which run at once.
const storesBudget = 10 * time.Second

// medium is where the servers of a history keep their sessions, in real time.
type medium struct {
	pace    history.Pace
	noIndex bool
	open    func(t *testing.T) func() (store.Store, error) // opens a store as each server does: all on the same data
}

var media = map[string]medium{
	"files": {pace: history.RealTime, open: func(t *testing.T) func() (store.Store, error) {
		dir := filepath.Join(t.TempDir(), "sessions")
		return func() (store.Store, error) { return filestore.Open(dir, nil) }
	}},
	"memcached": {pace: history.Network, noIndex: true, open: func(t *testing.T) func() (store.Store, error) {
		server := servertest.Memcached(t)
		return func() (store.Store, error) { return memcachedstore.Open(t.Context(), server.URL, nil) }
	}},
	"mariadb": {pace: history.Network, open: func(t *testing.T) func() (store.Store, error) {
		server := servertest.MariaDB(t)
		return func() (store.Store, error) {
			s, err := mysqlstore.Open(t.Context(), server.URL, nil)
			return migrated(t.Context(), s, err)
		}
	}},
	"postgres": {pace: history.Network, open: func(t *testing.T) func() (store.Store, error) {
		server := servertest.Postgres(t)
		return func() (store.Store, error) {
			s, err := pgstore.Open(t.Context(), server.URL, nil)
			return migrated(t.Context(), s, err)
		}
	}},
	"redis": {pace: history.Network, open: func(t *testing.T) func() (store.Store, error) {
		server := servertest.Redis(t)
		return func() (store.Store, error) { return redisstore.Open(t.Context(), server.URL, nil) }
	}},
	"redis with a cache": {pace: cachedPace, open: func(t *testing.T) func() (store.Store, error) {
		server := servertest.Redis(t)
		opts := &redisstore.Options{MaxStale: cachedPace.Stale}
		return func() (store.Store, error) { return redisstore.Open(t.Context(), server.URL, opts) }
	}},
	"redis cluster": {pace: history.Network, open: func(t *testing.T) func() (store.Store, error) {
		cluster := servertest.RedisCluster(t)
		url := "redis://" + strings.Join(cluster.Addrs(), ",")
		return func() (store.Store, error) { return redisstore.Open(t.Context(), url, nil) }
	}},
	"sqlite": {pace: history.Network, open: func(t *testing.T) func() (store.Store, error) {
		file := filepath.Join(t.TempDir(), "sessions.db")
		return func() (store.Store, error) {
			s, err := sqlitestore.Open(t.Context(), "sqlite:"+file, nil)
			return migrated(t.Context(), s, err)
		}
	}},
}

// cachedPace is for stores that read what was there a moment ago.
var cachedPace = func() history.Pace {
	p := history.Network
	p.Stale = 20 * time.Millisecond
	return p
}()

// migrator is an SQL store.
type migrator interface {
	store.Store
	Migrate(context.Context) error
}

// migrated returns an opened store with its table.
func migrated(ctx context.Context, s migrator, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, s.Migrate(ctx)
}

// TestHistoriesOnStores runs random programs over servers in real time, each with a store of its own on the same data.
// -seed replays one history a hundred times, since each has another timing.
func TestHistoriesOnStores(t *testing.T) {
	for name, m := range media {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m.run(t)
		})
	}
}

func (m *medium) run(t *testing.T) {
	var stores []store.Store
	open := m.open(t)
	for range history.MaxManagers {
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := s.(interface{ Close() error }); ok {
			defer c.Close()
		}
		stores = append(stores, s)
	}
	var n totals
	defer n.report(t)
	slots := make(chan bool, 8*runtime.GOMAXPROCS(0)) // histories mostly wait
	var running sync.WaitGroup
	defer running.Wait()
	i := 0
	for seed := range m.seeds {
		if t.Failed() {
			return
		}
		i++
		name := fmt.Sprint("history", i)
		slots <- true
		running.Go(func() {
			defer func() { <-slots }()
			h, v := m.try(t, seed, name, stores)
			n.add(h, v)
		})
	}
}

func (m *medium) seeds(yield func(uint64) bool) {
	if *replay == 0 {
		seeds(storesBudget)(yield)
		return
	}
	for range 100 {
		if !yield(*replay) {
			return
		}
	}
}

func (m *medium) try(t *testing.T, seed uint64, name string, stores []store.Store) (*history.History, history.Verdict) {
	p := history.Generate(seed, m.pace)
	if m.noIndex {
		p = p.WithoutIndex()
	}
	var views []store.Store
	for _, s := range stores[:p.Managers] {
		views = append(views, history.Tenant(s, name))
	}
	h := history.Run(t.Context(), p, history.Servers{Pace: m.pace, Stores: views, Verbose: true})
	v := h.Check()
	if len(v.Problems) > 0 {
		t.Errorf("%v\n%s\n%s\ntry again with: go test ./history -run %s -v -seed %d",
			p, strings.Join(h.Log, "\n"), strings.Join(v.Problems, "\n"), t.Name(), seed)
	}
	return h, v
}
