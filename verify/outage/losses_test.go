package outage_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/verify/outage"
)

var allLosses = flag.Bool("outage.losses", false, "TestLosses: also with PostgreSQL, MariaDB and Sentinel")

// loss is a setting that lets a server lose what it has answered, and the outage that shows it.
type loss struct {
	dear    bool // takes long
	start   func(t *testing.T) *service
	happens func(x *trial)
	seen    func(c outage.Counts) bool // what is lost each time; nil: nothing is
}

// many is so many changes that a second goes by.
const many = 60

func killed(x *trial) {
	x.site.Used(x.t.Context(), many)
	x.kill()
	x.fails()
	x.start()
}

func gone(c outage.Counts) bool { return c.Gone > 0 }
func lost(c outage.Counts) bool { return c.Lost > 0 || c.Gone > 0 || c.Revived > 0 }

var losses = map[string]loss{
	"Redis without persistence, killed": {
		start: func(t *testing.T) *service { return redisAlone(t) }, happens: killed, seen: gone,
	},
	"Redis with snapshots, killed": {
		start: func(t *testing.T) *service { return redisAlone(t, "--save", "1 1") }, happens: killed, seen: lost,
	},
	"Redis with appendonly and appendfsync everysec, killed": {
		start: func(t *testing.T) *service { return redisAlone(t, "--appendonly", "yes") }, happens: killed,
	},
	"PostgreSQL with an UNLOGGED table, killed": {
		dear: true, happens: killed, seen: gone,
		start: func(t *testing.T) *service {
			server := servertest.Postgres(t)
			return alone(t, server, func(addr string) (store.Store, error) {
				s, err := pgstore.Open(t.Context(), strings.Replace(server.URL, server.Addr, addr, 1),
					&pgstore.Options{Unlogged: true})
				return migrated(t.Context(), s, err)
			})
		},
	},
	"PostgreSQL with synchronous_commit=off, killed": {
		dear: true, happens: killed, seen: lost,
		start: func(t *testing.T) *service {
			return postgres(t, "synchronous_commit=off", "wal_writer_delay=10s", "wal_writer_flush_after=0")
		},
	},
	"MariaDB with innodb_flush_log_at_trx_commit=0, killed": {
		dear: true, happens: killed, seen: lost,
		start: func(t *testing.T) *service { return mariadb(t, "--innodb-flush-log-at-trx-commit=0") },
	},
	"MariaDB with innodb_flush_log_at_trx_commit=2, killed": {
		dear: true, happens: killed,
		start: func(t *testing.T) *service { return mariadb(t, "--innodb-flush-log-at-trx-commit=2") },
	},
	"Sentinel without Replicas, failed over to replicas that were behind": {
		dear: true, seen: lost, start: looseSentinel,
		happens: func(x *trial) {
			x.leaveBehind(x.sentinels, func() { x.site.Used(x.t.Context(), many) })
		},
	},
	"Sentinel without persistence, the master killed and started at once": {
		dear: true, seen: gone, start: looseSentinel,
		happens: func(x *trial) {
			master, _ := x.roles(x.sentinels)
			master.Kill()
			master.Start()
		},
	},
}

// looseSentinel is Sentinel with a store that waits for no replica.
func looseSentinel(t *testing.T) *service { return sentinel(t, nil) }

// TestLosses shows what documentation says about settings without a promise: what they lose, and that clients are told
// about outages all the same.
func TestLosses(t *testing.T) {
	for name, l := range losses {
		if l.dear && !*allLosses {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counts, findings := l.start(t).try(t, kind{name: name, happens: l.happens, forgets: true})
			t.Log(counts)
			for _, f := range findings {
				t.Error(f)
			}
			switch {
			case l.seen == nil && lost(counts):
				t.Error("something was lost")
			case l.seen != nil && !l.seen(counts):
				t.Error("nothing was lost")
			}
		})
	}
}
