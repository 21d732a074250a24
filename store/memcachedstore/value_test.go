package memcachedstore_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
)

func TestExpiration(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 300e6, time.UTC)
	day := 24 * time.Hour
	for _, test := range []struct {
		left time.Duration
		want int32
	}{
		{-time.Hour, -1},
		{0, -1},
		{math.MinInt64, -1},
		{time.Millisecond, 2},
		{500 * time.Millisecond, 2},
		{501 * time.Millisecond, 3},
		{time.Second, 3},
		{time.Hour, 3602},
		{30*day - 3*time.Second, 30*86400 - 1},
		{30 * day, int32(now.Unix()) + 30*86400 + 3}, // a date: this many seconds would be taken for one
		{365 * day, int32(now.Unix()) + 365*86400 + 3},
		{20 * 365 * day, 0}, // dates after 2038 aren't known
		{math.MaxInt64, 0},
	} {
		if got := memcachedstore.Expiration(now.Add(test.left), now); got != test.want {
			t.Errorf("%v left: got %d, want %d", test.left, got, test.want)
		}
	}
	last := time.Unix(math.MaxInt32, 0)
	for left := range 10 { // the last seconds before memcached's calendar ends
		expires := last.Add(time.Duration(left-5) * time.Second)
		if got := memcachedstore.Expiration(expires, now); got != 0 && int64(got) < expires.Unix() {
			t.Errorf("%v: got %d", expires, got)
		}
	}
}

// Records that memcached can't expire are ended by the reader's clock.
func TestFarOff(t *testing.T) {
	t.Parallel()
	s := open(t, shared().URL, nil)
	rec := newRecord(10)
	rec.ExpiresAt = time.Date(2039, 1, 1, 0, 0, 0, 0, time.UTC)
	create(t, s, rec)
	present(t, s, rec)
}

func TestEncodeBounds(t *testing.T) {
	t.Parallel()
	s := open(t, shared().URL, nil)
	for name, spoil := range map[string]func(*store.Record){
		"no key":             func(r *store.Record) { r.Key = "" },
		"key has":            func(r *store.Record) { r.Key = strings.Repeat("k", store.MaxKey+1) },
		"moved-to key has":   func(r *store.Record) { r.MovedTo = strings.Repeat("m", store.MaxKey+1) },
		"handle has":         func(r *store.Record) { r.Handle = strings.Repeat("h", store.MaxKey+1) },
		"principal has":      func(r *store.Record) { r.Principal = strings.Repeat("p", store.MaxPrincipal+1) },
		"label has":          func(r *store.Record) { r.Label = strings.Repeat("l", store.MaxLabel+1) },
		"public part has":    func(r *store.Record) { r.Public = make([]byte, store.MaxPublic+1) },
		"no printable ASCII": func(r *store.Record) { r.Key += "\n" },
	} {
		rec := newRecord(10)
		spoil(&rec)
		for _, err := range []error{s.Create(t.Context(), rec), s.Replace(t.Context(), rec, 1)} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want an error with %q", err, name)
			}
		}
	}
}

// FuzzDecode checks that no value makes decode panic, and that what it takes for a record is one.
func FuzzDecode(f *testing.F) {
	rec := newRecord(20)
	rec.MovedTo, rec.Kind = "next", store.Renewed
	for _, r := range []store.Record{rec, newRecord(0), {Key: "k", Version: 1}} {
		value, err := memcachedstore.Encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
		f.Add(value[:len(value)-1])
	}
	f.Add([]byte("HPF\x01"))
	f.Add([]byte("HPF\x01" + strings.Repeat("\x01", 400)))
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, ok := memcachedstore.Decode(value)
		if !ok {
			return
		}
		rec.Key = "k"
		again, err := memcachedstore.Encode(rec)
		if err != nil {
			t.Fatalf("what was decoded can't be encoded: %v", err)
		}
		if !bytes.Equal(again, value) {
			t.Fatalf("decoded and encoded: got %q, want %q", again, value)
		}
		seen := time.UnixMilli(1234)
		memcachedstore.PutTimes(value, seen, seen)
		if touched, ok := memcachedstore.Decode(value); !ok || !touched.LastSeenAt.Equal(seen) ||
			!touched.ExpiresAt.Equal(seen) ||
			!touched.CreatedAt.Equal(rec.CreatedAt) || touched.Version != rec.Version {
			t.Fatalf("PutTimes: got %+v of %+v", touched, rec)
		}
	})
}
