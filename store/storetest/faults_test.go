package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
	"github.com/hipflask/session/store/storetest"
)

func faultRecord(key string, version uint64) store.Record {
	return store.Record{Key: key, Version: version, Principal: "ann", ExpiresAt: time.Now().Add(time.Hour)}
}

// versionOf looks behind the faults; 0: absent.
func versionOf(t *testing.T, s store.Store, key string) uint64 {
	t.Helper()
	rec, err := s.Load(t.Context(), key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return rec.Version
}

// disturbed returns a store with a record under "k", version 1, whose calls all have the same fault.
func disturbed(t *testing.T, plan storetest.Faults) (*storetest.Faulty, store.Store) {
	t.Helper()
	inner := memstore.New(nil)
	if err := inner.Create(t.Context(), faultRecord("k", 1)); err != nil {
		t.Fatal(err)
	}
	f := storetest.NewFaulty(inner, plan)
	t.Cleanup(func() { f.Close() })
	return f, inner
}

func TestFaultyWithoutFaultsChangesNothing(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(testing.TB) store.Store { return storetest.NewFaulty(memstore.New(nil), storetest.Faults{}) },
		storetest.SingleOpen(), storetest.Bubble(), storetest.Bounded(func(testing.TB) store.Store {
			return storetest.NewFaulty(memstore.New(&memstore.Options{MaxSessions: 500}), storetest.Faults{})
		}))
}

func TestRefusedCallsDoNothing(t *testing.T) {
	t.Parallel()
	f, inner := disturbed(t, storetest.Faults{Refused: 1})
	ctx := t.Context()
	_, loadErr := f.Load(ctx, "k")
	_, sweepErr := f.Sweep(ctx, 10)
	for _, err := range []error{
		loadErr, sweepErr,
		f.Create(ctx, faultRecord("new", 2)),
		f.Replace(ctx, faultRecord("k", 2), 1),
		f.Touch(ctx, "k", 1, time.Now(), time.Now()),
		f.Delete(ctx, "k"),
	} {
		if !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("got %v, want ErrInjected", err)
		}
	}
	if k, created := versionOf(t, inner, "k"), versionOf(t, inner, "new"); k != 1 || created != 0 {
		t.Errorf("got versions %d and %d, want 1 and 0: nothing happens", k, created)
	}
	if c := f.Counts(); c != (storetest.FaultCounts{Refused: 6}) {
		t.Errorf("got counts %+v, want 6 refused", c)
	}
}

func TestLostAnswersAreApplied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, inner := disturbed(t, storetest.Faults{Lost: 1})
		for n := range uint64(8) { // some get an error at once, others when the context ends
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := f.Replace(ctx, faultRecord("k", n+2), n+1)
			cancel()
			if !errors.Is(err, storetest.ErrInjected) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want ErrInjected or the context's error", err)
			}
			if v := versionOf(t, inner, "k"); v != n+2 {
				t.Fatalf("got version %d, want %d: it is applied", v, n+2)
			}
		}
	})
}

func TestLateWritesArrive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, inner := disturbed(t, storetest.Faults{Late: 1, MaxDelay: time.Minute})
		for n := range uint64(8) {
			ctx, cancel := context.WithCancel(t.Context())
			answered := make(chan error)
			data := []byte("given")
			go func() {
				rec := faultRecord("k", n+2)
				rec.Data = data
				answered <- f.Replace(ctx, rec, n+1)
			}()
			synctest.Wait()
			cancel()
			if err := <-answered; err == nil {
				t.Error("got no error, want one")
			}
			copy(data, "later")
			if v := versionOf(t, inner, "k"); v != n+1 {
				t.Fatalf("got version %d, want %d: the write is under way", v, n+1)
			}
			f.Wait()
			rec, err := inner.Load(t.Context(), "k")
			if err != nil || rec.Version != n+2 || string(rec.Data) != "given" {
				t.Fatalf("got version %d with %q, %v, want %d with what was given to the call", rec.Version,
					rec.Data, err, n+2)
			}
		}
	})
}

// TestWritesAreSentOnce counts them behind the faults.
func TestWritesAreSentOnce(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]storetest.Faults{"undisturbed": {}, "lost": {Lost: 1}, "late": {Late: 1}} {
		synctest.Test(t, func(t *testing.T) {
			inner := &counted{Store: memstore.New(nil)}
			f := storetest.NewFaulty(inner, plan)
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				f.Delete(ctx, "k")
				cancel()
			}
			f.Close()
			if n := inner.deletes.Load(); n != 10 {
				t.Errorf("%s: got %d writes, want 10", name, n)
			}
		})
	}
}

type counted struct {
	store.Store
	deletes atomic.Int32
}

func (c *counted) Delete(ctx context.Context, key string) error {
	c.deletes.Add(1)
	return c.Store.Delete(ctx, key)
}

func TestLateReadsAreAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _ := disturbed(t, storetest.Faults{Late: 1, MaxDelay: time.Minute})
		began := time.Now()
		if rec, err := f.Load(t.Context(), "k"); err != nil || rec.Version != 1 || time.Since(began) == 0 {
			t.Errorf("got version %d, %v after %v, want 1 after a while", rec.Version, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		if _, err := f.Load(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestHungCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, inner := disturbed(t, storetest.Faults{Hung: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := f.Replace(ctx, faultRecord("k", 2), 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("got an answer after %v, want 1s", took)
		}
		go func() {
			time.Sleep(time.Minute)
			f.Close()
		}()
		if _, err := f.Load(t.Context(), "k"); !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("got %v after Close, want ErrInjected", err)
		}
		if v := versionOf(t, inner, "k"); v != 1 {
			t.Errorf("got version %d, want 1: nothing happens", v)
		}
	})
}

func TestLatencyLosesAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, inner := disturbed(t, storetest.Faults{MaxLatency: time.Second})
		applied := 0
		const calls = 200
		for range calls {
			before := versionOf(t, inner, "k")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := f.Replace(ctx, faultRecord("k", before+1), before)
			cancel()
			after := versionOf(t, inner, "k")
			if err == nil && after != before+1 {
				t.Fatal("got no error and no write")
			}
			if err != nil && after != before {
				applied++
			}
		}
		if applied < calls/3 || applied > calls*2/3 {
			t.Errorf("got %d of %d writes applied without an answer, want about half", applied, calls)
		}
	})
}

func TestListingsBreakOff(t *testing.T) {
	t.Parallel()
	f, inner := disturbed(t, storetest.Faults{Refused: 1})
	for i := range 9 {
		if err := inner.Create(t.Context(), faultRecord(fmt.Sprint("more", i), 1)); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[int]bool{}
	for range 50 {
		yielded := 0
		for rec, err := range f.Principal(t.Context(), "ann") {
			if err == nil {
				yielded++
			} else if !errors.Is(err, storetest.ErrInjected) || rec.Key != "" {
				t.Errorf("got %v with a record, want ErrInjected alone", err)
			}
		}
		seen[yielded] = true
	}
	if len(seen) < 3 || seen[10] {
		t.Errorf("got listings that broke off after these numbers of records: %v, want several, and never all 10", seen)
	}
	all := 0
	for _, err := range f.All(storetest.WithoutFaults(t.Context())) {
		if err != nil {
			t.Fatal(err)
		}
		all++
	}
	if all != 10 {
		t.Errorf("got %d records without faults, want 10", all)
	}
}

func TestOptionalMethodsAreForwarded(t *testing.T) {
	t.Parallel()
	plain := storetest.NewFaulty(struct{ store.Store }{memstore.New(nil)}, storetest.Faults{})
	for _, err := range plain.All(t.Context()) {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "give it Unwrap") {
			t.Errorf("got %v, want ErrUnsupported with advice: the store behind is no Lister", err)
		}
	}
	if n, err := plain.Sweep(t.Context(), 1); n != 0 || err != nil {
		t.Errorf("got %d, %v, want 0: the store behind is no Sweeper", n, err)
	}
	plain.OnEvict(func(store.Record) {})()

	synctest.Test(t, func(t *testing.T) {
		f, _ := disturbed(t, storetest.Faults{})
		time.Sleep(2 * time.Hour)
		if n, err := f.Sweep(t.Context(), 10); n != 1 || err != nil {
			t.Errorf("got %d, %v, want 1 record swept", n, err)
		}
	})
	bounded := storetest.NewFaulty(memstore.New(&memstore.Options{MaxSessions: 1}), storetest.Faults{})
	var evicted []string
	bounded.OnEvict(func(rec store.Record) { evicted = append(evicted, rec.Key) })
	for _, key := range []string{"a", "b"} {
		if err := bounded.Create(t.Context(), faultRecord(key, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(evicted, []string{"a"}) {
		t.Errorf("got evictions %v, want [a]", evicted)
	}
}

// TestFaultsAreReplayed runs three sources in two orders: to each, the same happens.
func TestFaultsAreReplayed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, order []uint64) map[uint64]string {
		f, _ := disturbed(t, storetest.Faults{Seed: seed, Refused: 0.5})
		fates := map[uint64]string{}
		for _, n := range order {
			_, err := f.Load(storetest.WithSource(t.Context(), n), "k")
			fates[n] += fmt.Sprint(err == nil, " ")
			f.Load(storetest.WithoutFaults(t.Context()), "k")
		}
		return fates
	}
	var turns, blocks []uint64
	for range 20 {
		turns = append(turns, 1, 2, 3)
	}
	for n := range uint64(3) {
		blocks = append(blocks, slices.Repeat([]uint64{n + 1}, 20)...)
	}
	first, second := run(1, turns), run(1, blocks)
	for n := range uint64(3) {
		if first[n+1] != second[n+1] {
			t.Errorf("source %d: got %s and then %s, want the same", n+1, first[n+1], second[n+1])
		}
	}
	if first[1] == first[2] || first[1] == run(2, turns)[1] {
		t.Error("got the same faults for another source or seed")
	}
}

func TestSharesAreKept(t *testing.T) {
	t.Parallel()
	f, _ := disturbed(t, storetest.Faults{Refused: -1, Lost: 0.2, Late: 0.3, Hung: 0.1})
	const calls = 4000
	for range calls {
		f.Delete(canceled(t), "k")
	}
	got := f.Counts()
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"refused", got.Refused, 0},
		{"lost", got.Lost, calls / 5},
		{"late", got.Late, calls * 3 / 10},
		{"hung", got.Hung, calls / 10},
		{"undisturbed", got.Undisturbed, calls * 4 / 10},
	} {
		if c.got < c.want-calls/20 || c.got > c.want+calls/20 {
			t.Errorf("got %d %s of %d calls, want about %d", c.got, c.name, calls, c.want)
		}
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
