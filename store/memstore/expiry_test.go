package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

func expiring(key string, in time.Duration) store.Record {
	rec := loggedIn(key, "ada")
	rec.ExpiresAt = time.Now().Add(in)
	return rec
}

// wantAbsent fails if any method finds the record.
func wantAbsent(t *testing.T, s *memstore.Store, rec store.Record) {
	t.Helper()
	if _, err := s.Load(t.Context(), rec.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load: got error %v, want ErrNotFound", err)
	}
	if err := s.Replace(t.Context(), rec, rec.Version); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Replace: got error %v, want ErrNotFound", err)
	}
	if err := s.Touch(t.Context(), rec.Key, rec.Version, time.Now(), time.Now().Add(time.Hour)); !errors.Is(err,
		store.ErrNotFound) {
		t.Errorf("Touch: got error %v, want ErrNotFound", err)
	}
	if has(t, s, rec.Key) {
		t.Error("All yields an expired record")
	}
	for range s.Principal(t.Context(), rec.Principal) {
		t.Error("Principal yields an expired record")
	}
}

func TestExpiredIsAbsentAtOnce(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(t *testing.T, s *memstore.Store, rec store.Record) error{
		"created": func(t *testing.T, s *memstore.Store, rec store.Record) error {
			return s.Create(t.Context(), rec)
		},
		"replaced, later": func(t *testing.T, s *memstore.Store, rec store.Record) error {
			create(t, s, expiring(rec.Key, time.Second))
			return s.Replace(t.Context(), rec, rec.Version)
		},
		"replaced, earlier": func(t *testing.T, s *memstore.Store, rec store.Record) error {
			create(t, s, expiring(rec.Key, time.Hour))
			return s.Replace(t.Context(), rec, rec.Version)
		},
		"touched, later": func(t *testing.T, s *memstore.Store, rec store.Record) error {
			create(t, s, expiring(rec.Key, time.Second))
			return s.Touch(t.Context(), rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		},
		"touched, earlier": func(t *testing.T, s *memstore.Store, rec store.Record) error {
			create(t, s, expiring(rec.Key, time.Hour))
			return s.Touch(t.Context(), rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := memstore.New(nil)
				rec := expiring("k", time.Minute)
				if err := write(t, s, rec); err != nil {
					t.Fatalf("write: %v", err)
				}
				time.Sleep(time.Minute - time.Millisecond)
				if _, err := s.Load(t.Context(), "k"); err != nil {
					t.Errorf("1 ms before: got error %v, want none", err)
				}
				if n, err := s.Sweep(t.Context(), 10); n != 0 || err != nil {
					t.Errorf("1 ms before: swept %d, error %v, want 0", n, err)
				}
				time.Sleep(time.Millisecond)
				wantAbsent(t, s, rec)
				if n, err := s.Sweep(t.Context(), 10); n != 1 || err != nil {
					t.Errorf("swept %d, error %v, want 1", n, err)
				}
				wantAbsent(t, s, rec)
				check(t, s)
			})
		})
	}
}

func TestExpiredBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	for _, in := range []time.Duration{0, -time.Nanosecond, -1 << 62} {
		s := memstore.New(nil)
		rec := expiring("k", in)
		create(t, s, rec)
		wantAbsent(t, s, rec)
		check(t, s)
	}
	s := memstore.New(nil)
	rec := loggedIn("k", "ada")
	rec.ExpiresAt = time.Time{}
	create(t, s, rec)
	wantAbsent(t, s, rec)
}

func TestCreateOverAnExpiredRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{MaxSessions: 1})
		create(t, s, expiring("k", time.Second))
		time.Sleep(time.Second)
		rec := anonymous("k")
		create(t, s, rec)
		got, err := s.Load(t.Context(), "k")
		if err != nil {
			t.Fatalf("Load: %v", err)
		}
		wantSame(t, got, rec)
		check(t, s)
	})
}

func TestFarFutureDoesNotExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		for i, at := range []time.Time{time.Now().AddDate(100, 0, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Unix(1<<60, 0)} {
			rec := anonymous(fmt.Sprint(i))
			rec.ExpiresAt = at
			create(t, s, rec)
		}
		time.Sleep(30 * 365 * 24 * time.Hour)
		if got := len(keys(t, s)); got != 3 {
			t.Errorf("got %d records after 30 years, want 3", got)
		}
		check(t, s)
	})
}

// The caller's clock only says how much time is left: a date without a monotonic reading works too.
func TestWallClockDates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		rec := anonymous("k")
		rec.ExpiresAt = time.Now().Round(0).Add(time.Minute).In(time.FixedZone("", 3600))
		create(t, s, rec)
		time.Sleep(time.Minute - time.Millisecond)
		if !has(t, s, "k") {
			t.Error("record is gone before its time")
		}
		time.Sleep(time.Millisecond)
		if has(t, s, "k") {
			t.Error("record is there after its time")
		}
	})
}

func TestSweepRemovesWhatExpiredAndNoMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		s := memstore.New(nil)
		for i := range n {
			create(t, s, expiring(fmt.Sprint("short-", i), time.Minute), expiring(fmt.Sprint("long-", i), time.Hour))
		}
		time.Sleep(time.Minute)
		for _, test := range []struct{ limit, want int }{{-1, 0}, {0, 0}, {1, 1}, {n - 2, n - 2}, {2, 1}, {n, 0}} {
			if got, err := s.Sweep(t.Context(), test.limit); got != test.want || err != nil {
				t.Errorf("limit %d: swept %d, error %v, want %d", test.limit, got, err, test.want)
			}
		}
		if got := len(keys(t, s)); got != n {
			t.Errorf("%d records are left, want %d", got, n)
		}
		check(t, s)
	})
}

func TestSweepFreesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{MaxSessions: 100})
		s.OnEvict(func(store.Record) { t.Error("evicted though there is room") })
		for range 3 {
			for i := range 100 {
				create(t, s, expiring(fmt.Sprint(i), time.Minute))
			}
			time.Sleep(time.Minute)
			if n, err := s.Sweep(t.Context(), 1000); n != 100 || err != nil {
				t.Fatalf("swept %d, error %v, want 100", n, err)
			}
		}
		check(t, s)
	})
}

// A sweep of many records stops soon after its context ends, and says how far it came.
func TestSweepStopsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		s := memstore.New(nil)
		for i := range n {
			create(t, s, expiring(fmt.Sprint(i), time.Second))
		}
		time.Sleep(time.Second)
		ctx := &endingContext{Context: t.Context(), left: 1}
		got, err := s.Sweep(ctx, n)
		if !errors.Is(err, context.Canceled) || got == 0 || got > 1000 {
			t.Errorf("swept %d, error %v, want a few and context.Canceled", got, err)
		}
		if rest, err := s.Sweep(t.Context(), n); rest != n-got || err != nil {
			t.Errorf("then swept %d, error %v, want %d", rest, err, n-got)
		}
	})
}

// endingContext ends after its error was asked for a number of times.
type endingContext struct {
	context.Context
	left int
}

func (c *endingContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}
