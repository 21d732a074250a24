package storeurl_test

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
	"github.com/hipflask/session/store/redisstore"
	"github.com/hipflask/session/storeurl"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// Servers are started when a test needs them, each once.
var (
	redis     = sync.OnceValue(func() *servertest.Server { return servertest.Redis(servertest.Shared) })
	postgres  = sync.OnceValue(func() *servertest.Server { return servertest.Postgres(servertest.Shared) })
	mariadb   = sync.OnceValue(func() *servertest.Server { return servertest.MariaDB(servertest.Shared) })
	memcached = sync.OnceValue(func() *servertest.Server { return servertest.Memcached(servertest.Shared) })
)

func open(t *testing.T, url string) storeurl.Store {
	t.Helper()
	s, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// urls returns a URL of each kind, the servers' included. In each NAME is one for the test's own data.
func urls(t *testing.T) map[string]string {
	dir := t.TempDir()
	return map[string]string{
		"memory":   "memory:",
		"file":     "file:" + filepath.Join(dir, "NAME"),
		"sqlite":   "sqlite:" + filepath.Join(dir, "NAME.db"),
		"redis":    redis().URL + "?prefix=NAME:",
		"valkey":   "valkey" + strings.TrimPrefix(redis().URL, "redis") + "?prefix=NAME:",
		"postgres": postgres().URL + "?table=NAME",
		"postgresql": "postgresql" + strings.TrimPrefix(postgres().URL, "postgres") +
			"?sslmode=disable&table=NAME&unlogged=true",
		"mysql":     mariadb().URL + "?table=NAME",
		"mariadb":   "mariadb" + strings.TrimPrefix(mariadb().URL, "mysql") + "?timeout=3s&table=NAME",
		"memcached": memcached().URL + "?prefix=NAME:&max_conns=4",
	}
}

// Each kind of URL opens a store that works, twice over the same data, with the powers that the real store has.
func TestOpen(t *testing.T) {
	t.Parallel()
	for name, url := range urls(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, other := strings.ReplaceAll(url, "NAME", "one"+name), strings.ReplaceAll(url, "NAME", "two"+name)
			if name == "memory" {
				url, other = "memory:", "memory:?max_sessions=10&max_bytes=100000"
			}
			s := open(t, url)
			now := time.Now()
			rec := store.Record{
				Key: "key", Version: 1, Principal: "ann", CreatedAt: now, LastSeenAt: now,
				ExpiresAt: now.Add(time.Hour), Data: []byte("{}"),
			}
			if err := s.Create(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			if name != "memory" {
				if _, err := open(t, url).Load(t.Context(), "key"); err != nil {
					t.Errorf("opened again: %v", err)
				}
			}
			if _, err := open(t, other).Load(t.Context(), "key"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("with another name or prefix: got %v, want ErrNotFound", err)
			}
			_, lists := store.As[store.Lister](s)
			if want := name != "memcached"; lists != want {
				t.Errorf("is a Lister: got %t, want %t", lists, want)
			}
			_, sweeps := store.As[store.Sweeper](s)
			if want := !strings.Contains("redis valkey memcached", name); sweeps != want {
				t.Errorf("is a Sweeper: got %t, want %t", sweeps, want)
			}
			if _, evicts := store.As[store.Evicter](s); evicts != (name == "memory") {
				t.Errorf("is an Evicter: got %t", evicts)
			}
			useWithManager(t, s, lists)
		})
	}
}

// useWithManager checks that a Manager finds the index.
func useWithManager(t *testing.T, s store.Store, lists bool) {
	t.Helper()
	m, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: s, SweepInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	n := 0
	for _, err := range m.Sessions(t.Context(), "ann") {
		if !lists && errors.Is(err, errors.ErrUnsupported) {
			return
		}
		if err != nil {
			t.Errorf("Sessions: %v", err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("the Manager lists %d sessions, want 1", n)
	}
}

func TestOpenSentinel(t *testing.T) {
	t.Parallel()
	sentinels := servertest.RedisSentinel(t)
	s := open(t, "redis+sentinel://"+strings.Join(sentinels.Addrs(), ",")+"/"+sentinels.Master+"?replicas=1")
	if _, err := s.Load(t.Context(), "key"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load: %v", err)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	if _, ok := store.As[*redisstore.Store](open(t, redis().URL)); !ok {
		t.Error("redis: is no *redisstore.Store")
	}
	if _, ok := store.As[*memcachedstore.Store](open(t, memcached().URL)); !ok {
		t.Error("memcached: is no *memcachedstore.Store")
	}
}

// Paths are taken as they are.
func TestPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, url := range []string{
		"file:" + dir + "/a b%20c#d", "file://" + dir + "/e?sync=true", "file:" + dir + "/f?sync=0",
		"sqlite:" + dir + "/a b%20c#d.db", "sqlite://" + dir + "/e.db?sync=1&table=shop_sessions",
		"sqlite:" + dir + "/f.db?&table=x&",
	} {
		open(t, url)
		scheme, rest, _ := strings.Cut(url, ":")
		path, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "?")
		if found, err := filepath.Glob(strings.ReplaceAll(path, "#", "[#]")); err != nil || len(found) != 1 {
			t.Errorf("%s: nothing is at %s", scheme, path)
		}
	}
}

const secret = "hunter2"

// What is wrong in a URL is said, and nothing of it quoted.
func TestBadURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"": "begins with no scheme: it is one of file, mariadb, " +
			"memcached, memory, mysql, postgres",
		secret:                                     "begins with no scheme",
		"/var/lib/" + secret:                       "begins with no scheme",
		"floppy:" + secret:                         `the scheme "floppy" is unknown: it is one of`,
		"http://ann:" + secret + "@host/":          `the scheme "http" is unknown`,
		secret + ":x@tcp(host)/db":                 "the scheme is unknown",
		"Redis://" + secret:                        "the scheme is unknown",
		"memory:" + secret:                         "storeurl: memory: nothing but parameters may follow",
		"memory:?max_sessions=" + secret:           "storeurl: memory: the parameter max_sessions is no number",
		"memory:?max_bytes=99999999999999999999":   "max_bytes is no number, or too large",
		"memory:?max_bytes=1&max_bytes=2":          "the parameter max_bytes is there twice",
		"memory:?max_bytes=":                       "the parameter max_bytes is empty",
		"memory:?max_bytes=%4":                     "max_bytes is empty, or has a %",
		"memory:?sync=true":                        "a parameter is unknown: there are max_sessions and max_bytes",
		"file:":                                    "storeurl: file: the path is missing",
		"file:?sync=true":                          "the path is missing",
		"file://" + secret + "/x":                  "a host may not be named",
		"file:/" + secret + "?" + secret:           "a parameter is unknown: there is sync",
		"file:/" + secret + "?sync=" + secret:      "the parameter sync is neither true nor false",
		"sqlite://" + secret:                       "a host may not be named",
		"sqlite:/x?unlogged=true":                  "there are table and sync",
		"sqlite:/no/such/folder/x.db":              "sqlitestore: ",
		"memcached://ann:" + secret + "@host":      "memcachedstore: the URL has a user or a password",
		"memcached://host?timeout=" + secret:       "there are prefix and max_conns",
		"memcached://host?max_conns=-1":            "MaxConns is -1",
		"postgres://host/db?unlogged=" + secret:    "storeurl: postgres: the parameter unlogged is neither",
		"postgres://ann:" + secret + "@host:x/db":  "pgstore: ",
		"mysql://ann:" + secret + "@host:x/db":     "mysqlstore: ",
		"mysql://ann:" + secret + "@host":          "mysqlstore: ",
		"redis://ann:" + secret + "@host:x":        "redisstore: ",
		"redis+sentinel://ann:" + secret + "@host": "redisstore: ",
	} {
		s, err := storeurl.Open(t.Context(), url)
		if err == nil {
			s.Close()
			t.Errorf("%s: got no error", url)
			continue
		}
		if s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want an error with %q", url, s, err, want)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error quotes the URL: %v", url, err)
		}
	}
}

// A server that refuses a password, or isn't there, is an error in time that has no password in it.
func TestRefused(t *testing.T) {
	t.Parallel()
	nobody := "127.0.0.1:" + servertest.FreePort(t)
	for name, address := range map[string]string{
		"redis":          "redis://ann:" + secret + "@" + nobody,
		"redis+sentinel": "redis+sentinel://ann:" + secret + "@" + nobody + "/master",
		"postgres":       "postgres://ann:" + secret + "@" + nobody + "/db",
		"mysql":          "mysql://ann:" + secret + "@" + nobody + "/db",
		"memcached":      "memcached://" + nobody,
		"redis user":     "redis://ann:" + secret + "@" + redis().Addr,
		"postgres user":  "postgres://ann:" + secret + "@" + postgres().Addr + "/db?connect_timeout=5",
		"mysql user":     "mysql://ann:" + secret + "@" + mariadb().Addr + "/db",
		"postgres param": withParam(t, postgres().URL, "no_such_setting", secret),
		"mysql param":    withParam(t, mariadb().URL, "no_such_setting", "'"+secret+"'"),
		"redis param":    withParam(t, redis().URL, "no_such_setting", secret),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			s, err := storeurl.Open(ctx, address)
			if err == nil {
				s.Close()
				t.Fatal("got no error")
			}
			if ctx.Err() != nil {
				t.Errorf("only the context ended it: %v", err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the URL: %v", err)
			}
		})
	}
}

func withParam(t *testing.T, text, name, value string) string {
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func TestUnlogged(t *testing.T) {
	t.Parallel()
	for table, want := range map[string]string{"logged_sessions": "p", "unlogged_sessions&unlogged=true": "u"} {
		open(t, postgres().URL+"?table="+table)
		c, err := pgx.Connect(t.Context(), postgres().URL)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.WithoutCancel(t.Context()))
		name, _, _ := strings.Cut(table, "&")
		var got string
		if err := c.QueryRow(t.Context(), "SELECT relpersistence::text FROM pg_class WHERE relname = $1",
			name).Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", table, got, err, want)
		}
	}
}

// Several processes may open one new database at the same time.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "x.db"), "postgres": postgres().URL + "?table=at_once",
		"mysql": mariadb().URL + "?table=at_once",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					s, err := storeurl.Open(t.Context(), url)
					if err != nil {
						t.Errorf("Open: %v", err)
						return
					}
					s.Close()
				})
			}
			all.Wait()
		})
	}
}
