package redisstore

import (
	"crypto/sha1"
	"encoding/hex"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
)

// The server knows a script by the SHA-1 of its text.
func TestScriptsHaveTheirNames(t *testing.T) {
	t.Parallel()
	for name, sc := range map[string]script{
		"create": createScript, "replace": replaceScript, "touch": touchScript, "delete": deleteScript,
		"confirm": confirmScript, "keep": keepScript, "release": releaseScript,
	} {
		sum := sha1.Sum([]byte(sc.lua))
		if want := hex.EncodeToString(sum[:]); sc.sha1 != want {
			t.Errorf("%s: got SHA-1 %q, want %q", name, sc.sha1, want)
		}
	}
}

// However late the parts of a write arrive, and in whatever order: a record is never there without its index entry, nor
// for longer.
func TestLateCalls(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	s, err := Open(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	score := func(key string) int64 {
		n, err := s.client.Do(ctx, s.client.B().Zscore().Key(s.indexKey("ada")).Member(key).Build()).AsFloat64()
		if err != nil && !rueidis.IsRedisNil(err) {
			t.Fatal(err)
		}
		return int64(n)
	}
	keep := func(key string, left time.Duration) string {
		indexed, err := s.keep(ctx, "ada", key, left.Milliseconds())
		if err != nil {
			t.Fatal(err)
		}
		return indexed
	}
	rec := store.Record{Key: "late", Version: 1, Principal: "ada", ExpiresAt: time.Now().Add(time.Hour)}

	head, _, rest := pack(&rec)
	past := number(time.Now().Add(-time.Second).UnixMilli() + time.Hour.Milliseconds())
	a, err := s.run(ctx, &createScript, s.recordKey(rec.Key), head, past, rest, "3600000", "1")
	if err != nil || a.code != answerRenew {
		t.Errorf("a create whose index entry ends before the record: got answer %d, %v, want %d", a.code,
			err, answerRenew)
	}

	// A release that comes after the entry was kept again, for another record under the same key or a longer life.
	first := keep("late", time.Hour)
	second := keep("late", time.Minute)
	if first == second {
		t.Error("an entry that is kept again for less has the same index time: a late release would not find out")
	}
	s.release(ctx, "ada", "late", first, noIndexTime)
	if score("late") == 0 {
		t.Error("a late release took away an entry that had been kept again")
	}
	s.release(ctx, "ada", "late", second, noIndexTime)
	if score("late") != 0 {
		t.Error("a release did not take the entry away")
	}

	// A tombstone that is given more life than its shortened entry.
	if err := s.Create(ctx, rec); err != nil {
		t.Fatal(err)
	}
	tomb := store.Record{Key: rec.Key, Version: 2, Principal: "ada", Kind: store.Ended,
		ExpiresAt: time.Now().Add(time.Minute)}
	if err := s.Replace(ctx, tomb, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Touch(ctx, rec.Key, 2, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if ends := score(rec.Key); ends < time.Now().Add(time.Hour).UnixMilli() {
		t.Errorf("the entry of a tombstone with a longer life ends in %v, want an hour at least",
			time.Until(time.UnixMilli(ends)))
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWindow()
	if !w.add("a") || w.add("a") || !w.add("b") {
		t.Error("the window does not tell keys that it has seen from others")
	}
	for i := range 3 * windowSize {
		w.add(number(int64(i)))
	}
	if len(w.at) != windowSize || len(w.ring) != windowSize {
		t.Errorf("got %d and %d keys in the window, want %d", len(w.at), len(w.ring), windowSize)
	}
	if w.add(number(2*windowSize)) || !w.add("a") {
		t.Error("the window does not hold the last keys, and only those")
	}
}
