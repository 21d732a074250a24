package flaskredis_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskredis"
	"github.com/hipflask/session/flask/flasksession/layouttest"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/storetest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// The servers that tests share, each started by the first test that needs it.
var (
	redis   = sync.OnceValue(func() *servertest.Server { return servertest.Redis(servertest.Shared) })
	cluster = sync.OnceValue(func() *servertest.Cluster {
		c := servertest.RedisCluster(servertest.Shared)
		// On a busy machine a master may be silent for long, and no test here is about a failover.
		for _, node := range c.Nodes {
			client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{node.Addr},
				ForceSingleClient: true, DisableCache: true})
			if err == nil {
				err = client.Do(context.Background(),
					client.B().Arbitrary("CONFIG", "SET", "cluster-node-timeout", "60000").Build()).Error()
				client.Close()
			}
			if err != nil {
				panic(err)
			}
		}
		return c
	})
)

func clusterURL() string { return "redis://" + strings.Join(cluster().Addrs(), ",") }

func open(tb testing.TB, url string, opts *flaskredis.Options) *flaskredis.Store {
	tb.Helper()
	s, err := flaskredis.Open(tb.Context(), url, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	layouttest.Run(t, func(tb testing.TB) store.Store {
		return open(tb, redis().URL, nil)
	}, nil, nil, storetest.OwnExpiry())
}

// redisPy is what Flask-Session 0.8 does with redis-py (flask_session/redis/redis.py).
type redisPy struct {
	t      testing.TB
	client rueidis.Client
	prefix string
}

func newRedisPy(tb testing.TB, addrs ...string) redisPy {
	tb.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs, DisableCache: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return redisPy{tb, client, "session:"}
}

func (p redisPy) do(command rueidis.Completed) rueidis.RedisResult {
	return p.client.Do(context.WithoutCancel(p.t.Context()), command)
}

func (p redisPy) set(key string, document []byte, life time.Duration) {
	err := p.do(p.client.B().Set().Key(p.prefix + key).Value(string(document)).Ex(life).Build()).Error()
	if err != nil {
		p.t.Error(err)
	}
}

func (p redisPy) get(key string) ([]byte, time.Duration, bool) {
	document, err := p.do(p.client.B().Get().Key(p.prefix + key).Build()).AsBytes()
	if err != nil {
		return nil, 0, false
	}
	left, err := p.do(p.client.B().Pttl().Key(p.prefix + key).Build()).AsInt64()
	return document, time.Duration(left) * time.Millisecond, err == nil
}

func (p redisPy) delete(key string) {
	if err := p.do(p.client.B().Del().Key(p.prefix + key).Build()).Error(); err != nil {
		p.t.Error(err)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
		p := newRedisPy(tb, redis().Addr)
		return layouttest.Backend{Store: open(tb, redis().URL, nil), Serializer: flask.Msgpack, Set: p.set,
			Get: p.get, Delete: p.delete}
	})
}

// TestSharedTagged is an application that writes Flask's tagged JSON to its store.
func TestSharedTagged(t *testing.T) {
	t.Parallel()
	layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
		p := newRedisPy(tb, redis().Addr)
		p.prefix = "tagged:"
		return layouttest.Backend{
			Store:      open(tb, redis().URL, &flaskredis.Options{KeyPrefix: p.prefix}),
			Serializer: flask.TaggedJSON, Set: p.set, Get: p.get, Delete: p.delete,
		}
	})
}

// TestSharedOnCluster: a session and its mark are in one slot.
func TestSharedOnCluster(t *testing.T) {
	t.Parallel()
	layouttest.Shared(t, func(tb testing.TB) layouttest.Backend {
		p := newRedisPy(tb, cluster().Addrs()...)
		p.prefix = "{shop}:"
		return layouttest.Backend{
			Store:      open(tb, clusterURL(), &flaskredis.Options{KeyPrefix: "{shop}:"}),
			Serializer: flask.JSON, Set: p.set, Get: p.get, Delete: p.delete,
		}
	})
	s := open(t, clusterURL(), nil)
	for range 20 { // without a tag of the prefix's own
		rec := store.Record{Key: newSID(), Version: 1, ExpiresAt: time.Now().Add(time.Hour), Data: []byte("x")}
		if err := s.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		rec.Kind = store.Ended
		if err := s.Replace(t.Context(), rec, 1); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(t.Context(), rec.Key); err != nil || got.Kind != store.Ended {
			t.Errorf("got %v, %v; want the mark of an end", got.Kind, err)
		}
	}
}

func newSID() string {
	f, _ := flask.SID(nil, "")
	_, key := f.New()
	return key
}

func TestNewUsesTheCallersClient(t *testing.T) {
	t.Parallel()
	p := newRedisPy(t, redis().Addr)
	s, err := flaskredis.New(p.client, &flaskredis.Options{NoKeyPrefix: true})
	if err != nil {
		t.Fatal(err)
	}
	key := newSID()
	if err := s.Create(t.Context(), store.Record{Key: key, ExpiresAt: time.Now().Add(time.Hour),
		Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p.prefix = ""
	if got, _, ok := p.get(key); !ok || string(got) != "x" {
		t.Errorf("got %q, %v; want the document under the bare ID", got, ok)
	}
	if _, err := flaskredis.New(nil, nil); err == nil {
		t.Error("a nil client was taken")
	}
}

// TestAll: every session with its data, marks and other applications' keys left out.
func TestAll(t *testing.T) {
	t.Parallel()
	p := newRedisPy(t, redis().Addr)
	p.prefix = "all*:"
	s := open(t, redis().URL, &flaskredis.Options{KeyPrefix: p.prefix})
	want := map[string]bool{}
	for range 700 {
		key := newSID()
		want[key] = true
		p.set(key, []byte("data of "+key), time.Hour)
	}
	for key := range want {
		rec, err := s.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		rec.Kind = store.Ended
		if err := s.Replace(t.Context(), rec, rec.Version); err != nil {
			t.Fatal(err)
		}
		delete(want, key)
		break
	}
	p.prefix = "allx:"
	p.set("other", []byte("x"), time.Hour)
	for rec, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if !want[rec.Key] || string(rec.Data) != "data of "+rec.Key || time.Until(rec.ExpiresAt) < 50*time.Minute {
			t.Errorf("got a session that was not expected, or other data: %v", rec)
		}
		delete(want, rec.Key)
	}
	if len(want) > 0 {
		t.Errorf("%d sessions were not listed", len(want))
	}
}

// TestOddValues: an empty value is none for Flask-Session, another type none for anybody, and none that never
// expires is one that is about to.
func TestOddValues(t *testing.T) {
	t.Parallel()
	p := newRedisPy(t, redis().Addr)
	s := open(t, redis().URL, nil)
	empty, list, forever := newSID(), newSID(), newSID()
	p.set(empty, nil, time.Hour)
	p.do(p.client.B().Lpush().Key("session:" + list).Element("x").Build())
	p.do(p.client.B().Set().Key("session:" + forever).Value("x").Build())
	for _, key := range []string{empty, list} {
		if _, err := s.Load(t.Context(), key); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("got %v, want not found", err)
		}
	}
	if rec, err := s.Load(t.Context(), forever); err != nil || time.Until(rec.ExpiresAt) < 24*365*time.Hour {
		t.Errorf("a session that never expires: got %v, %v", rec.ExpiresAt, err)
	}
}

// TestPermissions: what docs/flask-session.md says is enough, and what it does not say is missed.
func TestPermissions(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	p := newRedisPy(t, server.Addr)
	rules := []string{"~session:*", "~hipflask:{session:*", "+hello", "+ping", "+client|setname", "+eval",
		"+evalsha", "+get", "+set", "+del", "+exists",
		"+pttl", "+pexpire", "+scan"}
	user := func(name string, rules ...string) string {
		err := p.do(p.client.B().Arbitrary("ACL", "SETUSER", name, "reset", "on",
			">secret").Args(rules...).Build()).Error()
		if err != nil {
			t.Fatal(err)
		}
		return "redis://" + name + ":secret@" + server.Addr
	}
	s := open(t, user("enough", rules...), nil)
	key := newSID()
	p.set(key, []byte("x"), time.Hour)
	rec, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	ended := rec
	ended.Kind = store.Ended
	next := store.Record{Key: newSID(), Version: 1, ExpiresAt: time.Now().Add(time.Hour), Data: []byte("y")}
	for range s.All(t.Context()) {
	}
	for what, err := range map[string]error{
		"Create":  s.Create(t.Context(), next),
		"Touch":   s.Touch(t.Context(), key, rec.Version, time.Now(), time.Now().Add(time.Hour)),
		"Replace": s.Replace(t.Context(), next, 1), "an end": s.Replace(t.Context(), ended, rec.Version),
		"Delete": s.Delete(t.Context(), next.Key),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, missing := range []string{"+get", "+del"} {
		var fewer []string
		for _, rule := range rules {
			if rule != missing {
				fewer = append(fewer, rule)
			}
		}
		_, err := flaskredis.Open(t.Context(), user("fewer", fewer...), nil)
		if err == nil || !strings.Contains(err.Error(), "permission") {
			t.Errorf("without %s: got %v, want an error about a permission", missing, err)
		}
	}
}
