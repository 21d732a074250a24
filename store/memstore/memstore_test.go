package memstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
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

var (
	_ store.Store   = (*memstore.Store)(nil)
	_ store.Lister  = (*memstore.Store)(nil)
	_ store.Sweeper = (*memstore.Store)(nil)
	_ store.Evicter = (*memstore.Store)(nil)
)

// anonymous returns a live record without a principal that expires in an hour.
func anonymous(key string) store.Record {
	now := time.Now()
	return store.Record{
		Key: key, Version: 1, Handle: "handle-" + key, Data: []byte(`{"a":1}`),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(time.Hour),
	}
}

func loggedIn(key, principal string) store.Record {
	rec := anonymous(key)
	rec.Principal = principal
	return rec
}

func tombstone(rec store.Record, kind store.Kind) store.Record {
	rec.Kind, rec.Data = kind, nil
	if kind != store.Ended {
		rec.MovedTo = "next-" + rec.Key
	}
	return rec
}

func create(t testing.TB, s store.Store, recs ...store.Record) {
	t.Helper()
	for _, rec := range recs {
		if err := s.Create(t.Context(), rec); err != nil {
			t.Fatalf("Create: %v", err)
		}
	}
}

// has reports whether a record is there without using it.
func has(t testing.TB, s *memstore.Store, key string) bool {
	t.Helper()
	return slices.Contains(keys(t, s), key)
}

// keys returns the keys of all records, sorted.
func keys(t testing.TB, s *memstore.Store) []string {
	t.Helper()
	var keys []string
	for rec, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatalf("All: %v", err)
		}
		keys = append(keys, rec.Key)
	}
	slices.Sort(keys)
	return keys
}

// check fails if anything inside s contradicts the records.
func check(t testing.TB, s *memstore.Store) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Errorf("store is inconsistent: %v", err)
	}
}

func wantSame(t testing.TB, got, want store.Record) {
	t.Helper()
	for _, times := range []*store.Record{&got, &want} {
		times.CreatedAt = time.UnixMilli(times.CreatedAt.UnixMilli())
		times.LastSeenAt = time.UnixMilli(times.LastSeenAt.UnixMilli())
		times.ExpiresAt = time.UnixMilli(times.ExpiresAt.UnixMilli())
		times.Data = append([]byte{}, times.Data...)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got record %+v, want %+v", got, want)
	}
}

func TestRecordsComeBackAsGiven(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	empty := store.Record{Key: "e", Version: 1<<63 - 1, ExpiresAt: time.Now().Add(time.Hour)}
	long := store.Record{
		Key:       strings.Repeat("k", store.MaxKey),
		Version:   1,
		Principal: strings.Repeat("p", store.MaxPrincipal),
		Label:     strings.Repeat("ł", store.MaxLabel/2),
		MovedTo:   strings.Repeat("m", store.MaxKey),
		Handle:    strings.Repeat("h", store.MaxKey),
		Kind:      store.Replaced,
		CreatedAt: time.Date(1, 1, 1, 0, 0, 0, 999_999, time.UTC),
		ExpiresAt: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		Data:      slices.Repeat([]byte{0, 255, '"'}, 100_000),
	}
	for _, rec := range []store.Record{anonymous("a"), loggedIn("b", "ada"), empty, long} {
		create(t, s, rec)
		got, err := s.Load(t.Context(), rec.Key)
		if err != nil {
			t.Fatalf("Load: %v", err)
		}
		wantSame(t, got, rec)

		rec.Version, rec.Label, rec.Data = rec.Version-1, "changed", []byte("longer than it was")
		if err := s.Replace(t.Context(), rec, rec.Version+1); err != nil {
			t.Fatalf("Replace: %v", err)
		}
		got, _ = s.Load(t.Context(), rec.Key)
		wantSame(t, got, rec)
	}
	check(t, s)
}

func TestTextsOverTheContractsLimitsAreRefused(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	create(t, s, anonymous("there"))
	for name, change := range map[string]func(*store.Record){
		"no key":    func(r *store.Record) { r.Key = "" },
		"key":       func(r *store.Record) { r.Key = strings.Repeat("secret", 22)[:store.MaxKey+1] },
		"principal": func(r *store.Record) { r.Principal = strings.Repeat("secret", 50)[:store.MaxPrincipal+1] },
		"label":     func(r *store.Record) { r.Label = strings.Repeat("secret", 50)[:store.MaxLabel+1] },
		"moved-to":  func(r *store.Record) { r.MovedTo = strings.Repeat("secret", 22)[:store.MaxKey+1] },
		"handle":    func(r *store.Record) { r.Handle = strings.Repeat("secret", 22)[:store.MaxKey+1] },
	} {
		rec := anonymous("new")
		change(&rec)
		err := s.Create(t.Context(), rec)
		if err == nil || !strings.HasPrefix(err.Error(), "memstore: record") ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got error %v, want one of memstore without the text", name, err)
		}
		rec = anonymous("there")
		change(&rec)
		if err := s.Replace(t.Context(), rec, 1); err == nil {
			t.Errorf("%s: Replace got no error, want one", name)
		}
	}
	if got, want := keys(t, s), []string{"there"}; !slices.Equal(got, want) {
		t.Errorf("got records %q, want %q", got, want)
	}
	if _, err := s.Load(t.Context(), strings.Repeat("k", 1000)); err != store.ErrNotFound {
		t.Errorf("Load of an overlong key: got error %v, want ErrNotFound", err)
	}
}

func TestCreateRefusesATakenKey(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	create(t, s, anonymous("live"), tombstone(loggedIn("dead", "ada"), store.Ended))
	for _, key := range []string{"live", "dead"} {
		rec := anonymous(key)
		rec.Version = 2
		if err := s.Create(t.Context(), rec); !errors.Is(err, store.ErrExists) {
			t.Errorf("got error %v, want ErrExists", err)
		}
		if got, _ := s.Load(t.Context(), key); got.Version != 1 {
			t.Errorf("got version %d after a refused Create, want 1", got.Version)
		}
	}
	check(t, s)
}

func TestReplaceComparesAndNeverCreates(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	rec := anonymous("k")
	if err := s.Replace(t.Context(), rec, 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("absent: got error %v, want ErrNotFound", err)
	}
	create(t, s, rec)
	next := rec
	next.Version = 2
	if err := s.Replace(t.Context(), next, 3); !errors.Is(err, store.ErrConflict) {
		t.Errorf("other version: got error %v, want ErrConflict", err)
	}
	if err := s.Replace(t.Context(), next, 1); err != nil {
		t.Errorf("right version: got error %v, want none", err)
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if err := s.Replace(t.Context(), next, 2); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: got error %v, want ErrNotFound", err)
	}
	if got := keys(t, s); len(got) != 0 {
		t.Errorf("got records %q, want none", got)
	}
	check(t, s)
}

func TestTouchMovesTimesOnly(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	rec := loggedIn("k", "ada")
	seen, expires := rec.LastSeenAt.Add(time.Minute), rec.ExpiresAt.Add(time.Minute)
	if err := s.Touch(t.Context(), "k", 1, seen, expires); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("absent: got error %v, want ErrNotFound", err)
	}
	create(t, s, rec)
	if err := s.Touch(t.Context(), "k", 2, seen, expires); !errors.Is(err, store.ErrConflict) {
		t.Errorf("other version: got error %v, want ErrConflict", err)
	}
	got, _ := s.Load(t.Context(), "k")
	wantSame(t, got, rec)
	if err := s.Touch(t.Context(), "k", 1, seen, expires); err != nil {
		t.Errorf("right version: got error %v, want none", err)
	}
	rec.LastSeenAt, rec.ExpiresAt = seen, expires
	got, _ = s.Load(t.Context(), "k")
	wantSame(t, got, rec)
	check(t, s)
}

func TestDeleteOfAnAbsentRecordIsNoError(t *testing.T) {
	t.Parallel()
	if err := memstore.New(nil).Delete(t.Context(), "k"); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

func TestNothingIsSharedWithTheCaller(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	given := anonymous("k")
	given.Data = []byte("given")
	create(t, s, given)
	copy(given.Data, "XXXXX")
	wantData := func(want string) {
		t.Helper()
		got, err := s.Load(t.Context(), "k")
		if err != nil || string(got.Data) != want {
			t.Errorf("got data %q, error %v, want %q", got.Data, err, want)
		}
		copy(got.Data, "YYYYYYYY") // seen by the next Load if it is not a copy
		_ = append(got.Data, "tail"...)
	}
	wantData("given")
	wantData("given")
	given.Data = []byte("replaced")
	if err := s.Replace(t.Context(), given, 1); err != nil {
		t.Fatalf("Replace: %v", err)
	}
	copy(given.Data, "XXXXXXXX")
	wantData("replaced")
	wantData("replaced")
}

func TestEndedContextIsAnErrorAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	rec := loggedIn("k", "ada")
	create(t, s, rec)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	changed := rec
	changed.Version = 2
	_, loadErr := s.Load(ctx, "k")
	_, sweepErr := s.Sweep(ctx, 1)
	for name, err := range map[string]error{
		"Load":    loadErr,
		"Create":  s.Create(ctx, anonymous("new")),
		"Replace": s.Replace(ctx, changed, 1),
		"Touch":   s.Touch(ctx, "k", 1, time.Now(), time.Now()),
		"Delete":  s.Delete(ctx, "k"),
		"Sweep":   sweepErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got error %v, want context.Canceled", name, err)
		}
	}
	got, err := s.Load(t.Context(), "k")
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	wantSame(t, got, rec)
	if got, want := keys(t, s), []string{"k"}; !slices.Equal(got, want) {
		t.Errorf("got records %q, want %q", got, want)
	}
}

// Of the writers that read the same version exactly one wins each round: no increment is lost, none is made twice.
func TestManyWritersOfOneRecord(t *testing.T) {
	t.Parallel()
	const writers, rounds = 64, 50
	s := memstore.New(nil)
	rec := loggedIn("k", "ada")
	rec.Data = []byte("0")
	create(t, s, rec)
	var versions atomic.Uint64
	versions.Store(1)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < rounds; {
				rec, err := s.Load(t.Context(), "k")
				if err != nil {
					t.Errorf("Load: %v", err)
					return
				}
				var n int
				fmt.Sscan(string(rec.Data), &n)
				base := rec.Version
				rec.Version, rec.Data = versions.Add(1), fmt.Append(nil, n+1)
				switch err := s.Replace(t.Context(), rec, base); {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("Replace: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	got, _ := s.Load(t.Context(), "k")
	if want := fmt.Sprint(writers * rounds); string(got.Data) != want {
		t.Errorf("got %s increments, want %s", got.Data, want)
	}
	check(t, s)
}

func TestManyCreatorsOfEachKey(t *testing.T) {
	t.Parallel()
	const creators, n = 64, 200
	s := memstore.New(nil)
	var created atomic.Int64
	var wg sync.WaitGroup
	for range creators {
		wg.Go(func() {
			for i := range n {
				switch err := s.Create(t.Context(), anonymous(fmt.Sprint(i))); {
				case err == nil:
					created.Add(1)
				case !errors.Is(err, store.ErrExists):
					t.Errorf("got error %v, want ErrExists", err)
				}
			}
		})
	}
	wg.Wait()
	if got := created.Load(); got != n {
		t.Errorf("%d creators succeeded, want %d", got, n)
	}
	check(t, s)
}

// Everything at once on few keys, under bounds that are always reached.
func TestManyGoroutinesOfAllKinds(t *testing.T) {
	t.Parallel()
	const goroutines, rounds = 64, 300
	s := memstore.New(&memstore.Options{MaxSessions: 50, MaxBytes: 50 * 300})
	cancel := s.OnEvict(func(rec store.Record) { s.Load(t.Context(), rec.Key) })
	defer cancel()
	var wg sync.WaitGroup
	for g := range goroutines {
		rnd := rand.New(rand.NewPCG(uint64(g), 0))
		wg.Go(func() {
			for range rounds {
				rec := anonymous(fmt.Sprint("key-", rnd.IntN(100)))
				if rnd.IntN(2) == 0 {
					rec.Principal = fmt.Sprint("user-", rnd.IntN(5))
				}
				rec.Data = make([]byte, rnd.IntN(300))
				rec.ExpiresAt = time.Now().Add(time.Duration(rnd.IntN(4)) * time.Millisecond)
				switch rnd.IntN(8) {
				case 0, 1, 2:
					s.Create(t.Context(), rec)
				case 3:
					if old, err := s.Load(t.Context(), rec.Key); err == nil {
						rec.Principal = old.Principal
						s.Replace(t.Context(), rec, old.Version)
					}
				case 4:
					s.Touch(t.Context(), rec.Key, 1, time.Now(), rec.ExpiresAt)
				case 5:
					s.Delete(t.Context(), rec.Key)
				case 6:
					s.Sweep(t.Context(), 3)
				case 7:
					for _, err := range s.Principal(t.Context(), rec.Principal) {
						if err != nil {
							t.Errorf("Principal: %v", err)
						}
					}
					keys(t, s)
				}
			}
		})
	}
	wg.Wait()
	check(t, s)
}

// A long random history agrees with a map, and everything inside agrees with the records after each part of it.
func TestAgreesWithAMap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const parts, steps = 20, 1000
		rnd := rand.New(rand.NewPCG(1, 2))
		s := memstore.New(nil)
		model := map[string]store.Record{}
		alive := func(key string) bool {
			rec, ok := model[key]
			return ok && time.Now().Before(rec.ExpiresAt)
		}
		version := uint64(0)
		for range parts * steps {
			version++
			key := sumKey(rnd.IntN(2000))
			rec := loggedIn(key, []string{"", "ada", "bob", "cy"}[int(key[0])%4])
			rec.Version, rec.Data = version, make([]byte, rnd.IntN(50))
			rec.ExpiresAt = time.Now().Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
			base := model[key].Version
			if rnd.IntN(4) == 0 {
				base++
			}
			want := error(nil)
			if !alive(key) {
				want = store.ErrNotFound
			} else if base != model[key].Version {
				want = store.ErrConflict
			}
			var got error
			switch rnd.IntN(6) {
			case 0, 1:
				if want = nil; alive(key) {
					want = store.ErrExists
				} else {
					model[key] = rec
				}
				got = s.Create(t.Context(), rec)
			case 2:
				if want == nil {
					model[key] = rec
				}
				got = s.Replace(t.Context(), rec, base)
			case 3:
				if want == nil {
					touched := model[key]
					touched.LastSeenAt, touched.ExpiresAt = rec.LastSeenAt, rec.ExpiresAt
					model[key] = touched
				}
				got = s.Touch(t.Context(), key, base, rec.LastSeenAt, rec.ExpiresAt)
			case 4:
				if want = nil; !alive(key) {
					want = store.ErrNotFound
				}
				var loaded store.Record
				if loaded, got = s.Load(t.Context(), key); got == nil {
					wantSame(t, loaded, model[key])
				}
			case 5:
				if want = nil; rnd.IntN(4) == 0 {
					delete(model, key)
					got = s.Delete(t.Context(), key)
				}
			}
			if !errors.Is(got, want) {
				t.Fatalf("step %d: got error %v, want %v", version, got, want)
			}
			time.Sleep(time.Duration(rnd.IntN(3)) * time.Millisecond)
			if version%steps != 0 {
				continue
			}
			check(t, s)
			s.Sweep(t.Context(), rnd.IntN(300))
			check(t, s)
			there := []string{}
			for key := range model {
				if alive(key) {
					there = append(there, key)
				}
			}
			slices.Sort(there)
			if got := keys(t, s); !slices.Equal(got, there) {
				t.Fatalf("step %d: got %d records, want %d", version, len(got), len(there))
			}
		}
	})
}

// sumKey returns a key as a session.Manager makes them.
func sumKey(n int) string {
	sum := sha256.Sum256(fmt.Append(nil, n))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// collision returns two texts that hash to the same number.
func collision(hash func(string) uint64) (a, b string) {
	seen := map[uint64]string{}
	for i := 0; ; i++ {
		text := fmt.Sprint("text-", i)
		h := hash(text)
		if other, found := seen[h]; found {
			return other, text
		}
		seen[h] = text
	}
}

func TestKeysOfOneHash(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	a, b := collision(s.KeyHash)
	for _, order := range [][2]string{{a, b}, {b, a}} {
		create(t, s, anonymous(a), anonymous(b))
		for _, key := range order {
			if err := s.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			if key == order[1] {
				break
			}
			if rec, err := s.Load(t.Context(), order[1]); err != nil || rec.Key != order[1] {
				t.Errorf("got record %q, error %v, want the record that is left", rec.Key, err)
			}
		}
	}
}

func TestPrincipalsOfOneHash(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	a, b := collision(s.PrincipalHash)
	for i := range 1000 { // so that both have records in each shard
		create(t, s, loggedIn(fmt.Sprint("a", i), a), loggedIn(fmt.Sprint("b", i), b))
	}
	for i := range 1000 {
		for rec, err := range s.Principal(t.Context(), a) {
			if err != nil || rec.Principal != a {
				t.Fatalf("got a record of somebody else, or error %v", err)
			}
			if i%100 != 0 { // listed as a whole now and then
				break
			}
		}
		if err := s.Delete(t.Context(), fmt.Sprint("a", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if n := len(collect(t, s.Principal(t.Context(), b))); n != 1000 {
		t.Errorf("got %d records of the other principal, want 1000", n)
	}
}
