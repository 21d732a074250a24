package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/redisstore"
)

// inspect looks at the settings of the server behind a store.
func inspect(ctx context.Context, s store.Store, url string) []finding {
	scheme, _, _ := strings.Cut(url, ":")
	switch scheme {
	case "file", "sqlite":
		return inspectFile(path(url))
	case "postgres", "postgresql":
		return inspectSQL(ctx, pgstore.OpenDB, url, postgresSettings)
	case "mysql", "mariadb":
		return inspectSQL(ctx, mysqlstore.OpenDB, "mysql"+strings.TrimPrefix(url, scheme), mysqlSettings)
	case "memcached":
		return inspectMemcached(ctx, url)
	}
	if r, ok := store.As[*redisstore.Store](s); ok {
		return inspectRedis(ctx, r)
	}
	return nil
}

// settings is what a server says of itself: names and values.
type settings map[string]string

func (s settings) number(name string) int64 {
	n, _ := strconv.ParseInt(s[name], 10, 64)
	return n
}

// unread is what is said if the server tells nothing of itself: the trial before has worked all the same.
func unread(err error) []finding {
	_ = err // may hold what is secret
	return []finding{{warning, "server", "it does not tell its settings to this user",
		"Run the check again as a user who may see them."}}
}

// clock judges the difference of two clocks.
func clock(server time.Time, asked, answered time.Time) finding {
	middle := asked.Add(answered.Sub(asked) / 2)
	ahead, blur := server.Sub(middle), answered.Sub(asked)
	text := fmt.Sprintf("the server's clock and this one differ by %v", ahead.Abs().Round(time.Millisecond))
	switch {
	case ahead.Abs() > blur+5*time.Second:
		return finding{problem, "clock", text,
			"Synchronise both (NTP): ages and ends of sessions are wrong by as much."}
	case ahead.Abs() > blur+time.Second:
		return finding{warning, "clock", text, "Synchronise both (NTP)."}
	}
	return finding{fine, "clock", text, ""}
}

// older tells whether a version such as "6.0.16" is below another one.
func older(version string, major, minor int) bool {
	var x, y int
	fmt.Sscanf(version, "%d.%d", &x, &y)
	return x < major || x == major && y < minor
}

// path is the file or folder of a URL.
func path(url string) string {
	_, rest, _ := strings.Cut(url, ":")
	rest, _, _ = strings.Cut(rest, "?")
	return strings.TrimPrefix(rest, "//")
}
