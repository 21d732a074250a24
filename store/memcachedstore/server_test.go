package memcachedstore_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
)

// fill creates records of 10 KiB, far more than fit into a server with -m 8, until one is refused.
func fill(t *testing.T, s store.Store) (made []store.Record, err error) {
	t.Helper()
	for range 3000 {
		rec := newRecord(10 << 10)
		if err := s.Create(t.Context(), rec); err != nil {
			return made, err
		}
		made = append(made, rec)
	}
	return made, nil
}

// A server that is full evicts: sessions are gone, nobody gets another's, and none that is gone can be written.
func TestEviction(t *testing.T) {
	t.Parallel()
	s := open(t, servertest.Memcached(t, "-m", "8").URL, nil)
	made, err := fill(t, s)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	gone := 0
	for _, rec := range made {
		if _, err := s.Load(t.Context(), rec.Key); err == nil {
			present(t, s, rec)
			continue
		}
		gone++
		next := rec
		next.Version = 2
		is(t, "Replace of an evicted record", s.Replace(t.Context(), next, 1), store.ErrNotFound)
		is(t, "Touch of an evicted record", s.Touch(t.Context(), rec.Key, 1, rec.LastSeenAt, rec.ExpiresAt),
			store.ErrNotFound)
		_, err := s.Load(t.Context(), rec.Key)
		is(t, "Load of an evicted record", err, store.ErrNotFound)
	}
	if gone == 0 || gone == len(made) {
		t.Errorf("%d of %d records are gone, want some", gone, len(made))
	}
	present(t, s, made[len(made)-1])
}

// With -M a server that is full refuses, and keeps what it has.
func TestNoEviction(t *testing.T) {
	t.Parallel()
	s := open(t, servertest.Memcached(t, "-m", "8", "-M").URL, nil)
	made, err := fill(t, s)
	fails(t, "Create on a full server", err)
	if err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("Create on a full server: got %v, want an error that says so", err)
	}
	for _, rec := range made {
		present(t, s, rec)
	}
	if len(made) < 100 {
		t.Fatalf("only %d records fit", len(made))
	}
	next := made[0]
	next.Version = 2
	fails(t, "Replace by as much on a full server", s.Replace(t.Context(), next, 1))
	for _, rec := range made[:100] { // a logout has to work
		end := store.Record{Key: rec.Key, Version: 2, Principal: rec.Principal, Kind: store.Ended,
			ExpiresAt: time.Now().Add(time.Hour)}
		if err := s.Replace(t.Context(), end, 1); err != nil {
			t.Fatalf("Replace by a tombstone on a full server: %v", err)
		}
	}
}

// After a restart everything is gone, and that is said at once: no request fails for a connection that has died.
func TestRestart(t *testing.T) {
	t.Parallel()
	server := servertest.Memcached(t)
	s := open(t, server.URL, nil)
	rec := newRecord(100)
	create(t, s, rec)
	var busy sync.WaitGroup
	for range 16 { // so that there are many connections
		busy.Go(func() {
			for range 50 {
				present(t, s, rec)
			}
		})
	}
	busy.Wait()
	server.Kill()
	server.Start()
	for range 20 {
		_, err := s.Load(t.Context(), rec.Key)
		is(t, "Load after a restart", err, store.ErrNotFound)
	}
	next := rec
	next.Version = 2
	is(t, "Replace after a restart", s.Replace(t.Context(), next, 1), store.ErrNotFound)
	create(t, s, rec)
	present(t, s, rec)
}

func TestServerDown(t *testing.T) {
	t.Parallel()
	server := servertest.Memcached(t)
	s := open(t, server.URL, nil)
	rec := newRecord(100)
	create(t, s, rec)
	server.Stop()
	everyCallFails(t, s, t.Context(), rec)
	if _, err := memcachedstore.Open(t.Context(), server.URL, nil); err == nil ||
		!strings.Contains(err.Error(), "refused") {
		t.Errorf("Open: got %v, want an error that says that the connection was refused", err)
	}
	server.Start()
	_, err := s.Load(t.Context(), rec.Key)
	is(t, "Load after the outage", err, store.ErrNotFound)
}

// everyCallFails reports where a method doesn't say that it failed.
func everyCallFails(t *testing.T, s store.Store, ctx context.Context, rec store.Record) {
	t.Helper()
	_, err := s.Load(ctx, rec.Key)
	fails(t, "Load", err)
	fails(t, "Create", s.Create(ctx, newRecord(1)))
	fails(t, "Replace", s.Replace(ctx, rec, 1))
	fails(t, "Touch", s.Touch(ctx, rec.Key, 1, rec.LastSeenAt, rec.ExpiresAt))
	fails(t, "Delete", s.Delete(ctx, rec.Key))
}

// A server that doesn't answer costs a call no more than its context allows; what was there before is there afterwards.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	server := servertest.Memcached(t)
	s := open(t, server.URL, nil)
	rec := newRecord(100)
	create(t, s, rec)
	server.Pause()
	began := time.Now()
	_, err := s.Load(within(t, 50*time.Millisecond), rec.Key)
	is(t, "Load from a paused server", err, context.DeadlineExceeded)
	next := rec
	next.Version = 2
	fails(t, "Replace on a paused server", s.Replace(within(t, 50*time.Millisecond), next, 1))
	if took := time.Since(began); took > 1500*time.Millisecond { // the client gives up after 2 seconds
		t.Errorf("two calls of 50 ms took %v", took)
	}
	server.Resume()
	s.Close() // waits for the calls that were given up: the Replace did so before it wrote
	present(t, open(t, server.URL, nil), rec)
}

// Calls that nobody waits for any more are bounded, and so are connections.
func TestMaxConns(t *testing.T) {
	t.Parallel()
	silent, accepted := listen(t)
	c := bare(t, silent)
	c.Timeout = time.Second // for which Close will wait
	s := through(t, c, &memcachedstore.Options{MaxConns: 2})
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			_, err := s.Load(within(t, 200*time.Millisecond), "key")
			is(t, "Load", err, context.DeadlineExceeded)
		})
	}
	calls.Wait()
	if got := accepted(); got != 2 {
		t.Errorf("got %d connections for 20 calls, want 2", got)
	}
}

// listen returns the address of a server that never answers, and how many connections it got.
func listen(t *testing.T) (addr string, accepted func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	})
	return l.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(conns)
	}
}

// Whatever is lost on the way, nothing is sent twice, and what was applied can be found out by the version.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	server := servertest.Memcached(t)
	proxy := servertest.NewProxy(t, server.Addr)
	s := open(t, "memcached://"+proxy.Addr, nil)
	direct := open(t, server.URL, nil)

	rec := newRecord(100)
	proxy.CutAnswer([]byte("add "))
	fails(t, "Create without an answer", s.Create(t.Context(), rec))
	present(t, direct, rec)
	unmade := newRecord(100)
	proxy.CutRequest([]byte("add "))
	fails(t, "Create that does not arrive", s.Create(t.Context(), unmade))
	_, err := direct.Load(t.Context(), unmade.Key)
	is(t, "Load of what did not arrive", err, store.ErrNotFound)

	next := rec
	next.Version, next.Data = 2, []byte("next")
	proxy.CutRequest([]byte("cas "))
	fails(t, "Replace that does not arrive", s.Replace(t.Context(), next, 1))
	present(t, direct, rec)
	proxy.CutAnswer([]byte("cas "))
	fails(t, "Replace without an answer", s.Replace(t.Context(), next, 1))
	present(t, direct, next)
	is(t, "Replace again", s.Replace(t.Context(), next, 1), store.ErrConflict)

	proxy.CutAnswer([]byte("delete "))
	fails(t, "Delete without an answer", s.Delete(t.Context(), rec.Key))
	proxy.CutRequest([]byte("gets "))
	_, err = s.Load(t.Context(), rec.Key)
	is(t, "Load over a connection that dies", err, store.ErrNotFound)
	if got := proxy.Cuts(); got != 6 {
		t.Errorf("cut %d requests, want 6: the test has shown nothing", got)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := open(t, shared().URL, nil)
	rec := newRecord(100)
	create(t, s, rec)
	big := rec
	big.Version, big.Data = 2, make([]byte, 1<<20)
	err := s.Replace(t.Context(), big, 1)
	fails(t, "Replace with 1 MiB", err)
	if err == nil || !strings.Contains(err.Error(), "-I") {
		t.Errorf("got %v, want an error that names memcached's option", err)
	}
	present(t, s, rec)
	if err := s.Delete(t.Context(), rec.Key); err != nil {
		t.Errorf("Delete: %v", err)
	}

	s = open(t, servertest.Memcached(t, "-I", "4m", "-m", "256").URL, nil)
	create(t, s, rec)
	big.Data = newRecord(3 << 20).Data
	if err := s.Replace(t.Context(), big, 1); err != nil {
		t.Errorf("Replace with 3 MiB on a server with -I 4m: %v", err)
	}
	present(t, s, big)
}

// What is no record counts as absent and is left alone.
func TestForeignItems(t *testing.T) {
	t.Parallel()
	const prefix = "foreign:"
	s := open(t, shared().URL, &memcachedstore.Options{Prefix: prefix})
	other := bare(t, shared().Addr)
	rec := newRecord(100)
	whole, err := memcachedstore.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"nothing":   "",
		"a number":  "1",
		"JSON":      `{"user":"ann","padding":"so that it is as long as the head of a record is"}`,
		"cut":       string(whole[:60]),
		"version 0": string(whole[:4]) + strings.Repeat("\x00", 8) + string(whole[12:]),
		"kind 9":    string(whole[:36]) + "\x09" + string(whole[37:]),
		"lengths":   string(whole[:41]) + "\xff\xff" + string(whole[43:]),
		"label":     string(whole[:41]) + "\x01\x2c" + string(whole[43:]) + strings.Repeat("l", 300),
	} {
		set(t, other, prefix+rec.Key, value)
		_, err := s.Load(t.Context(), rec.Key)
		is(t, name+": Load", err, store.ErrNotFound)
		is(t, name+": Replace", s.Replace(t.Context(), rec, 1), store.ErrNotFound)
		is(t, name+": Touch", s.Touch(t.Context(), rec.Key, 1, rec.LastSeenAt, rec.ExpiresAt), store.ErrNotFound)
		is(t, name+": Create", s.Create(t.Context(), rec), store.ErrExists)
		if item, err := other.Get(prefix + rec.Key); err != nil || string(item.Value) != value {
			t.Errorf("%s: the item was changed", name)
		}
	}
	if err := s.Delete(t.Context(), rec.Key); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

// A Touch keeps the version: a Replace that overlaps only with such is no conflict.
func TestTouchIsNoConflict(t *testing.T) {
	t.Parallel()
	s := open(t, shared().URL, nil)
	rec := newRecord(100)
	create(t, s, rec)
	var version atomic.Uint64
	version.Store(rec.Version)
	ctx, stop := context.WithCancel(t.Context())
	var touching sync.WaitGroup
	for range 4 {
		touching.Go(func() {
			for ctx.Err() == nil {
				_ = s.Touch(ctx, rec.Key, version.Load(), time.Now(), rec.ExpiresAt) // a conflict after each Replace
			}
		})
	}
	for range 50 {
		rec.Version++
		if err := s.Replace(t.Context(), rec, rec.Version-1); err != nil {
			t.Errorf("Replace among Touches: got %v, want nil", err)
		}
		version.Store(rec.Version)
	}
	stop()
	touching.Wait()
	present(t, s, rec)
}
