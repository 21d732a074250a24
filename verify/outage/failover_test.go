package outage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// redisSentinel is a master with two replicas under Sentinel. A write counts when both replicas have it: of one alone
// Sentinel could promote the other.
func redisSentinel(t *testing.T) *service {
	s := sentinel(t, &redisstore.Options{Replicas: 2})
	all := s.sentinels
	s.others = []kind{
		{name: "master killed", happens: func(x *trial) {
			master, _ := x.roles(all)
			master.Kill()
			x.fails()
			master.Configure(x.failedOver(all, master)...)
			master.Start()
		}},
		{name: "master paused", happens: func(x *trial) {
			master, _ := x.roles(all)
			master.Pause()
			x.fails()
			follow := x.failedOver(all, master)
			answers := tell(x.t, master, strings.Join(follow, " ")[len("--"):], "CLIENT KILL TYPE normal")
			master.Resume()
			answers()
		}},
		{name: "replicas paused", happens: func(x *trial) {
			_, replicas := x.roles(all)
			for _, r := range replicas {
				r.Pause()
			}
			x.fails()
			for _, r := range replicas {
				r.Resume()
			}
		}},
		{name: "master killed behind paused replicas", happens: func(x *trial) {
			x.leaveBehind(all, x.fails) // though the master does as it is told
		}},
	}
	return s
}

func sentinel(t *testing.T, opts *redisstore.Options) *service {
	all := servertest.RedisSentinel(t)
	return &service{sentinels: all, open: func() (store.Store, func()) {
		t.Helper()
		return opening(t, func() (store.Store, error) {
			return redisstore.Open(t.Context(), "redis+sentinel://"+strings.Join(all.Addrs(), ",")+"/"+all.Master, opts)
		})
	}}
}

// roles returns who is what, after all failovers have ended.
func (x *trial) roles(all *servertest.Sentinels) (master *servertest.Server, replicas []*servertest.Server) {
	x.t.Helper()
	addr := x.agreed(all, "")
	for _, s := range all.Nodes {
		if s.Addr == addr {
			master = s
		} else {
			replicas = append(replicas, s)
		}
	}
	return master, replicas
}

// agreed waits until all sentinels name the same master, and another one than was there before. One of them alone may
// be in the middle of a failover that another one has overtaken.
func (x *trial) agreed(all *servertest.Sentinels, before string) (addr string) {
	x.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		named := map[string]bool{}
		for _, s := range all.Sentinels {
			_, line, _ := strings.Cut(redis(x.t, s, "INFO sentinel"), "status=ok,address=")
			addr, _, _ = strings.Cut(line, ",")
			named[addr] = true
		}
		if len(named) == 1 && addr != "" && addr != before {
			return addr
		}
		if time.Now().After(deadline) {
			x.t.Fatal("the sentinels don't agree on a master")
		}
	}
}

// leaveBehind promotes a replica that has nothing of what happens after a moment.
func (x *trial) leaveBehind(all *servertest.Sentinels, happens func()) {
	x.t.Helper()
	master, replicas := x.roles(all)
	for _, r := range replicas {
		r.Pause()
	}
	// What is in the buffers of their connections reaches them in the end: there must be no room in them.
	redis(x.t, master, "EVAL \"return redis.call('SETRANGE', 'filler', 0, string.rep('x', 30000000))\" 0")
	happens()
	master.Kill()
	for _, r := range replicas {
		r.Resume()
	}
	master.Configure(x.failedOver(all, master)...)
	master.Start()
}

// failedOver waits until another server is the master. It returns the setting with which the old one may be started
// again: else that is a master, with what it had or with nothing, until the sentinels notice.
func (x *trial) failedOver(all *servertest.Sentinels, from *servertest.Server) (follow []string) {
	x.t.Helper()
	return []string{"--replicaof", strings.Replace(x.agreed(all, from.Addr), ":", " ", 1)}
}

// redisCluster is a cluster whose masters have one replica each, which has to have a write before it counts.
func redisCluster(t *testing.T) *service {
	cluster := servertest.RedisCluster(t)
	s := &service{open: func() (store.Store, func()) {
		t.Helper()
		return opening(t, func() (store.Store, error) {
			return redisstore.Open(t.Context(), "redis://"+strings.Join(cluster.Addrs(), ","),
				&redisstore.Options{Replicas: 1})
		})
	}}
	s.others = []kind{
		{name: "a master killed", happens: func(x *trial) {
			master, other := x.masterOf(cluster)
			master.Kill()
			x.failsSomewhere()
			x.takenOver(other, master)
			master.Start()
		}},
		{name: "a master paused", happens: func(x *trial) {
			master, other := x.masterOf(cluster)
			master.Pause()
			x.failsSomewhere()
			x.takenOver(other, master)
			master.Resume()
		}},
	}
	return s
}

// slotless is a line of CLUSTER NODES: ID, address, flags, master, ping, pong, epoch, state, and then slots, if there
// are.
func slotless(line string) bool { return len(strings.Fields(line)) <= 8 }

// masterOf returns a master, and another node.
func (x *trial) masterOf(cluster *servertest.Cluster) (master, other *servertest.Server) {
	x.t.Helper()
	for line := range strings.Lines(redis(x.t, cluster.Nodes[0], "CLUSTER NODES")) {
		if slotless(line) {
			continue
		}
		for _, s := range cluster.Nodes {
			if strings.Contains(line, s.Addr) {
				master = s
			} else {
				other = s
			}
		}
	}
	if master == nil {
		x.t.Fatal("the cluster has no master")
	}
	return master, other
}

// takenOver waits until a node has no slots any more, as another one sees it.
func (x *trial) takenOver(other, from *servertest.Server) {
	x.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		for line := range strings.Lines(redis(x.t, other, "CLUSTER NODES")) {
			if strings.Contains(line, from.Addr) && slotless(line) {
				return
			}
		}
		if time.Now().After(deadline) {
			x.t.Fatal("no replica took over")
		}
	}
}
