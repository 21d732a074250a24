package redisstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// What the tests of this file look at: the index of rec's principal, as it is named on the server.
func indexOf(rec store.Record) string { return "hipflask:p:" + rec.Principal }

// The index entry outlasts the record, as the record is written and whenever it is given a longer life.
func TestIndexEntryOutlastsTheRecord(t *testing.T) {
	t.Parallel()
	s, client := open(t, redis().URL, nil), raw(t, redis().Addr)
	rec := record(time.Minute)
	outlasts := func(when string) {
		t.Helper()
		ends := number(t, client, "ZSCORE", indexOf(rec), rec.Key)
		ends *= 1000
		if lives := time.Now().UnixMilli() + number(t, client, "PTTL", "hipflask:s:"+rec.Key); ends < lives {
			t.Errorf("%s: the index entry ends %v before the record", when, time.Duration(lives-ends)*time.Millisecond)
		}
		if index := number(t, client, "PTTL", indexOf(rec)); index < 0 || time.Now().UnixMilli()+index < ends-1000 {
			t.Errorf("%s: the index has %d ms left, its entry ends at %d", when, index, ends)
		}
	}
	must(t, s.Create(t.Context(), rec))
	outlasts("after Create")
	must(t, s.Touch(t.Context(), rec.Key, rec.Version, time.Now(), time.Now().Add(time.Hour)))
	outlasts("after Touch")
	next := rec
	next.Version, next.ExpiresAt = 2, time.Now().Add(1000*time.Hour)
	must(t, s.Replace(t.Context(), next, rec.Version))
	outlasts("after Replace")
	next.ExpiresAt = time.Now().Add(time.Minute)
	must(t, s.Touch(t.Context(), rec.Key, 2, time.Now(), next.ExpiresAt))
	outlasts("after a Touch to a shorter life")
}

// An index that was lost (evicted, deleted, or not replicated before a failover) is made again by the first write that
// gives the record more life than its entry had.
func TestIndexHeals(t *testing.T) {
	t.Parallel()
	s, client := open(t, redis().URL, nil), raw(t, redis().Addr)
	writes := map[string]func(rec store.Record) error{
		"Touch": func(rec store.Record) error {
			return s.Touch(t.Context(), rec.Key, rec.Version, time.Now(), time.Now().Add(2*time.Hour))
		},
		"Replace": func(rec store.Record) error {
			next := rec
			next.Version, next.ExpiresAt = 2, time.Now().Add(2*time.Hour)
			return s.Replace(t.Context(), next, rec.Version)
		},
	}
	for name, write := range writes {
		rec := record(time.Hour)
		must(t, s.Create(t.Context(), rec))
		do(t, client, "DEL", indexOf(rec))
		if got := listed(t, s, rec.Principal); len(got) != 0 {
			t.Fatalf("got %d records without an index, want 0", len(got))
		}
		must(t, write(rec))
		if got := listed(t, s, rec.Principal); len(got) != 1 || got[0] != rec.Key {
			t.Errorf("after %s: got %d records in the list, want the one that was written", name, len(got))
		}
	}
}

// Who logs in and out all day leaves no entries behind, and who is gone no index.
func TestIndexIsReleased(t *testing.T) {
	t.Parallel()
	s, client := open(t, redis().URL, nil), raw(t, redis().Addr)
	rec := record(30 * 24 * time.Hour)
	must(t, s.Create(t.Context(), rec))
	must(t, s.Replace(t.Context(), tombstone(rec), rec.Version))
	if got := listed(t, s, rec.Principal); len(got) != 1 {
		t.Errorf("after a logout: got %d records in the list, want the tombstone", len(got))
	}
	if ttl := number(t, client, "PTTL", indexOf(rec)); ttl < 119_000 || ttl > 250_000 {
		t.Errorf("after a logout: the index has %d ms left, want a little more than the tombstone's 120000", ttl)
	}
	other := record(time.Hour)
	other.Principal = rec.Principal
	must(t, s.Create(t.Context(), other))
	must(t, s.Delete(t.Context(), rec.Key))
	if n := number(t, client, "ZCARD", indexOf(rec)); n != 1 {
		t.Errorf("after Delete of one of two records: got %d entries, want 1", n)
	}
	must(t, s.Delete(t.Context(), other.Key))
	if n := number(t, client, "EXISTS", indexOf(rec)); n != 0 {
		t.Errorf("after Delete of the last record the index is still there")
	}
}

// Entries whose end has come are removed by later writes to the index, even where nobody released them.
func TestIndexIsTidied(t *testing.T) {
	t.Parallel()
	s, client := open(t, redis().URL, nil), raw(t, redis().Addr)
	rec := record(time.Hour)
	for i := range 150 {
		do(t, client, "ZADD", indexOf(rec), fmt.Sprint(time.Now().Unix()-1-int64(i)), fmt.Sprint("old-", i))
	}
	const writes = 16 // each eighth tidies, at most 100 at a time
	for range writes {
		must(t, s.Create(t.Context(), rec))
		rec.Key += "x"
	}
	if n := number(t, client, "ZCARD", indexOf(rec)); n != writes {
		t.Errorf("got %d entries, want the %d of records", n, writes)
	}
}

// A long principal is not in the name of its index as well as in the record. Principals with a common start have
// indexes of their own.
func TestIndexOfLongPrincipals(t *testing.T) {
	t.Parallel()
	s, client := open(t, redis().URL, nil), raw(t, redis().Addr)
	start := strings.Repeat("p", store.MaxPrincipal-1)
	first, second := record(time.Hour), record(time.Hour)
	first.Principal, second.Principal = start+"1", start+"2"
	must(t, s.Create(t.Context(), first))
	must(t, s.Create(t.Context(), second))
	if n := number(t, client, "EXISTS", indexOf(first)); n != 0 {
		t.Error("the index is named by the whole principal")
	}
	if got := listed(t, s, first.Principal); len(got) != 1 || got[0] != first.Key {
		t.Errorf("got %d records of a long principal, want its own", len(got))
	}
	must(t, s.Replace(t.Context(), tombstone(first), first.Version))
	must(t, s.Delete(t.Context(), first.Key))
	if got := listed(t, s, first.Principal); len(got) != 0 {
		t.Errorf("got %d records after Delete, want 0", len(got))
	}
}
