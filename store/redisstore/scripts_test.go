package redisstore

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
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
		"replace": replaceScript, "batch": batchScript, "touch": touchScript, "delete": deleteScript,
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
	keep := func(key string, left time.Duration) int64 {
		e, err := s.keep(ctx, "ada", key, left.Milliseconds())
		if err != nil {
			t.Fatal(err)
		}
		return e.ends
	}
	rec := store.Record{Key: "late", Version: 1, Principal: "ada", ExpiresAt: time.Now().Add(time.Hour)}
	hour := time.Hour.Milliseconds()

	// A create, a replace and a touch that arrive so late that the index entry would expire before the record.
	late := time.Now().Add(-time.Second).UnixMilli()
	a, err := s.run(ctx, &createCommand, s.recordKey(rec.Key), pack(&rec, 1), "NX", "PXAT", milliseconds(late))
	if err != nil || a.code != answerDone {
		t.Errorf("a late create: got answer %d, %v", a.code, err)
	}
	if _, err := s.Load(ctx, rec.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after a late create: got %v, want %v", err, store.ErrNotFound)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Create(ctx, rec))
	index := indexTime(rec.Key, hour)
	past := lastSecond(time.Now().Unix()-1, 0)
	head := string(begin(nil, true, 1, index))
	a, err = s.run(ctx, &replaceScript, s.recordKey(rec.Key), "13", head, pack(&rec, index), milliseconds(hour), past,
		"0", "0")
	if err != nil || a.code != answerRenew {
		t.Errorf("a late replace: got answer %d, %v, want %d", a.code, err, answerRenew)
	}
	a, err = s.run(ctx, &touchScript, s.recordKey(rec.Key), head[1:9], strings.Repeat("t", 14), milliseconds(hour),
		string(packIndex(index)), past, "1")
	if err != nil || a.code != answerRenew {
		t.Errorf("a late touch: got answer %d, %v, want %d", a.code, err, answerRenew)
	}
	must(s.Delete(ctx, rec.Key))

	// A release that comes after the entry was prolonged, for another record under the same key or a longer life.
	first := keep("late", time.Hour)
	second := keep("late", time.Minute)
	if first == second {
		t.Error("an entry that is prolonged for less has the same index time: a late release would not find out")
	}
	must(s.release(ctx, "ada", released{"late", first, 0}))
	if score("late") == 0 {
		t.Error("a late release removed an entry that had been prolonged")
	}
	must(s.release(ctx, "ada", released{"late", second, 0}))
	if score("late") != 0 {
		t.Error("a release did not remove the entry")
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
	if ends := score(rec.Key); ends < time.Now().Add(time.Hour).Unix() {
		t.Errorf("the entry of a tombstone with a longer life ends in %v, want an hour at least",
			time.Until(time.Unix(ends, 0)))
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWindow()
	if !w.add("a") || w.add("a") || !w.add("b") {
		t.Error("the window does not tell keys that it has seen from others")
	}
	for i := range 3 * windowSize {
		w.add(strconv.Itoa(i))
	}
	if len(w.at) != windowSize || len(w.ring) != windowSize {
		t.Errorf("got %d and %d keys in the window, want %d", len(w.at), len(w.ring), windowSize)
	}
	if w.add(strconv.Itoa(2*windowSize)) || !w.add("a") {
		t.Error("the window does not hold the last keys, and only those")
	}
}
