package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

const aMinute = time.Minute // longer than any test takes: only what the server says ends it

// version returns the version that LoadStale finds; 0: none.
func version(tb testing.TB, s *redisstore.Store, key string) uint64 {
	tb.Helper()
	rec, err := s.LoadStale(tb.Context(), key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		tb.Fatal(err)
	}
	return rec.Version
}

// until waits until cond holds.
func until(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(servertest.Patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %v", what, servertest.Patience)
		}
	}
}

// next returns rec as its next write leaves it.
func next(rec store.Record) store.Record {
	rec.Version++
	rec.Data = []byte(`{"visits":` + strconv.FormatUint(rec.Version, 10) + `}`)
	return rec
}

// reads returns how many reads the server has answered.
func reads(tb testing.TB, server *servertest.Server) int64 {
	all := calls(tb, raw(tb, server.Addr))
	return all["getex"] + all["get"]
}

func TestStaleReadsComeFromMemory(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	ctx := t.Context()
	a := open(t, server.URL, &redisstore.Options{MaxStale: aMinute})
	b := open(t, server.URL, nil)
	rec := record(time.Hour)
	must(t, b.Create(ctx, rec))
	version(t, a, rec.Key)
	before := reads(t, server)
	for range 100 {
		got, err := a.LoadStale(ctx, rec.Key)
		must(t, err)
		if string(got.Data) != string(rec.Data) || got.Version != rec.Version || got.Principal != rec.Principal {
			t.Fatalf("got %+v, want %+v", got, rec)
		}
		got.Data[0], got.Principal = 'x', "another" // it belongs to the caller
	}
	if n := reads(t, server) - before; n != 0 {
		t.Errorf("the server got %d reads for 100 of a record that nobody has changed, want 0", n)
	}
	if _, err := a.Load(ctx, rec.Key); err != nil || reads(t, server)-before != 1 {
		t.Errorf("the server got %d reads for a Load, want 1 (%v)", reads(t, server)-before, err)
	}

	// What others write is seen when the server has said so.
	must(t, b.Replace(ctx, next(rec), rec.Version))
	until(t, "a change by another Store", func() bool { return version(t, a, rec.Key) == rec.Version+1 })
	must(t, b.Touch(ctx, rec.Key, rec.Version+1, rec.LastSeenAt.Add(time.Second), rec.ExpiresAt.Add(time.Second)))
	until(t, "a touch by another Store", func() bool {
		got, err := a.LoadStale(ctx, rec.Key)
		return err == nil && got.LastSeenAt.Equal(rec.LastSeenAt.Add(time.Second))
	})
	must(t, b.Delete(ctx, rec.Key))
	until(t, "a deletion by another Store", func() bool { return version(t, a, rec.Key) == 0 })
}

// TestOwnWritesAreNeverStale: what a Store has written it reads back, also if the server's messages come late or never.
func TestOwnWritesAreNeverStale(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, redis().URL, &redisstore.Options{MaxStale: aMinute})
	rec := record(time.Hour)
	must(t, s.Create(ctx, rec))
	for range 200 {
		if got := version(t, s, rec.Key); got != rec.Version {
			t.Fatalf("got version %d after version %d was written", got, rec.Version)
		}
		must(t, s.Replace(ctx, next(rec), rec.Version))
		rec = next(rec)
		version(t, s, rec.Key)
		rec.LastSeenAt = rec.LastSeenAt.Add(time.Second)
		must(t, s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt))
		if got, err := s.LoadStale(ctx, rec.Key); err != nil || !got.LastSeenAt.Equal(rec.LastSeenAt) {
			t.Fatalf("got LastSeenAt %v, %v after a Touch, want %v", got.LastSeenAt, err, rec.LastSeenAt)
		}
	}
	must(t, s.Replace(ctx, tombstone(rec), rec.Version))
	if got, err := s.LoadStale(ctx, rec.Key); err != nil || got.Kind != store.Ended {
		t.Fatalf("got %v, %v after the session was ended, want the tombstone", got.Kind, err)
	}
	must(t, s.Delete(ctx, rec.Key))
	if got := version(t, s, rec.Key); got != 0 {
		t.Fatalf("got version %d of a record that was deleted", got)
	}
	must(t, s.Create(ctx, rec))
	if got := version(t, s, rec.Key); got != rec.Version {
		t.Fatalf("got version %d of a record that was created again, want %d", got, rec.Version)
	}
}

// TestSilentServer: what a Store has written, or found by Load, it knows without being told.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, redis().URL, &redisstore.Options{MaxStale: aMinute})
	other := open(t, redis().URL, nil)
	for name, write := range map[string]func(rec store.Record) error{
		"Replace": func(rec store.Record) error { return s.Replace(ctx, next(rec), rec.Version) },
		"Touch": func(rec store.Record) error {
			return s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt.Add(time.Second), rec.ExpiresAt)
		},
		"Delete": func(rec store.Record) error { return s.Delete(ctx, rec.Key) },
		"Load of another's change": func(rec store.Record) error {
			must(t, other.Replace(ctx, next(rec), rec.Version))
			if got := version(t, s, rec.Key); got != rec.Version {
				t.Errorf("got version %d after a change that nobody has told, want the one in memory", got)
			}
			_, err := s.Load(ctx, rec.Key)
			return err
		},
		"a conflict": func(rec store.Record) error {
			must(t, other.Replace(ctx, next(rec), rec.Version))
			if err := s.Replace(ctx, next(rec), rec.Version); !errors.Is(err, store.ErrConflict) {
				return fmt.Errorf("got %v, want a conflict", err)
			}
			return nil
		},
	} {
		rec := record(time.Hour)
		must(t, s.Create(ctx, rec))
		do(t, s.Client(), "CLIENT", "TRACKING", "ON", "OPTIN")
		version(t, s, rec.Key)
		do(t, s.Client(), "CLIENT", "TRACKING", "OFF")
		must(t, write(rec))
		want, errWant := other.Load(ctx, rec.Key)
		got, err := s.LoadStale(ctx, rec.Key)
		if errors.Is(err, store.ErrNotFound) != errors.Is(errWant, store.ErrNotFound) || got.Version != want.Version ||
			!got.LastSeenAt.Equal(want.LastSeenAt) {
			t.Errorf("after %s: got version %d, seen %v, %v; want version %d, seen %v, %v",
				name, got.Version, got.LastSeenAt, err, want.Version, want.LastSeenAt, errWant)
		}
	}
}

// stale returns how long after its own call s was last asked and returned the version old, and what it says then.
func stale(tb testing.TB, s *redisstore.Store, key string, old uint64) (last time.Duration, err error) {
	tb.Helper()
	began := time.Now()
	for {
		asked := time.Since(began)
		ctx, cancel := context.WithTimeout(tb.Context(), 50*time.Millisecond)
		rec, err := s.LoadStale(ctx, key)
		cancel()
		if err != nil || rec.Version != old {
			return last, err
		}
		if last = asked; last > servertest.Patience {
			tb.Fatalf("a record is served that was replaced %v ago", last)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestMaxStaleBoundsWhatIsLost: the network swallows everything, so that no message of the server arrives.
func TestMaxStaleBoundsWhatIsLost(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	proxy := servertest.NewProxy(t, server.Addr)
	const maxStale = 300 * time.Millisecond
	s := open(t, "redis://"+proxy.Addr, &redisstore.Options{MaxStale: maxStale})
	other := open(t, server.URL, nil)
	rec := record(time.Hour)
	must(t, other.Create(t.Context(), rec))
	version(t, s, rec.Key)
	proxy.Hold()
	must(t, other.Replace(t.Context(), next(rec), rec.Version))
	took, err := stale(t, s, rec.Key, rec.Version)
	if err == nil || took > maxStale {
		t.Errorf("got the old record for %v, then %v; want it for at most %v, then an error", took, err, maxStale)
	}
	proxy.Pass()
	until(t, "the new record", func() bool {
		rec2, err := s.LoadStale(t.Context(), rec.Key)
		return err == nil && rec2.Version == rec.Version+1
	})
}

// TestAgeCountsFromTheRequest: an answer that was long on its way is as old as that.
func TestAgeCountsFromTheRequest(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	proxy := servertest.NewProxy(t, server.Addr)
	s := open(t, "redis://"+proxy.Addr, &redisstore.Options{MaxStale: 100 * time.Millisecond})
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	proxy.Delay(110 * time.Millisecond)
	for range 2 {
		before := reads(t, server)
		version(t, s, rec.Key)
		if n := reads(t, server) - before; n == 0 {
			t.Error("a record was kept whose read was sent longer ago than MaxStale")
		}
	}
}

// TestFrozenServerEndsStaleReads: a server that has stopped answers nobody, and its successor may have other records.
func TestFrozenServerEndsStaleReads(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	const maxStale = 300 * time.Millisecond
	s := open(t, server.URL, &redisstore.Options{MaxStale: maxStale})
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	version(t, s, rec.Key)
	server.Pause()
	took, err := stale(t, s, rec.Key, rec.Version)
	if err == nil || took > maxStale {
		t.Errorf("got the record for %v, then %v; want it for at most %v, then an error", took, err, maxStale)
	}
	server.Resume()
	until(t, "the record", func() bool {
		rec2, err := s.LoadStale(t.Context(), rec.Key)
		return err == nil && rec2.Version == rec.Version
	})
}

// TestCutConnectionForgets: who can't hear any more what changes trusts nothing that was heard before.
func TestCutConnectionForgets(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	proxy := servertest.NewProxy(t, server.Addr)
	s := open(t, "redis://"+proxy.Addr, &redisstore.Options{MaxStale: aMinute})
	other := open(t, server.URL, nil)
	rec := record(time.Hour)
	must(t, other.Create(t.Context(), rec))
	version(t, s, rec.Key)
	proxy.Refuse()
	must(t, other.Replace(t.Context(), tombstone(rec), rec.Version))
	if took, err := stale(t, s, rec.Key, rec.Version); err == nil || took > aMinute/2 {
		t.Errorf("got the old record for %v after the connection was cut, then %v; want an error soon", took, err)
	}
	proxy.Pass()
	until(t, "the tombstone", func() bool {
		got, err := s.LoadStale(t.Context(), rec.Key)
		return err == nil && got.Kind == store.Ended
	})
}

// TestDemotedMasterServesNothing: after a failover by hand the client is still connected to the old master, which is a
// replica now, and has lost its own.
func TestDemotedMasterServesNothing(t *testing.T) {
	t.Parallel()
	old, successor := servertest.Redis(t), servertest.Redis(t, "--repl-diskless-sync-delay", "0")
	const maxStale = 300 * time.Millisecond
	s := open(t, old.URL, &redisstore.Options{MaxStale: maxStale})
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	version(t, s, rec.Key)
	successor.Pause() // so that the old data stay
	do(t, raw(t, old.Addr), "REPLICAOF", "127.0.0.1", successor.Port)
	took, _ := stale(t, s, rec.Key, rec.Version)
	_, err := s.LoadStale(t.Context(), rec.Key) // with more time than stale gives
	refused(t, err, "LoadStale from a demoted master", "READONLY")
	if took > maxStale {
		t.Errorf("got the record for %v after the master was demoted, want it for at most %v", took, maxStale)
	}
	successor.Resume()
}

func TestFailoverBoundsStaleness(t *testing.T) {
	t.Parallel()
	all := servertest.RedisSentinel(t)
	url := "redis+sentinel://" + all.Sentinels[0].Addr + "," + all.Sentinels[1].Addr + "/" + all.Master
	const maxStale = 500 * time.Millisecond
	s := open(t, url, &redisstore.Options{MaxStale: maxStale, Replicas: 1})
	rec := record(time.Hour)
	must(t, s.Create(t.Context(), rec))
	version(t, s, rec.Key)
	all.Nodes[0].Pause() // its connections stay open
	took, err := stale(t, s, rec.Key, rec.Version)
	if err == nil || took > maxStale {
		t.Errorf("got the record for %v from a master that has stopped, then %v; want it for at most %v",
			took, err, maxStale)
	}
	// The new master ends the session.
	until(t, "a new master", func() bool { return all.MasterAddr() != all.Nodes[0].Addr })
	other := open(t, url, nil)
	must(t, other.Replace(t.Context(), tombstone(rec), rec.Version))
	until(t, "the tombstone", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got, err := s.LoadStale(ctx, rec.Key)
		if err == nil && got.Kind == store.Live {
			t.Fatal("got the old record after the failover")
		}
		return err == nil && got.Kind == store.Ended
	})
	all.Nodes[0].Resume()
}

func TestStaleReadsOnCluster(t *testing.T) {
	t.Parallel()
	a := open(t, clusterURL(), &redisstore.Options{MaxStale: aMinute})
	b := open(t, clusterURL(), nil)
	for range 20 { // on each of the masters
		rec := record(time.Hour)
		must(t, b.Create(t.Context(), rec))
		if got := version(t, a, rec.Key); got != rec.Version {
			t.Fatalf("got version %d, want %d", got, rec.Version)
		}
		must(t, b.Replace(t.Context(), next(rec), rec.Version))
		until(t, "a change by another Store", func() bool { return version(t, a, rec.Key) == rec.Version+1 })
	}
}

func TestMaxStaleIsChecked(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, redis().URL, nil)
	if _, err := s.LoadStale(ctx, "key"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("LoadStale without MaxStale: got %v, want ErrUnsupported", err)
	}
	for _, d := range []time.Duration{-1, time.Minute + 1} {
		if _, err := redisstore.Open(ctx, redis().URL, &redisstore.Options{MaxStale: d}); err == nil {
			t.Errorf("Open with MaxStale %v: got no error", d)
		}
	}
	if _, err := redisstore.New(raw(t, redis().Addr), &redisstore.Options{MaxStale: time.Second}); err == nil {
		t.Error("New with MaxStale: got no error")
	}
	s = open(t, redis().URL+"?max_stale=2s", nil)
	if _, err := s.LoadStale(ctx, "key"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("LoadStale with ?max_stale=2s: got %v, want ErrNotFound", err)
	}
	if _, err := redisstore.Open(ctx, redis().URL+"?max_stale=2", nil); err == nil {
		t.Error("Open with ?max_stale=2: got no error")
	}
}
