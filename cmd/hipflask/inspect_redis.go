package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hipflask/session/store/redisstore"
	"github.com/redis/rueidis"
)

// inspectRedis looks at every master of Redis or Valkey.
func inspectRedis(ctx context.Context, s *redisstore.Store) (found []finding) {
	nodes := s.Client().Nodes()
	for name, node := range nodes {
		info, err := redisInfo(ctx, node)
		if err != nil {
			return append(found, unread(err)...)
		}
		if info["role"] == "slave" {
			if len(nodes) == 1 {
				found = append(found, finding{problem, "server", "this is a replica",
					"Name the master, or the sentinels, in the URL."})
			}
			continue
		}
		asked := time.Now()
		answer, err := node.Do(ctx, node.B().Time().Build()).AsStrSlice()
		if err == nil && len(answer) == 2 {
			seconds, _ := strconv.ParseInt(answer[0], 10, 64)
			micros, _ := strconv.ParseInt(answer[1], 10, 64)
			found = append(found, clock(time.Unix(seconds, micros*1000), asked, time.Now()))
		}
		for _, f := range judgeRedis(info) {
			if len(nodes) > 1 {
				f.Text = name + ": " + f.Text
			}
			found = append(found, f)
		}
	}
	return found
}

func redisInfo(ctx context.Context, node rueidis.Client) (settings, error) {
	text, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return nil, err
	}
	info := settings{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

// judgeRedis judges what INFO says of a master.
func judgeRedis(info settings) (found []finding) {
	if v := info["valkey_version"]; v != "" {
		found = append(found, finding{fine, "version", "Valkey " + v, ""})
	} else if v := info["redis_version"]; older(v, 6, 2) {
		found = append(found, finding{problem, "version", "Redis " + v + " is older than 6.2",
			"Use Redis from 6.2, or Valkey."})
	} else {
		found = append(found, finding{fine, "version", "Redis " + v, ""})
	}

	limit, policy := info.number("maxmemory"), info["maxmemory_policy"]
	switch {
	case limit > 0 && policy != "noeviction":
		found = append(found, finding{problem, "eviction", fmt.Sprintf("maxmemory-policy is %s: when "+
			"memory is short, sessions end, and a session that was logged out may be back", policy),
			"Set maxmemory-policy noeviction, and give sessions a server of their own."})
	case limit == 0:
		found = append(found, finding{warning, "eviction", "maxmemory is not set: Redis grows until the system ends it",
			"Set maxmemory, with maxmemory-policy noeviction."})
	default:
		used := info.number("used_memory") * 100 / limit
		f := finding{fine, "eviction", fmt.Sprintf("nothing is evicted; %d %% of maxmemory are used", used), ""}
		if used > 80 {
			f.Level, f.Advice = warning, "When it is full, changes are refused. Give it more."
		}
		found = append(found, f)
	}

	switch {
	case info["aof_enabled"] == "1":
		found = append(found, finding{fine, "persistence", "changes are written to disk (appendonly)", ""})
	default:
		found = append(found, finding{warning, "persistence",
			"appendonly is off: a crash of the server takes back changes since its last snapshot, logouts too",
			"Set appendonly yes."})
	}
	if n := info.number("connected_slaves"); n > 0 {
		found = append(found, finding{warning, "failover",
			fmt.Sprintf("%d replicas: a failover takes back what they had not got yet, logouts too", n),
			"replicas=1 in the URL makes a write wait for a replica."})
	}
	return found
}
