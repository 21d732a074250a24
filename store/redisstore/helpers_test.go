package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// record returns a record with a key and a principal of its own, which lives for so long.
func record(life time.Duration) store.Record {
	now := time.Now().Truncate(time.Millisecond)
	return store.Record{
		Key: rand.Text(), Version: 1, Principal: "user-" + rand.Text()[:16], Label: "Firefox on Windows",
		Handle:    rand.Text(),
		CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(life), Data: []byte(`{"visits":1}`),
	}
}

// tombstone returns what the core puts in rec's place at a logout.
func tombstone(rec store.Record) store.Record {
	return store.Record{
		Key: rec.Key, Version: rec.Version + 1, Principal: rec.Principal, Handle: rec.Handle, Kind: store.Ended,
		ExpiresAt: time.Now().Add(2 * time.Minute),
	}
}

// raw returns a client of the server itself.
func raw(tb testing.TB, addr string) rueidis.Client {
	tb.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true,
		DisableCache: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return client
}

// do sends words as a command and returns the answer.
func do(tb testing.TB, client rueidis.Client, words ...string) rueidis.RedisResult {
	tb.Helper()
	res := client.Do(context.WithoutCancel(tb.Context()), client.B().Arbitrary(words...).Build())
	if err := res.Error(); err != nil && !rueidis.IsRedisNil(err) {
		tb.Fatalf("%s: %v", words[0], err)
	}
	return res
}

// number returns the answer to a command that is a number.
func number(tb testing.TB, client rueidis.Client, words ...string) int64 {
	tb.Helper()
	n, err := do(tb, client, words...).AsInt64()
	if err != nil {
		tb.Fatalf("%s: %v", words[0], err)
	}
	return n
}

// calls returns how often clients have sent which commands, or scripts called them.
func calls(tb testing.TB, client rueidis.Client) map[string]int64 {
	tb.Helper()
	info, err := do(tb, client, "INFO", "commandstats").ToString()
	must(tb, err)
	all := map[string]int64{}
	for line := range strings.Lines(info) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		count, _, _ := strings.Cut(rest, ",")
		all[name], _ = strconv.ParseInt(count, 10, 64)
	}
	return all
}

// listed returns the keys of the principal's records.
func listed(tb testing.TB, s store.Lister, principal string) []string {
	tb.Helper()
	var keys []string
	for rec, err := range s.Principal(tb.Context(), principal) {
		if err != nil {
			tb.Fatal(err)
		}
		keys = append(keys, rec.Key)
	}
	return keys
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// refused reports unless err is an error that is no answer about the record and contains all words.
func refused(tb testing.TB, err error, what string, words ...string) {
	tb.Helper()
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) ||
		errors.Is(err, store.ErrExists) {
		tb.Errorf("%s: got %v, want an error that says nothing about the record", what, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			tb.Errorf("%s: got error %q, want one with %q", what, err, word)
		}
	}
}
