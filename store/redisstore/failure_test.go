package redisstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// A server that has reached its maxmemory refuses what is new. What is there can be read, kept alive, and ended.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	s, client := open(t, server.URL, nil), raw(t, server.Addr)
	user, visitor := record(time.Hour), record(time.Hour)
	visitor.Principal = ""
	must(t, s.Create(t.Context(), user))
	must(t, s.Create(t.Context(), visitor))
	do(t, client, "CONFIG", "SET", "maxmemory", "1")
	for _, rec := range []store.Record{user, visitor} {
		fresh, next := record(time.Hour), rec
		fresh.Principal, next.Version = rec.Principal, 2
		refused(t, s.Create(t.Context(), fresh), "Create", "OOM", "maxmemory")
		refused(t, s.Replace(t.Context(), next, rec.Version), "Replace", "OOM", "maxmemory")
		if got, err := s.Load(t.Context(), rec.Key); err != nil || got.Version != rec.Version {
			t.Errorf("Load: got version %d, %v, want the record as it was", got.Version, err)
		}
		seen := time.Now().Truncate(time.Millisecond)
		if err := s.Touch(t.Context(), rec.Key, rec.Version, seen, rec.ExpiresAt.Add(time.Millisecond)); err != nil {
			t.Errorf("Touch: got %v, want nil: it takes no memory", err)
		}
		if got, err := s.Load(t.Context(), rec.Key); err != nil || !got.LastSeenAt.Equal(seen) {
			t.Errorf("Load after Touch: got %v, %v, want %v", got.LastSeenAt, err, seen)
		}
		if err := s.Replace(t.Context(), tombstone(rec), rec.Version); err != nil {
			t.Errorf("Replace by a tombstone: got %v, want nil: a logout has to work", err)
		}
		if got, err := s.Load(t.Context(), rec.Key); err != nil || got.Kind != store.Ended {
			t.Errorf("Load after a logout: got a %v record, %v, want the tombstone", got.Kind, err)
		}
	}
	must(t, s.Delete(t.Context(), user.Key))
	if _, err := redisstore.Open(t.Context(), server.URL, nil); err == nil {
		t.Error("Open: got nil, want an error: nobody can log in")
	}
}

func TestReplicaIsRefused(t *testing.T) {
	t.Parallel()
	replica := sentinels().Nodes[1]
	_, err := redisstore.Open(t.Context(), replica.URL, nil)
	refused(t, err, "Open", "READONLY", "replica")
	s, err := redisstore.New(raw(t, replica.Addr), nil)
	must(t, err)
	rec := record(time.Hour)
	rec.Principal = ""
	refused(t, s.Create(t.Context(), rec), "Create", "READONLY")
	refused(t, s.Delete(t.Context(), rec.Key), "Delete", "READONLY")
	for _, err = range s.Principal(t.Context(), "ada") {
	}
	refused(t, err, "Principal", "READONLY")
	_, err = all(t, s)
	refused(t, err, "All", "READONLY")
	// A master that has become a replica behind a connection: what it has may be old, or nothing.
	_, err = s.Load(t.Context(), rec.Key)
	refused(t, err, "Load", "READONLY")
	s, err = redisstore.New(raw(t, replica.Addr), &redisstore.Options{Replicas: 1})
	must(t, err)
	refused(t, s.Create(t.Context(), rec), "Create that waits for replicas", "READONLY")
	_, err = s.Load(t.Context(), rec.Key) // which there is reason to confirm
	refused(t, err, "Load that waits for replicas")
}

// A server that can't write its snapshots refuses changes. What is there can be read.
func TestDiskError(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t, "--save", "3600 1", "--dbfilename", "snapshot")
	s, client := open(t, server.URL, nil), raw(t, server.Addr)
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	must(t, os.Mkdir(filepath.Join(server.Dir, "snapshot"), 0o700))
	do(t, client, "BGSAVE")
	for deadline := time.Now().Add(servertest.Patience); ; time.Sleep(10 * time.Millisecond) {
		info, err := do(t, client, "INFO", "persistence").ToString()
		must(t, err)
		if strings.Contains(info, "rdb_last_bgsave_status:err") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a snapshot in place of a folder does not fail")
		}
	}
	refused(t, s.Create(t.Context(), record(time.Hour)), "Create", "MISCONF")
	if _, err := s.Load(t.Context(), rec.Key); err != nil {
		t.Errorf("Load: got %v, want the record", err)
	}
}

// A node of a cluster tells where a key is, and who looks at it as at a single server is told what to do.
func TestNodeOfAClusterIsNoSingleServer(t *testing.T) {
	t.Parallel()
	address := cluster().Nodes[0].Addr
	var err error
	for range 20 { // a third of the keys would be right there
		if _, err = redisstore.Open(t.Context(), "redis://"+address, nil); err != nil {
			break
		}
	}
	refused(t, err, "Open", "MOVED", "?cluster")
	s := open(t, "redis://"+address+"?cluster", nil)
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	if got := listed(t, s, rec.Principal); len(got) != 1 {
		t.Errorf("got %d records through one node of the cluster, want 1", len(got))
	}
}

// A write whose answer got lost was sent once; a read is sent again.
func TestWritesAreSentOnce(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	proxy := servertest.NewProxy(t, server.Addr)
	s, client := open(t, "redis://"+proxy.Addr, nil), raw(t, server.Addr)
	rec := record(time.Hour)
	rec.Principal = ""
	must(t, s.Create(t.Context(), rec))
	next := rec
	next.Version, next.Data = 2, []byte("changed")
	fresh := record(time.Hour)
	fresh.Principal = ""
	for _, cut := range []struct {
		name string
		what func([]byte)
		sent int64
	}{{"answer", proxy.CutAnswer, 1}, {"request", proxy.CutRequest, 0}} {
		do(t, client, "SCRIPT", "FLUSH")
		for _, write := range []struct {
			name    string
			command string
			do      func() error
		}{
			{"Create", "SET", func() error { return s.Create(t.Context(), fresh) }},
			{"Replace", "EVALSHA", func() error { return s.Replace(t.Context(), next, rec.Version) }},
			{"Touch", "EVALSHA", func() error { return s.Touch(t.Context(), rec.Key, 2, time.Now(), rec.ExpiresAt) }},
			{"Delete", "EVALSHA", func() error { return s.Delete(t.Context(), rec.Key) }},
		} {
			do(t, client, "CONFIG", "RESETSTAT")
			before := proxy.Cuts()
			cut.what([]byte(write.command))
			refused(t, write.do(), write.name+" whose "+cut.name+" got lost")
			all := calls(t, client)
			got := all["evalsha"] + all["eval"]
			if write.command == "SET" {
				got = all["set"]
			}
			if got != cut.sent || proxy.Cuts() != before+1 {
				t.Errorf("%s whose %s got lost: sent %d times, want %d", write.name, cut.name, got, cut.sent)
			}
		}
	}
	proxy.CutAnswer([]byte("GET"))
	if _, err := s.Load(t.Context(), rec.Key); err != nil {
		t.Errorf("Load whose answer got lost: got %v, want the record", err)
	}
}

// The end of a context ends a call, whatever the server does.
func TestContextEndsACall(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	bounded, stop := context.WithTimeout(t.Context(), time.Minute) // as a session.Manager's are
	defer stop()
	s, err := redisstore.Open(bounded, server.URL, nil)
	must(t, err)
	defer s.Close()
	rec := record(time.Hour)
	must(t, s.Create(bounded, rec))
	server.Pause()
	defer server.Resume()
	for name, call := range map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx, rec.Key); return err },
		"Create":  func(ctx context.Context) error { return s.Create(ctx, record(time.Hour)) },
		"Replace": func(ctx context.Context) error { return s.Replace(ctx, rec, rec.Version) },
		"Touch": func(ctx context.Context) error {
			return s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, rec.Key) },
		"All": func(ctx context.Context) (err error) {
			for _, err = range s.All(ctx) {
			}
			return err
		},
		"Principal": func(ctx context.Context) (err error) {
			for _, err = range s.Principal(ctx, rec.Principal) {
			}
			return err
		},
	} {
		cancelled, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(100*time.Millisecond, cancel)
		timed, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		both, stopBoth := context.WithTimeout(cancelled, time.Minute)
		for _, ctx := range []context.Context{both, timed, cancelled} {
			begun := time.Now()
			err := call(ctx)
			// a new connection is given up after 2 s, a silent one after 5 s
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("%s: took %v after its context had ended", name, took)
			}
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want the context's error", name, err)
			}
		}
		timer.Stop()
		cancel()
		stop()
		stopBoth()
	}
}

// While a server does not answer, calls end with their own contexts and not with others'.
func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	s := open(t, server.URL, nil)
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	for range 3 { // what the calls of one round have used is used again in the next
		server.Pause()
		var patient, impatient sync.WaitGroup
		for n := range 50 {
			patient.Go(func() {
				if _, err := s.Load(t.Context(), rec.Key); err != nil {
					t.Errorf("Load whose context has not ended: got %v, want the record", err)
				}
			})
			impatient.Go(func() {
				end, begun := time.Duration(n)*2*time.Millisecond, time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), end)
				defer cancel()
				_, err := s.Load(ctx, rec.Key)
				if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took < end ||
					took > end+2*time.Second {
					t.Errorf("Load whose context ends after %v: got %v after %v", end, err, took)
				}
			})
		}
		impatient.Wait()
		server.Resume()
		patient.Wait()
	}
}

// Many calls end with their contexts too: none waits for a place behind others that have ended.
func TestContextsEndManyCalls(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	s := open(t, server.URL, nil)
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	var all sync.WaitGroup
	for range 3000 {
		all.Go(func() {
			if _, err := s.Load(ctx, "key"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Load: got %v, want the context's error", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(begun); took > 4*time.Second { // the connection is given up after 5 s
		t.Errorf("3000 calls whose context ended after 200 ms took %v", took)
	}
}

// Scripts that the server forgets (a restart, a failover, SCRIPT FLUSH) are sent again, and nothing is written twice.
func TestForgottenScripts(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	s, client := open(t, server.URL, nil), raw(t, server.Addr)
	var done atomic.Bool
	flushed := make(chan int)
	go func() {
		n := 0
		for !done.Load() {
			if client.Do(context.Background(), client.B().ScriptFlush().Build()).Error() == nil {
				n++
			}
		}
		flushed <- n
	}()
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	for range 500 {
		next := rec
		next.Version++
		must(t, s.Replace(t.Context(), next, rec.Version))
		must(t, s.Touch(t.Context(), next.Key, next.Version, time.Now(), next.ExpiresAt))
		rec = next
	}
	must(t, s.Delete(t.Context(), rec.Key))
	done.Store(true)
	if n := <-flushed; n == 0 || calls(t, client)["eval"] == 0 {
		t.Errorf("the scripts were forgotten %d times and sent %d times: the test has shown nothing",
			n, calls(t, client)["eval"])
	}
}

// What stands under the name of a record and is none counts as absent: one bad value is one session's problem.
func TestForeignValues(t *testing.T) {
	t.Parallel()
	s, client := open(t, redis().URL, nil), raw(t, redis().Addr)
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	whole, err := do(t, client, "GET", "hipflask:s:"+rec.Key).ToString()
	must(t, err)
	damage := map[string][]string{
		"a hash": {"HSET", "hipflask:s:KEY", "field", "value"},
		"a text": {"SET", "hipflask:s:KEY",
			"some text that is long enough to hold the header of a record, but is none"},
		"nothing":                 {"SET", "hipflask:s:KEY", ""},
		"an unknown format":       {"SET", "hipflask:s:KEY", "\x01" + whole[1:]},
		"a record that is cut":    {"SET", "hipflask:s:KEY", whole[:60]},
		"a header that is cut":    {"SET", "hipflask:s:KEY", whole[:40]},
		"texts longer than there": {"SET", "hipflask:s:KEY", whole[:36] + "\xff\x7f" + whole[37:]},
	}
	for what, command := range damage {
		rec := record(time.Hour)
		command[1] = "hipflask:s:" + rec.Key
		do(t, client, command...)
		if _, err := s.Load(t.Context(), rec.Key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load of %s: got %v, want ErrNotFound", what, err)
		}
		if err := s.Touch(t.Context(), rec.Key, 77, time.Now(), rec.ExpiresAt); !errors.Is(err, store.ErrNotFound) &&
			!errors.Is(err, store.ErrConflict) {
			t.Errorf("Touch of %s: got %v, want ErrNotFound or ErrConflict", what, err)
		}
		if err := s.Replace(t.Context(), rec, 77); !errors.Is(err, store.ErrNotFound) &&
			!errors.Is(err, store.ErrConflict) {
			t.Errorf("Replace of %s: got %v, want ErrNotFound or ErrConflict", what, err)
		}
		for got, err := range s.All(t.Context()) {
			if err != nil || got.Key == rec.Key {
				t.Errorf("All with %s: got it as a record, or error %v", what, err)
			}
		}
		if err := s.Delete(t.Context(), rec.Key); err != nil || number(t, client, "EXISTS", command[1]) != 0 {
			t.Errorf("Delete of %s: got %v, want nil and nothing left", what, err)
		}
	}
}

// Replicas: a write counts when they have it, and its error does not come before its context ends: sooner, a session
// would look at the master, find its write there, and take it for saved.
func TestReplicas(t *testing.T) {
	t.Parallel()
	s := open(t, sentinelURL(), &redisstore.Options{Replicas: 2})
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	for _, node := range sentinels().Nodes {
		client := raw(t, node.Addr)
		if n := number(t, client, "EXISTS", "hipflask:s:"+rec.Key); n != 1 {
			t.Errorf("a server does not have a record for which two replicas had to wait")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := redisstore.Open(ctx, sentinelURL(), &redisstore.Options{Replicas: 3})
	if deadline, _ := ctx.Deadline(); err == nil || time.Now().Before(deadline) {
		t.Errorf("Open with more replicas than there are: got %v, want an error when the context ends", err)
	}
	master, err := redisstore.New(raw(t, sentinels().MasterAddr()), &redisstore.Options{Replicas: 3})
	must(t, err)
	next := rec
	next.Version = 2
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = master.Replace(ctx, next, rec.Version)
	refused(t, err, "Replace with more replicas than there are")
	if deadline, _ := ctx.Deadline(); time.Now().Before(deadline) {
		t.Error("Replace with more replicas than there are: it ended before its context")
	}
}

// What the replicas don't have does not count by being read either: not for who wrote it and got no answer, and not for
// who finds the tombstone of a logout that got none.
func TestReplicasConfirmReads(t *testing.T) {
	t.Parallel()
	master, replica := servertest.Redis(t, "--repl-diskless-sync-delay", "0"), servertest.Redis(t)
	client := raw(t, master.Addr)
	do(t, raw(t, replica.Addr), "REPLICAOF", "127.0.0.1", master.Port)
	for number(t, client, "WAIT", "1", "100") < 1 {
	}
	first := open(t, master.URL, &redisstore.Options{Replicas: 1})
	other := open(t, master.URL, &redisstore.Options{Replicas: 1})
	brief := func(call func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		return call(ctx)
	}
	attempts := 0
	begins := func(rec store.Record, text string) bool {
		if attempts++; attempts > 20 {
			t.Fatal("a write without a replica does not reach the master")
		}
		got, err := do(t, client, "GETRANGE", "hipflask:s:"+rec.Key, "0", "8").ToString()
		must(t, err)
		return got == text
	}
	load := func(s *redisstore.Store, rec store.Record) error {
		return brief(func(ctx context.Context) error { _, err := s.Load(ctx, rec.Key); return err })
	}
	rec := record(time.Hour)
	must(t, first.Create(t.Context(), rec))
	next := rec
	next.Version = 2

	replica.Pause()
	for !begins(next, "\x03\x00\x00\x00\x00\x00\x00\x00\x02") { // a slow machine may not get as far as to send it
		refused(t, brief(func(ctx context.Context) error { return first.Replace(ctx, next, 1) }),
			"Replace without a replica")
	}
	refused(t, load(first, rec), "Load of what no replica may have")
	replica.Resume()
	if got, err := first.Load(t.Context(), rec.Key); err != nil || got.Version != 2 {
		t.Fatalf("Load when the replica is back: got version %d, %v, want 2", got.Version, err)
	}
	do(t, client, "CONFIG", "RESETSTAT")
	must(t, load(first, rec))
	if got := calls(t, client); got["getex"] != 1 || got["eval"] != 0 {
		t.Errorf("Load after the doubts are gone: got commands %v, want one getex", got)
	}

	replica.Pause()
	for !begins(next, "\x03\x00\x00\x00\x00\x00\x00\x00\x03") {
		refused(t, brief(func(ctx context.Context) error { return first.Replace(ctx, tombstone(next), 2) }),
			"Logout without a replica")
	}
	refused(t, load(other, rec), "Load of a tombstone that no replica may have, by another process")
	refused(t, brief(func(ctx context.Context) (err error) {
		for _, err = range other.Principal(ctx, rec.Principal) {
		}
		return err
	}), "List with a tombstone that no replica may have")
	replica.Resume()
	got, err := other.Load(t.Context(), rec.Key)
	if err != nil || got.Kind != store.Ended {
		t.Errorf("Load when the replica is back: got a %v record, %v, want the tombstone", got.Kind, err)
	}
	if keys := listed(t, other, rec.Principal); len(keys) != 1 {
		t.Errorf("got %d records in the list when the replica is back, want the tombstone", len(keys))
	}
}

// A call that waits for replicas ends with its context too, while the server says nothing.
func TestReplicasOfSilentServer(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	s, err := redisstore.New(raw(t, server.Addr), &redisstore.Options{Replicas: 1})
	must(t, err)
	before := record(time.Hour)
	for paused := range 2 {
		if paused == 1 { // with a connection that is waiting, and without
			server.Pause()
		}
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				began := time.Now()
				refused(t, s.Replace(ctx, before, 1), "Replace without replicas")
				if took := time.Since(began); took > 3*time.Second { // rueidis gives a server up after 5
					t.Errorf("Replace returned %v after its context", took)
				}
			})
		}
		calls.Wait()
	}
	server.Resume()
}

// Redis repeats the arguments of a command that it does not know.
func TestErrorsHideArguments(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t, "--rename-command", "GETEX", "", "--rename-command", "EVALSHA", "",
		"--rename-command", "ZSCAN", "")
	s, err := redisstore.New(raw(t, server.Addr), nil)
	must(t, err)
	rec := record(time.Hour)
	_, loadErr := s.Load(t.Context(), rec.Key)
	var listErr error
	for _, listErr = range s.Principal(t.Context(), rec.Principal) {
	}
	for what, err := range map[string]error{"Load": loadErr, "Create": s.Create(t.Context(), rec),
		"Principal": listErr} {
		refused(t, err, what, "ERR")
		if err != nil && (strings.Contains(err.Error(), rec.Key) || strings.Contains(err.Error(), rec.Principal)) {
			t.Errorf("%s: the error contains the key or the principal", what)
		}
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := open(t, redis().URL, nil)
	must(t, s.Close())
	must(t, s.Close())
	_, err := s.Load(t.Context(), "key")
	refused(t, err, "Load of a closed store", "closed")
	refused(t, s.Create(t.Context(), record(time.Hour)), "Create in a closed store", "closed")
	client := raw(t, redis().Addr)
	other, err := redisstore.New(client, nil)
	must(t, err)
	must(t, other.Close())
	if err := other.Create(t.Context(), record(time.Hour)); err != nil {
		t.Errorf("Create after Close of a store that was given its client: got %v, want nil: the client "+
			"is the caller's", err)
	}
}

// A listing of all on a cluster is whole, or it ends with an error, whatever happens to a master; and the replica that
// takes its place has what it had.
func TestListingOnAClusterIsWhole(t *testing.T) {
	t.Parallel()
	cluster := servertest.RedisCluster(t)
	for _, node := range cluster.Nodes { // which may not know all the others yet
		client := raw(t, node.Addr)
		for known := 0; known != 6; {
			known = 0
			slots, err := do(t, client, "CLUSTER", "SLOTS").ToArray()
			must(t, err)
			for _, part := range slots {
				nodes, err := part.ToArray()
				must(t, err)
				known += len(nodes) - 2
			}
		}
	}
	s := open(t, "redis://"+cluster.Nodes[1].Addr+"?cluster&replicas=1", nil)
	const records = 60
	for range records {
		must(t, s.Create(t.Context(), record(time.Hour)))
	}
	if n, err := all(t, s); n != records || err != nil {
		t.Fatalf("got %d records and error %v, want %d", n, err, records)
	}
	for _, node := range cluster.Nodes[3:] {
		if n := calls(t, raw(t, node.Addr))["scan"]; n != 0 {
			t.Errorf("a replica was asked for its keys %d times, want 0", n)
		}
	}
	cluster.Nodes[0].Kill()
	failures := 0
	for deadline := time.Now().Add(servertest.Patience); ; {
		n, err := all(t, s)
		if err == nil && n != records {
			t.Fatalf("got a listing of %d records without an error after a master had failed, want %d", n, records)
		}
		if err == nil {
			break
		}
		if failures++; time.Now().After(deadline) {
			t.Fatalf("after a master had failed: %v", err)
		}
	}
	if failures == 0 {
		t.Error("no listing failed while the master was gone: the test has shown nothing")
	}
}
