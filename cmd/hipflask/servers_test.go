package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/storeurl"
)

// command runs a command with a store in the environment, and returns what it says and its exit code.
func command(t *testing.T, url string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &o, errs: &e, env: func(name string) (string, bool) {
		switch name {
		case "SESSION_STORE":
			return url, true
		case "OTHER":
			return os.Getenv("OTHER"), true
		}
		return "", false
	}}
	code = run(t.Context(), args, a)
	return o.String(), e.String(), code
}

// wantLines checks that each text is in the output.
func wantLines(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("got %s\nwant %q in it", out, text)
		}
	}
}

// tried is what check says of every store that works.
var tried = []string{
	"ok       records      created, read, changed and removed",
	"ok       races        of 8 changes at once exactly one is taken",
	"ok       expiry       a record expires when it has to",
	"       latency      a read takes ",
}

// shareLogins checks that two processes of serve share logins and logouts, and that a restart logs nobody out.
func shareLogins(t *testing.T, url string, lists bool) {
	if _, errs, code := command(t, url, "serve", "--addr", "127.0.0.1:0"); code != exitFailed ||
		!strings.Contains(errs, "hipflask keygen") || !strings.Contains(errs, "openssl rand") {
		t.Errorf("serve without a key: got exit code %d and %q, want 1 and how to make one", code, errs)
	}
	env := map[string]string{"SESSION_STORE": url, "SECRET_KEY": "Vt7Rk2XqW9nZb4LcY8MdJ3Hs"}
	b := browser(t) // its cookies go to all ports, as to all servers behind one name
	sees := func(t *testing.T, address, text string) string {
		t.Helper()
		_, body := get(t, b, address)
		if !strings.Contains(body, text) {
			t.Errorf("the page lacks %q: %s", text, body)
		}
		return body
	}
	t.Run("processes", func(t *testing.T) {
		first, _ := start(t, env, "serve", "--addr", "127.0.0.1:0")
		second, _ := start(t, env, "serve", "--addr", "127.0.0.1:0")
		res, err := b.PostForm(first+"login", map[string][]string{"username": {"ann"}})
		must(t, err)
		must(t, res.Body.Close())
		sees(t, second, "Logged in as <strong>ann</strong>")
		page := sees(t, second+"devices", "this device")
		if n := strings.Count(page, `name="handle"`); n != 1 || strings.Contains(page, "be listed here") == lists {
			t.Errorf("the page of devices has %d sessions, want 1: %s", n, page)
		}
	})
	first, _ := start(t, env, "serve", "--addr", "127.0.0.1:0")
	second, _ := start(t, env, "serve", "--addr", "127.0.0.1:0")
	sees(t, first, "Logged in as <strong>ann</strong>")
	res, err := b.PostForm(second+"logout", nil)
	must(t, err)
	must(t, res.Body.Close())
	sees(t, first, "You are not logged in")
}

// wrongKinds meets each kind of server, and a web server, by the URLs of the others: the error says what answers there.
func wrongKinds(t *testing.T, urls map[string]string) {
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	urls["web"] = web.URL
	for kind, at := range urls {
		u, err := url.Parse(at)
		must(t, err)
		for _, scheme := range []string{"redis", "postgres", "mysql", "memcached"} {
			t.Run(kind+" by "+scheme, func(t *testing.T) {
				t.Parallel()
				wrong := scheme + "://user:pa55word@" + u.Host + "/x"
				if scheme == "memcached" || scheme == "redis" {
					wrong = scheme + "://" + u.Host
				}
				says := "a " + kind + " server answers at that address"
				_, errs, code := command(t, wrong, "ls")
				if right := strings.HasPrefix(strings.ToLower(kind), scheme); !right &&
					(code != exitFailed || !strings.Contains(errs, says)) {
					t.Errorf("got exit code %d and %q, want one that says %q", code, errs, says)
				} else if right && strings.Contains(errs, "answers at that address") {
					t.Errorf("the right kind of server is said to be a wrong one: %q", errs)
				}
				if strings.Contains(errs, "pa55word") {
					t.Error("the error shows the password")
				}
			})
		}
	}
}

func TestServers(t *testing.T) {
	listed := append([]string{"ok       lists        a user's sessions are found",
		"ok       sizes        a session of 1 MiB fits", "ok       clock "}, tried...)
	redis := servertest.Redis(t, "--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "noeviction")
	postgres, mariadb, memcached := servertest.Postgres(t), servertest.MariaDB(t), servertest.Memcached(t)
	t.Run("flask", func(t *testing.T) {
		for _, url := range []string{redis.URL, postgres.URL,
			mariadb.URL, "sqlite:" + filepath.Join(t.TempDir(), "flask.db")} {
			mark := "?"
			if strings.Contains(url, "?") {
				mark = "&"
			}
			migrateFlask(t, url, mark)
		}
	})
	t.Run("wrong kind", func(t *testing.T) {
		wrongKinds(t, map[string]string{"Redis": redis.URL, "PostgreSQL": postgres.URL, "MySQL": mariadb.URL,
			"memcached": memcached.URL})
	})
	t.Run("migrate", func(t *testing.T) { migrateAround(t, redis.URL, postgres.URL, mariadb.URL, memcached.URL) })
	for _, c := range []struct {
		name, url string
		says      []string
	}{
		{"redis", redis.URL, append(listed, "ok       version      Redis ", "ok       eviction     nothing is evicted;",
			"ok       persistence  changes are written to disk")},
		// for speed
		{"postgres", postgres.URL, append(listed, "ok       version      PostgreSQL ",
			"problem  durability   fsync is off")},
		{"mariadb", mariadb.URL, append(listed, "ok       version      MariaDB ")},
		{"memcached", memcached.URL, append(tried, "ok       version      memcached ", "warning  lists "+
			"       this store can't list", "warning  persistence  memcached keeps nothing", "ok       clock ")},
		{"sqlite", "sqlite:" + filepath.Join(t.TempDir(), "sessions.db"), append(tried, "room ")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(c.url, "sqlite:") {
				s, err := storeurl.Open(t.Context(), c.url)
				must(t, err)
				must(t, s.Close())
			}
			out, errs, code := command(t, c.url, "check")
			if want := exitProblems * count(c.name == "postgres"); code != want {
				t.Errorf("got exit code %d, want %d: %s", code, want, errs)
			}
			wantLines(t, out, c.says...)
			if password, _, ok := strings.Cut(strings.TrimPrefix(c.url, c.name+"://"), "@"); ok &&
				strings.Contains(out+errs, password) {
				t.Error("the output shows the URL's password")
			}
			if out, errs, code := command(t, c.url, "ls"); code == exitOK && strings.Contains(out, "hipflask check") {
				t.Errorf("the check left records: %s%s", out, errs)
			}
			shareLogins(t, c.url, c.name != "memcached")
		})
	}
}

// A Redis as it comes, made a cache: that is what check is for.
func TestCheckFindsProblems(t *testing.T) {
	redis := servertest.Redis(t, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
	out, errs, code := command(t, redis.URL, "check")
	if code != exitProblems || errs != "hipflask: 1 problems\n" {
		t.Errorf("got exit code %d and %q, want 5", code, errs)
	}
	wantLines(t, out, "problem  eviction     maxmemory-policy is allkeys-lru", "→ Set maxmemory-policy noeviction",
		"warning  persistence  appendonly is off")
	out, _, _ = command(t, redis.URL, "check", "--json")
	wantLines(t, out, `{"level":"problem","about":"eviction","text":"maxmemory-policy is allkeys-lru`)
	redis.Kill()
	if _, errs, code := command(t, redis.URL, "check"); code != exitFailed ||
		!strings.HasPrefix(errs, "hipflask: redisstore: ") {
		t.Errorf("without a server: got exit code %d and %q, want 1", code, errs)
	}
}

// Sessions go around through all kinds of stores, and come back as they were.
func migrateAround(t *testing.T, redis, postgres, mariadb, memcached string) {
	dir := t.TempDir()
	urls := []string{"file:" + filepath.Join(dir, "one"), redis, postgres, mariadb,
		"sqlite:" + filepath.Join(dir, "sessions.db"), "file:" + filepath.Join(dir, "two")}
	const n = 300
	first, err := storeurl.Open(t.Context(), urls[0])
	must(t, err)
	defer first.Close()
	for i := range n {
		r := record(fmt.Sprint("key-", i), uint64(1+i), fmt.Sprintf(`{"n":%d}`, i))
		r.Label, r.Principal = "Firefox on Windows", fmt.Sprint("user-", i%10)
		must(t, first.Create(t.Context(), r))
	}
	gone := record("ended", 1, "")
	gone.Kind = store.Ended
	must(t, first.Create(t.Context(), gone))
	for i := range len(urls) - 1 {
		t.Setenv("OTHER", urls[i+1])
		out, errs, code := command(t, urls[i], "migrate", urls[i], "env:OTHER", "--journal",
			filepath.Join(dir, fmt.Sprint("journal", i)))
		if code != exitOK || errs != "" {
			t.Fatalf("step %d: got exit code %d: %s", i, code, errs)
		}
		wantLines(t, out, fmt.Sprintf("%8d copied", n+1), fmt.Sprintf("check: %d equal\n", n+1))
	}
	last, err := storeurl.Open(t.Context(), urls[len(urls)-1])
	must(t, err)
	defer last.Close()
	for r, err := range lister(first).All(t.Context()) {
		must(t, err)
		want, err := first.Load(t.Context(), r.Key)
		must(t, err)
		got, err := last.Load(t.Context(), r.Key)
		must(t, err)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatal("a session came back other than it was")
		}
	}

	// memcached can't be listed: it is a place to go to, and none to come from.
	t.Setenv("OTHER", memcached)
	out, errs, code := command(t, urls[0], "migrate", urls[0], "env:OTHER", "--journal",
		filepath.Join(dir, "memcached"))
	if code != exitOK || !strings.Contains(errs, "TO can't list its sessions") {
		t.Errorf("to memcached: got exit code %d: %s", code, errs)
	}
	wantLines(t, out, fmt.Sprintf("check: %d equal\n", n+1))
	if _, errs, code := command(t, memcached, "migrate", memcached, urls[0]); code != exitFailed ||
		!strings.Contains(errs, "can't list its sessions") {
		t.Errorf("from memcached: got exit code %d: %s", code, errs)
	}
}

func TestJudgeRedis(t *testing.T) {
	t.Parallel()
	for want, info := range map[string]settings{
		"problem version Redis 6.0.16 is older": {"redis_version": "6.0.16"},
		"ok version Redis 6.2.0":                {"redis_version": "6.2.0"},
		"ok version Valkey 8.1.0":               {"redis_version": "7.2.4", "valkey_version": "8.1.0"},
		"warning eviction maxmemory is not set": {"maxmemory": "0", "maxmemory_policy": "noeviction"},
		"warning eviction nothing is evicted; 90 %": {"maxmemory": "100", "used_memory": "90",
			"maxmemory_policy": "noeviction"},
		"problem eviction maxmemory-policy is volat": {"maxmemory": "100", "maxmemory_policy": "volatile-lru"},
		"warning failover 2 replicas":                {"connected_slaves": "2"},
	} {
		var all []string
		for _, f := range judgeRedis(info) {
			all = append(all, fmt.Sprintf("%s %s %s", f.Level, f.About, f.Text))
		}
		if got := strings.Join(all, "\n"); !strings.Contains(got, want) {
			t.Errorf("got %s, want %q", got, want)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for ahead, want := range map[time.Duration]level{
		0: fine, 500 * time.Millisecond: fine, -500 * time.Millisecond: fine, 3 * time.Second: warning,
		-3 * time.Second: warning,
		time.Minute:      problem, -time.Hour: problem,
	} {
		if got := clock(now.Add(ahead), now, now); got.Level != want {
			t.Errorf("%v: got %s, want %s", ahead, got.Level, want)
		}
	}
	if got := clock(now.Add(time.Minute), now, now.Add(2*time.Minute)); got.Level != fine {
		t.Errorf("an answer that took two minutes: got %s, want ok: nothing can be said", got.Level)
	}
}

// unlisted is a store that can't list.
type unlisted struct{ store.Store }

func TestTrialFindsBrokenStores(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for name, c := range map[string]struct {
		store store.Store
		step  func(*trial) []finding
		want  string
	}{
		"creates over": {creates{p.to}, func(r *trial) []finding {
			return r.records(t.Context())
		}, "a taken key is overwritten"},
		"replaces anything": {replaces{p.to}, func(r *trial) []finding {
			return r.records(t.Context())
		}, "a change on an old version is not refused"},
		"loses races": {replaces{p.to}, func(r *trial) []finding {
			return r.race(t.Context())
		}, "of 8 changes at once 8 were taken"},
		"lives too long": {longLived{p.to, time.Hour}, func(r *trial) []finding {
			return r.expiry(t.Context())
		}, "is still there"},
		"dies too early": {longLived{p.to, -1490 * time.Millisecond}, func(r *trial) []finding {
			return r.expiry(t.Context())
		}, "too early"},
		"can't list": {unlisted{p.to}, func(r *trial) []finding {
			return r.list(t.Context())
		}, "can't list sessions"},
		"takes little": {small{p.to, 100_000}, func(r *trial) []finding {
			return r.sizes(t.Context())
		}, "and one of 1 MiB, which"},
		"takes nothing": {small{p.to, 100}, func(r *trial) []finding {
			return r.sizes(t.Context())
		}, "of 64 KiB does not fit"},
		"refuses": {small{p.to, 0}, func(r *trial) []finding { return r.records(t.Context()) }, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := c.step(newTrial(c.store))
			if len(found) != 1 || found[0].Level == fine || !strings.Contains(found[0].Text, c.want) {
				t.Errorf("got %+v, want %q", found, c.want)
			}
		})
	}
}

// Sessions of Flask-Session go to a store of our own and back, and know whose they are.
func migrateFlask(t *testing.T, url string, mark string) {
	dir := t.TempDir()
	from, native := flaskSession+url+mark+"key_prefix=shop:", "sqlite:"+filepath.Join(dir, "native.db")
	data := flaskSessions(t, url+mark+"key_prefix=shop:", 50)
	migrate := func(from, to, copied string) {
		t.Helper()
		out, errs, code := command(t, "", "migrate", from, to, "--journal", filepath.Join(t.TempDir(), "journal"))
		if code != exitOK || strings.Contains(errs, "hipflask: FROM") {
			t.Fatalf("got exit code %d: %s%s", code, out, errs)
		}
		wantLines(t, out, copied, "check: 50 equal\n")
	}
	migrate(from, native, "      50 copied")
	if out, _, _ := command(t, native, "ls", "--principal", "ann", "--json"); strings.Count(out,
		`"principal":"ann"`) != 50 {
		t.Errorf("got %s, want 50 sessions of ann", out)
	}
	if got := held(t, native); !bytes.Equal(got, data) {
		t.Errorf("got %q, want the session's values as they were", got)
	}
	if strings.HasPrefix(url, "redis") {
		migrate(from, url+"?prefix=converted:", "      50 copied") // within one server
	}
	back := url + mark + "key_prefix=back:"
	migrate(native, flaskSession+back, "      50 copied")
	if got := held(t, flaskSession+back); !bytes.Equal(got, data) {
		t.Errorf("back again: got %q, want the session's values as they were", got)
	}
	for _, args := range [][]string{{"ls"}, {"migrate", flaskSession + "file:" + dir, native},
		{"migrate", flaskSession + "floppy:" + dir, native}} {
		if _, errs, code := command(t, from, args...); code != exitUsage {
			t.Errorf("%q: got exit code %d and %s, want 2", args, code, errs)
		}
	}
}

func sid(i int) string { return fmt.Sprintf("sid-of-flask-session-%020d", i) }

// flaskSessions stores sessions as Flask-Session does, and returns what is in them.
func flaskSessions(t *testing.T, url string, n int) []byte {
	t.Helper()
	s, err := openFlaskSession(t.Context(), url)
	must(t, err)
	defer s.Close()
	if table, ok := store.As[interface{ Migrate(context.Context) error }](s); ok {
		must(t, table.Migrate(t.Context()))
	}
	document, err := flask.Msgpack.Split([]byte(`{"_user_id":"ann","cart":["tea"],"n":7}`))
	must(t, err)
	slices.SortFunc(document, func(a, b session.Member) int { return strings.Compare(a.Name, b.Name) })
	data, err := flask.Msgpack.Join(document)
	must(t, err)
	for i := range n {
		must(t, s.Create(t.Context(), store.Record{Key: sid(i), Version: uint64(i + 1),
			Data: data, ExpiresAt: time.Now().Add(time.Hour)}))
	}
	return data
}

// held returns what is in one of those sessions.
func held(t *testing.T, url string) []byte {
	t.Helper()
	p, err := (&app{}).openAt(t.Context(), url, true)
	must(t, err)
	defer p.close()
	r, err := p.Load(t.Context(), sid(7))
	must(t, err)
	return r.Data
}

// lister returns the index of a store that has one.
func lister(s store.Store) store.Lister {
	l, _ := store.As[store.Lister](s)
	return l
}
