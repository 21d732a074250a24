package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// inspectMemcached asks each server for its numbers and settings, in memcached's own protocol.
func inspectMemcached(ctx context.Context, url string) (found []finding) {
	hosts := strings.Split(strings.TrimSuffix(path(url), "/"), ",")
	for _, host := range hosts {
		if !strings.Contains(host, ":") {
			host += ":11211"
		}
		asked := time.Now()
		stats, err := memcachedStats(ctx, host)
		if err != nil {
			return append(found, unread(err)...)
		}
		for _, f := range judgeMemcached(stats, asked) {
			if len(hosts) > 1 {
				f.Text = host + ": " + f.Text
			}
			found = append(found, f)
		}
	}
	return found
}

func memcachedStats(ctx context.Context, host string) (settings, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprint(conn, "stats\r\nstats settings\r\n"); err != nil {
		return nil, err
	}
	stats, lines := settings{}, bufio.NewScanner(conn)
	for ends := 0; ends < 2 && lines.Scan(); {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 3 && words[0] == "STAT":
			stats[words[1]] = words[2]
		default: // END, or an error
			ends++
		}
	}
	return stats, lines.Err()
}

func judgeMemcached(stats settings, asked time.Time) (found []finding) {
	if n := stats.number("time"); n > 0 { // whole seconds
		found = append(found, clock(time.Unix(n, 5e8), asked, asked.Add(time.Second)))
	}
	found = append(found, finding{fine, "version", "memcached " + stats["version"], ""},
		finding{warning, "persistence", "memcached keeps nothing: a restart ends all sessions",
			"Where that matters, use another store."})
	limit, evicted := stats.number("limit_maxbytes"), stats.number("evictions")
	switch {
	case stats["evictions"] == "off" || stats["maxconns"] == "" && limit == 0:
		found = append(found, finding{fine, "eviction", "nothing is evicted", ""})
	case evicted > 0:
		found = append(found, finding{problem, "eviction", fmt.Sprintf("%d items were evicted since "+
			"the start: sessions that ended early", evicted), "Give it more memory (-m), and nothing else to keep."})
	default:
		found = append(found, finding{warning, "eviction", fmt.Sprintf("nothing was evicted yet; when "+
			"%d MB are full, sessions end early", limit>>20), "Watch evictions, and give it memory enough."})
	}
	return found
}
