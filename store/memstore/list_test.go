package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// collect returns the sorted keys of seq and fails at an error, a repeated key, or data.
func collect(t *testing.T, seq iter.Seq2[store.Record, error]) []string {
	t.Helper()
	keys := []string{}
	for rec, err := range seq {
		if err != nil {
			t.Fatalf("got error %v, want none", err)
		}
		if rec.Data != nil {
			t.Error("a listed record has data")
		}
		keys = append(keys, rec.Key)
	}
	slices.Sort(keys)
	if n := len(keys); len(slices.Compact(slices.Clone(keys))) != n {
		t.Error("a record was listed twice")
	}
	return keys
}

func TestListingYieldsEachRecordOnceWithoutData(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	var all, adas []string
	for i := range 20_000 {
		rec := anonymous(fmt.Sprint("key-", i))
		switch i % 4 {
		case 0:
			rec = loggedIn(rec.Key, "ada")
		case 1:
			rec = tombstone(loggedIn(rec.Key, "ada"), store.Renewed)
		case 2:
			rec = loggedIn(rec.Key, fmt.Sprint("user-", i))
		}
		if rec.Principal == "ada" {
			adas = append(adas, rec.Key)
		}
		all = append(all, rec.Key)
		create(t, s, rec)
	}
	slices.Sort(all)
	slices.Sort(adas)
	if got := collect(t, s.All(t.Context())); !slices.Equal(got, all) {
		t.Errorf("All yields %d records, want %d", len(got), len(all))
	}
	if got := collect(t, s.Principal(t.Context(), "ada")); !slices.Equal(got, adas) {
		t.Errorf("Principal yields %d records, want %d", len(got), len(adas))
	}
	if got := collect(t, s.Principal(t.Context(), "user-2")); !slices.Equal(got, []string{"key-2"}) {
		t.Errorf("Principal yields %q, want key-2", got)
	}
	for _, principal := range []string{"", "nobody", "ad", "adaa"} {
		if got := collect(t, s.Principal(t.Context(), principal)); len(got) != 0 {
			t.Errorf("principal %q: got %d records, want none", principal, len(got))
		}
	}
}

func TestListedRecordsComeBackAsGiven(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	want := tombstone(loggedIn("k", "ada"), store.Replaced)
	want.Label = "Firefox on Windows"
	create(t, s, want)
	for name, seq := range map[string]iter.Seq2[store.Record, error]{
		"All": s.All(t.Context()), "Principal": s.Principal(t.Context(), "ada"),
	} {
		n := 0
		for got, err := range seq {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			wantSame(t, got, want)
			n++
		}
		if n != 1 {
			t.Errorf("%s yields %d records, want 1", name, n)
		}
	}
}

// The index follows the record, also through a change of principal, which the contract rules out.
func TestPrincipalFollowsReplaceAndDelete(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	create(t, s, anonymous("k"), loggedIn("other", "ada"))
	for i, principal := range []string{"ada", "ada", "bob", "", "ada"} {
		rec := loggedIn("k", principal)
		rec.Version = uint64(i + 2)
		if err := s.Replace(t.Context(), rec, uint64(i+1)); err != nil {
			t.Fatalf("Replace: %v", err)
		}
		check(t, s)
		for _, p := range []string{"ada", "bob"} {
			got := slices.Contains(collect(t, s.Principal(t.Context(), p)), "k")
			if want := p == principal; got != want {
				t.Errorf("principal is %q: listed under %q: %v, want %v", principal, p, got, want)
			}
		}
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if got, want := collect(t, s.Principal(t.Context(), "ada")), []string{"other"}; !slices.Equal(got, want) {
		t.Errorf("got records %q, want %q", got, want)
	}
	check(t, s)
}

func TestAnyMethodInsideALoop(t *testing.T) {
	t.Parallel()
	const n = 2000
	for _, list := range []struct {
		name string
		seq  func(*memstore.Store) iter.Seq2[store.Record, error]
	}{
		{"All", func(s *memstore.Store) iter.Seq2[store.Record, error] { return s.All(t.Context()) }},
		{"Principal", func(s *memstore.Store) iter.Seq2[store.Record, error] {
			return s.Principal(t.Context(), "ada")
		}},
	} {
		s := memstore.New(nil)
		for i := range n {
			create(t, s, loggedIn(fmt.Sprint("old-", i), "ada"))
		}
		yielded := map[string]int{}
		for rec, err := range list.seq(s) {
			if err != nil {
				t.Fatalf("%s: %v", list.name, err)
			}
			yielded[rec.Key]++
			if rec.Key[:3] == "new" {
				continue
			}
			// Another record takes the slot of the deleted one.
			if err := s.Delete(t.Context(), rec.Key); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			create(t, s, loggedIn("new-"+rec.Key, "ada"))
			if _, err := s.Load(t.Context(), rec.Key); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Load: got error %v, want ErrNotFound", err)
			}
			for range list.seq(s) {
				break
			}
		}
		for i := range n {
			if got := yielded[fmt.Sprint("old-", i)]; got != 1 {
				t.Errorf("%s yields an old record %d times, want once", list.name, got)
			}
		}
		if got := len(keys(t, s)); got != n {
			t.Errorf("%s: %d records after the loop, want %d", list.name, got, n)
		}
		check(t, s)
	}
}

// Records of others that take the place of a principal's records during the loop are not taken for the principal's.
func TestPrincipalYieldsNoOthers(t *testing.T) {
	t.Parallel()
	const n = 10_000
	s := memstore.New(nil)
	for i := range n {
		create(t, s, loggedIn(fmt.Sprint("ada-", i), "ada"))
	}
	yielded := 0
	for rec, err := range s.Principal(t.Context(), "ada") {
		if err != nil || rec.Principal != "ada" {
			t.Fatalf("got a record of another principal: %v, error %v", rec.Principal != "ada", err)
		}
		if yielded++; yielded > 1 {
			continue
		}
		for i := range n {
			if err := s.Delete(t.Context(), fmt.Sprint("ada-", i)); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			create(t, s, loggedIn(fmt.Sprint("bob-", i), "bob"))
		}
	}
	if yielded == 0 || yielded > n/100 {
		t.Errorf("got %d records, want some of the first shard", yielded)
	}
}

// What is there from beginning to end is yielded exactly once, whatever others do meanwhile.
func TestListingDuringWrites(t *testing.T) {
	t.Parallel()
	const n = 1000
	s := memstore.New(nil)
	want := []string{}
	for i := range n {
		rec := loggedIn(fmt.Sprint("stays-", i), "ada")
		create(t, s, loggedIn(fmt.Sprint("gap-", i), "ada"), rec)
		want = append(want, rec.Key)
	}
	slices.Sort(want)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := g; ctx.Err() == nil; i++ {
				s.Delete(ctx, fmt.Sprint("gap-", i%n))
				s.Create(ctx, loggedIn(fmt.Sprint("gap-", (i+7)%n), "ada"))
				rec := loggedIn(fmt.Sprint("stays-", i%n), "ada")
				s.Replace(ctx, rec, rec.Version)
			}
		})
	}
	for range 20 {
		for name, seq := range map[string]iter.Seq2[store.Record, error]{
			"All": s.All(ctx), "Principal": s.Principal(ctx, "ada"),
		} {
			got := []string{}
			for rec, err := range seq {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if rec.Key[0] == 's' {
					got = append(got, rec.Key)
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s yields %d of the records that stay, want %d, each once", name, len(got), len(want))
			}
		}
	}
	cancel()
	wg.Wait()
	check(t, s)
}

func TestListingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := memstore.New(nil)
	for i := range 500 {
		create(t, s, loggedIn(fmt.Sprint(i), "ada"))
	}
	for _, before := range []int{0, 1, 499} {
		for name, list := range map[string]func(context.Context) iter.Seq2[store.Record, error]{
			"All":       s.All,
			"Principal": func(ctx context.Context) iter.Seq2[store.Record, error] { return s.Principal(ctx, "ada") },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			if before == 0 {
				cancel()
			}
			records, errs := 0, 0
			for rec, err := range list(ctx) {
				if err == nil {
					if records++; records == before {
						cancel()
					}
					continue
				}
				errs++
				if !errors.Is(err, context.Canceled) || rec.Key != "" {
					t.Errorf("%s: got error %v with a record %v, want context.Canceled and none", name,
						err, rec.Key != "")
				}
			}
			if records != before || errs != 1 {
				t.Errorf("%s: got %d records and %d errors, want %d and 1", name, records, errs, before)
			}
			cancel()
		}
	}
}

func TestListingNothingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := memstore.New(nil)
	for name, seq := range map[string]iter.Seq2[store.Record, error]{"All": s.All(ctx),
		"Principal": s.Principal(ctx, "ada")} {
		var got []error
		for _, err := range seq {
			got = append(got, err)
		}
		if len(got) != 1 || !errors.Is(got[0], context.Canceled) {
			t.Errorf("%s: got errors %v, want context.Canceled once", name, got)
		}
	}
}
