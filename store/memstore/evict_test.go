package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// evictions notes the keys of evicted records, in their order.
type evictions struct {
	mu   sync.Mutex
	keys []string
}

func watch(s *memstore.Store) *evictions {
	ev := &evictions{}
	s.OnEvict(func(rec store.Record) {
		ev.mu.Lock()
		defer ev.mu.Unlock()
		ev.keys = append(ev.keys, rec.Key)
	})
	return ev
}

// want fails if other keys were evicted since the last call.
func (ev *evictions) want(t *testing.T, keys ...string) {
	t.Helper()
	if !slices.Equal(ev.keys, keys) {
		t.Errorf("evicted %q, want %q", ev.keys, keys)
	}
	ev.keys = nil
}

// inTurn creates records, one each second.
func inTurn(t *testing.T, s *memstore.Store, recs ...store.Record) {
	t.Helper()
	for _, rec := range recs {
		create(t, s, rec)
		time.Sleep(time.Second)
	}
}

func TestMaxSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{MaxSessions: 3})
		ev := watch(s)
		inTurn(t, s, anonymous("a"), anonymous("b"), anonymous("c"))
		ev.want(t)
		inTurn(t, s, anonymous("d"))
		ev.want(t, "a")
		if got, want := keys(t, s), []string{"b", "c", "d"}; !slices.Equal(got, want) {
			t.Errorf("got records %q, want %q", got, want)
		}
		check(t, s)
	})
}

// size is what a record counts against MaxBytes, as documented there.
func size(rec store.Record) int64 {
	return int64(128 + len(rec.Key) + len(rec.Principal) + len(rec.Label) + len(rec.MovedTo) + len(rec.Handle) +
		len(rec.Data))
}

func TestMaxBytes(t *testing.T) {
	t.Parallel()
	a, b, c := anonymous("a"), loggedIn("b", "ada"), tombstone(anonymous("c"), store.Renewed)
	a.Label = "a label"
	all := size(a) + size(b) + size(c)
	for _, test := range []struct {
		max  int64
		want []string
	}{
		{all, nil},
		{all - 1, []string{"a"}},
	} {
		s := memstore.New(&memstore.Options{MaxBytes: test.max})
		ev := watch(s)
		create(t, s, a, c, b)
		ev.want(t, test.want...)
		check(t, s)
	}
}

func TestReplaceKeepsMaxBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, c := anonymous("a"), anonymous("b"), anonymous("c")
		s := memstore.New(&memstore.Options{MaxBytes: size(a) + size(b) + size(c) + 10})
		ev := watch(s)
		inTurn(t, s, a, b, c)
		grow := func(rec store.Record, by int) {
			t.Helper()
			rec.Data = append(slices.Clone(rec.Data), make([]byte, by)...)
			if err := s.Replace(t.Context(), rec, rec.Version); err != nil {
				t.Fatalf("Replace: %v", err)
			}
			check(t, s)
			time.Sleep(time.Second)
		}
		grow(b, 10)
		ev.want(t)
		grow(b, 11)
		ev.want(t, "a")
		grow(b, 10+int(size(a)))
		ev.want(t)
		grow(c, 1) // b is used more recently, and c itself stays
		ev.want(t, "b")
		grow(c, 10+int(size(a)+size(b)))
		ev.want(t)
		grow(c, 0)
		inTurn(t, s, a, b)
		ev.want(t)
	})
}

// A record that grows is in use, though it was the least recently used one: the next one goes.
func TestReplaceEvictsTheNextOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		s := memstore.New(&memstore.Options{MaxBytes: n * size(anonymous("key-100"))})
		ev := watch(s)
		for i := range n {
			inTurn(t, s, anonymous(fmt.Sprint("key-", 100+i)))
		}
		for i := range 10 {
			rec := anonymous(fmt.Sprint("key-", 100+2*i))
			rec.Data = make([]byte, len(rec.Data)+int(size(rec)))
			if err := s.Replace(t.Context(), rec, 1); err != nil {
				t.Fatalf("Replace: %v", err)
			}
			ev.want(t, fmt.Sprint("key-", 101+2*i))
			time.Sleep(time.Second)
		}
		check(t, s)
	})
}

// It does not evict itself when everything else is used in the moment before.
func TestReplaceDoesNotEvictItself(t *testing.T) {
	t.Parallel()
	growing, other := anonymous("growing"), anonymous("other")
	grown := growing
	grown.Data = append(slices.Clone(growing.Data), ' ')
	s := memstore.New(&memstore.Options{MaxBytes: size(growing) + size(other)})
	create(t, s, growing)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			s.Load(ctx, other.Key)
		}
	})
	for range 2000 {
		create(t, s, other)
		if err := s.Replace(ctx, grown, 1); err != nil {
			t.Errorf("growing: got error %v, want none", err)
			break
		}
		if err := s.Replace(ctx, growing, 1); err != nil {
			t.Errorf("shrinking: got error %v, want none", err)
			break
		}
	}
	cancel()
	wg.Wait()
	check(t, s)
}

// The only live anonymous session grows: a tombstone goes for it.
func TestReplaceEvictsOfTheNextGroup(t *testing.T) {
	t.Parallel()
	visitor, dead := anonymous("visitor"), tombstone(anonymous("dead"), store.Renewed)
	s := memstore.New(&memstore.Options{MaxBytes: size(visitor) + size(dead)})
	ev := watch(s)
	create(t, s, visitor, dead)
	visitor.Data = append(visitor.Data, ' ')
	if err := s.Replace(t.Context(), visitor, 1); err != nil {
		t.Fatalf("Replace: %v", err)
	}
	ev.want(t, "dead")
	check(t, s)
}

func TestRecordOverMaxBytesIsRefusedAndNothingEvicted(t *testing.T) {
	t.Parallel()
	limit := size(loggedIn("a", "ada"))
	s := memstore.New(&memstore.Options{MaxBytes: limit})
	ev := watch(s)
	kept := loggedIn("a", "ada")
	create(t, s, kept)
	big := loggedIn("b", "ada")
	big.Data = append(big.Data, ' ')
	for name, err := range map[string]error{
		"Create":  s.Create(t.Context(), big),
		"Replace": s.Replace(t.Context(), func() store.Record { big.Key = "a"; return big }(), 1),
	} {
		want := fmt.Sprintf("memstore: record of %d bytes is over MaxBytes %d: store less or raise it", limit+1, limit)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got error %v, want %q", name, err, want)
		}
	}
	ev.want(t)
	got, _ := s.Load(t.Context(), "a")
	wantSame(t, got, kept)
	other := loggedIn("c", "ada")
	create(t, s, other)
	ev.want(t, "a")
}

func TestDefaultAndNegativeBounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		opts           *memstore.Options
		records, bytes int64
	}{
		{nil, 1_000_000, 512 << 20},
		{&memstore.Options{}, 1_000_000, 512 << 20},
		{&memstore.Options{MaxSessions: 1, MaxBytes: 2}, 1, 2},
		{&memstore.Options{MaxSessions: -1, MaxBytes: -1}, 1 << 30, math.MaxInt64},
		{&memstore.Options{MaxSessions: math.MaxInt, MaxBytes: math.MaxInt64}, 1 << 30, math.MaxInt64},
	} {
		if records, bytes := memstore.New(test.opts).Bounds(); records != test.records || bytes != test.bytes {
			t.Errorf("%+v: bounds are %d records and %d bytes, want %d and %d", test.opts, records, bytes, test.records,
				test.bytes)
		}
	}
}

func TestOrderOfEviction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{MaxSessions: 9})
		ev := watch(s)
		expired := loggedIn("expired", "ada")
		expired.ExpiresAt = time.Now().Add(9 * time.Second)
		inTurn(t, s,
			tombstone(loggedIn("ada-ended", "ada"), store.Ended), loggedIn("ada", "ada"),
			tombstone(anonymous("moved"), store.Replaced), tombstone(anonymous("ended"), store.Ended),
			anonymous("anon-1"), anonymous("anon-2"), loggedIn("bob", "bob"), anonymous("anon-3"), expired)
		// Used again: the least recently used of the tombstones and of the users are now the others.
		if _, err := s.Load(t.Context(), "moved"); err != nil {
			t.Fatalf("Load: %v", err)
		}
		if err := s.Touch(t.Context(), "ada-ended", 1, time.Now(), time.Now().Add(time.Hour)); err != nil {
			t.Fatalf("Touch: %v", err)
		}
		rec := anonymous("anon-1")
		if err := s.Replace(t.Context(), rec, 1); err != nil {
			t.Fatalf("Replace: %v", err)
		}
		for i, want := range [][]string{
			nil, // the expired one goes, which is no eviction
			{"anon-2"}, {"anon-3"}, {"anon-1"}, {"ended"}, {"moved"}, {"ada"}, {"bob"}, {"ada-ended"},
			{"new-0"}, {"new-1"},
		} {
			time.Sleep(time.Second)
			create(t, s, loggedIn(fmt.Sprint("new-", i), "cy"))
			ev.want(t, want...)
			check(t, s)
		}
	})
}

// The shards are local, the order is not: with many records in all shards it is the same as in one list.
func TestLeastRecentlyUsedOfAllShards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		s := memstore.New(&memstore.Options{MaxSessions: n})
		ev := watch(s)
		for i := range n {
			inTurn(t, s, anonymous(fmt.Sprint("key-", i)))
		}
		want := []string{}
		for i := range n {
			if i%3 == 0 {
				if _, err := s.Load(t.Context(), fmt.Sprint("key-", i)); err != nil {
					t.Fatalf("Load: %v", err)
				}
				time.Sleep(time.Second)
			} else {
				want = append(want, fmt.Sprint("key-", i))
			}
		}
		for i := range want {
			inTurn(t, s, anonymous(fmt.Sprint("new-", i)))
		}
		ev.want(t, want...)
		check(t, s)
	})
}

// Listing is no use of a session: an administrator's page must not decide who is evicted.
func TestListingIsNoUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{MaxSessions: 2})
		ev := watch(s)
		inTurn(t, s, loggedIn("a", "ada"), loggedIn("b", "bob"))
		collect(t, s.Principal(t.Context(), "ada"))
		inTurn(t, s, loggedIn("c", "cy"))
		ev.want(t, "a")
	})
}

func TestVisitorsDoNotPushUsersOut(t *testing.T) {
	t.Parallel()
	s := memstore.New(&memstore.Options{MaxSessions: 2})
	ev := watch(s)
	create(t, s, loggedIn("a", "ada"), tombstone(loggedIn("b", "bob"), store.Ended))
	for _, rec := range []store.Record{anonymous("new"), tombstone(anonymous("new"), store.Renewed)} {
		err := s.Create(t.Context(), rec)
		want := "memstore: no room: users who are logged in take up MaxSessions 2 or MaxBytes 536870912: raise it"
		if err == nil || err.Error() != want {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	ev.want(t)
	if got, want := keys(t, s), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got records %q, want %q", got, want)
	}
	check(t, s)
	create(t, s, loggedIn("c", "cy"))
	if len(ev.keys) != 1 {
		t.Errorf("a user evicted %d records, want 1", len(ev.keys))
	}
	check(t, s)
}

// What visitors leave behind does not lock them out.
func TestVisitorsReplaceVisitorsTombstones(t *testing.T) {
	t.Parallel()
	s := memstore.New(&memstore.Options{MaxSessions: 2})
	ev := watch(s)
	create(t, s, loggedIn("a", "ada"), tombstone(anonymous("b"), store.Replaced))
	create(t, s, anonymous("c"))
	ev.want(t, "b")
	create(t, s, anonymous("d"))
	ev.want(t, "c")
	check(t, s)
}

// A visitor's session that can't grow stays as it was; it may not evict itself.
func TestRefusedReplaceLeavesTheRecord(t *testing.T) {
	t.Parallel()
	user, visitor := loggedIn("user", "ada"), anonymous("visitor")
	s := memstore.New(&memstore.Options{MaxBytes: size(user) + size(visitor)})
	ev := watch(s)
	create(t, s, user, visitor)
	grown := visitor
	grown.Version, grown.Data = 2, append(slices.Clone(visitor.Data), ' ')
	if err := s.Replace(t.Context(), grown, 1); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got error %v, want one that says there is no room", err)
	}
	ev.want(t)
	got, err := s.Load(t.Context(), "visitor")
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	wantSame(t, got, visitor)
	check(t, s)
}

// A visitor's session that is too large for the room that users leave does not push other visitors out in vain.
func TestRefusedWriteEvictsNothing(t *testing.T) {
	t.Parallel()
	user, visitor, big := loggedIn("user", "ada"), anonymous("visitor"), anonymous("big")
	big.Data = make([]byte, 100)
	s := memstore.New(&memstore.Options{MaxBytes: size(user) + size(big) - 1})
	ev := watch(s)
	create(t, s, user, visitor)
	if err := s.Create(t.Context(), big); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got error %v, want one that says there is no room", err)
	}
	ev.want(t)
	big.Data = big.Data[1:]
	create(t, s, big)
	ev.want(t, "visitor")
	check(t, s)
}

// A write that can't succeed evicts nothing.
func TestFailedWritesEvictNothing(t *testing.T) {
	t.Parallel()
	a, b := loggedIn("a", "ada"), anonymous("b")
	s := memstore.New(&memstore.Options{MaxSessions: 2, MaxBytes: size(a) + size(b)})
	ev := watch(s)
	create(t, s, a, b)
	grown := a
	grown.Data = append(slices.Clone(a.Data), ' ')
	if err := s.Create(t.Context(), grown); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create: got error %v, want ErrExists", err)
	}
	if err := s.Replace(t.Context(), grown, 9); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Replace: got error %v, want ErrConflict", err)
	}
	grown.Key = "new"
	if err := s.Replace(t.Context(), grown, 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Replace: got error %v, want ErrNotFound", err)
	}
	ev.want(t)
}

func TestOnEvict(t *testing.T) {
	t.Parallel()
	s := memstore.New(&memstore.Options{MaxSessions: 1})
	var first, second []store.Record
	cancelFirst := s.OnEvict(func(rec store.Record) { first = append(first, rec) })
	s.OnEvict(func(rec store.Record) {
		second = append(second, rec)
		// No lock is held: any method may be called.
		if _, err := s.Load(t.Context(), rec.Key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load of an evicted record: got error %v, want ErrNotFound", err)
		}
		collect(t, s.All(t.Context()))
		if err := s.Delete(t.Context(), rec.Key); err != nil {
			t.Errorf("Delete: %v", err)
		}
	})
	a := loggedIn("a", "ada")
	a.Label = "Firefox"
	create(t, s, a, loggedIn("b", "bob"))
	cancelFirst()
	cancelFirst()
	create(t, s, loggedIn("c", "cy"))
	if len(first) != 1 || len(second) != 2 {
		t.Fatalf("got %d and %d calls, want 1 and 2", len(first), len(second))
	}
	if first[0].Data != nil {
		t.Error("an evicted record has data")
	}
	a.Data = nil
	wantSame(t, first[0], a)
}

// Many writers meet at the bounds: these hold at every moment, and no user goes while a visitor is there.
func TestBoundsUnderManyWriters(t *testing.T) {
	t.Parallel()
	const bound, users, writers, rounds = 400, 399, 64, 200
	s := memstore.New(&memstore.Options{MaxSessions: bound})
	for i := range users {
		create(t, s, loggedIn(fmt.Sprint("user-", i), "ada"))
	}
	for i := range bound - users {
		create(t, s, anonymous(fmt.Sprint("visitor-", i)))
	}
	var evicted atomic.Int64
	s.OnEvict(func(rec store.Record) {
		evicted.Add(1)
		if rec.Principal != "" {
			t.Error("a user was evicted while visitors were there")
		}
	})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				if err := s.Create(t.Context(), anonymous(fmt.Sprint("new-", w, "-", i))); err != nil {
					t.Errorf("Create: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(keys(t, s)); got != bound {
		t.Errorf("got %d records, want %d", got, bound)
	}
	if got, want := evicted.Load(), int64(writers*rounds); got != want {
		t.Errorf("%d records were evicted for %d new ones", got, want)
	}
	check(t, s)
}

// With room for one record every write is in the way of all others, and none may fail.
func TestRoomForOneUnderManyWriters(t *testing.T) {
	t.Parallel()
	for _, principal := range []string{"", "ada"} {
		s := memstore.New(&memstore.Options{MaxSessions: 1})
		var wg sync.WaitGroup
		for w := range 64 {
			wg.Go(func() {
				for i := range 100 {
					if err := s.Create(t.Context(), loggedIn(fmt.Sprint(w, "-", i), principal)); err != nil {
						t.Errorf("Create: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if got := len(keys(t, s)); got != 1 {
			t.Errorf("got %d records, want 1", got)
		}
		check(t, s)
	}
}
