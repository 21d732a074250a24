package redisstore

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
)

// The server's time is known for a moment after it was told, in a call that took hardly any time.
func TestClock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		age, byWall time.Duration
		counts      bool
	}{
		"fresh":                     {0, 0, true},
		"young":                     {clockAge, clockAge - time.Millisecond, true},
		"old":                       {clockAge + 1, clockAge, false},
		"from before a suspension":  {time.Millisecond, time.Hour, false},
		"from before a clock's set": {time.Millisecond, -time.Hour, false},
	} {
		if got := counts(test.age, test.byWall); got != test.counts {
			t.Errorf("a reading that is %s: got counts %v, want %v", name, got, test.counts)
		}
	}
	var c clock
	now, server := time.Now(), time.UnixMilli(1_000_000)
	if _, known := c.now(now); known {
		t.Error("the server's time is known before it was told")
	}
	if got, err := c.read(now.Add(-2*clockError), "1000", "5000"); err != nil || got.UnixMilli() != 1_000_005 {
		t.Errorf("1000 s and 5000 us: got %v, %v", got, err)
	}
	if _, known := c.now(now); known {
		t.Error("the server's time is known from a call that took long")
	}
	c.last.Store(&reading{now.Add(-300 * time.Millisecond), server})
	if ms, known := c.now(now); !known || ms != 1_000_300 {
		t.Errorf("300 ms after 1000000: got %d, known: %v", ms, known)
	}
}

// Whatever time the Store takes for the server's, no record outlives its index entry. A change that arrives when its
// record would have expired leaves nothing.
func TestWrongClocks(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), servertest.Redis(t).URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, life := t.Context(), time.Hour
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	left := func(key string) int64 {
		ms, err := s.client.Do(ctx, s.client.B().Pttl().Key(s.recordKey(key)).Build()).AsInt64()
		must(err)
		return ms
	}
	for _, wrong := range []time.Duration{1000 * time.Hour, life, time.Minute, 0, -time.Minute} {
		rec := store.Record{Key: wrong.String(), Version: 1, Principal: "ada", ExpiresAt: time.Now().Add(life)}
		for _, write := range []struct {
			name string
			do   func() error
		}{
			{"a new record", func() error { return s.Create(ctx, rec) }},
			{"the record", func() error { rec.Version = 2; return s.Replace(ctx, rec, 1) }},
		} {
			s.clock.last.Store(&reading{time.Now(), time.Now().Add(wrong)})
			must(write.do())
			ends, err := s.client.Do(ctx, s.client.B().Zscore().Key(s.indexKey("ada")).Member(rec.Key).
				Build()).AsFloat64()
			must(err)
			if expires := time.Now().UnixMilli() + left(rec.Key); int64(ends)*1000 < expires {
				t.Errorf("a clock that is wrong by %v: %s outlives its index entry by %d ms", wrong, write.name,
					expires-int64(ends)*1000)
			}
		}
	}
	rec := store.Record{Key: "late", Version: 1, Principal: "ada", ExpiresAt: time.Now().Add(life)}
	must(s.Create(ctx, rec))
	s.clock.last.Store(&reading{time.Now(), time.Now().Add(-2 * life)})
	rec.Version = 2
	must(s.Replace(ctx, rec, 1))
	if ms := left(rec.Key); ms != -2 {
		t.Errorf("after a change that came when its record would have expired: got PTTL %d, want no key", ms)
	}
	if _, err := s.Load(ctx, rec.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after a change that came when its record would have expired: got %v, want %v", err, store.ErrNotFound)
	}
}

// Most writes of users' sessions don't make the server tell its time. (On a busy machine some calls take long.)
func TestWritesSpareTheTime(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), servertest.Redis(t).URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	rec := store.Record{Principal: "ada", ExpiresAt: time.Now().Add(time.Hour)}
	for name, write := range map[string]func(n int) error{
		"creates": func(n int) error { rec.Key, rec.Version = strconv.Itoa(n), 1; return s.Create(ctx, rec) },
		"changes": func(int) error { rec.Version++; return s.Replace(ctx, rec, rec.Version-1) },
	} {
		rec.Key, rec.Version = name, 1
		if err := s.Create(ctx, rec); err != nil {
			t.Fatal(err)
		}
		spared := false
		for n := 0; n < 1000 && !spared; n++ {
			if err := s.client.Do(ctx, s.client.B().ConfigResetstat().Build()).Error(); err != nil {
				t.Fatal(err)
			}
			if err := write(n); err != nil {
				t.Fatal(err)
			}
			stats, err := s.client.Do(ctx, s.client.B().Info().Section("commandstats").Build()).ToString()
			if err != nil {
				t.Fatal(err)
			}
			spared = !strings.Contains(stats, "cmdstat_time:")
		}
		if !spared {
			t.Errorf("each of 1000 %s made the server tell its time", name)
		}
	}
}
