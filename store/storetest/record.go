package storetest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/hipflask/session/store"
)

// hour is how long the records of a clause live that has nothing to do with expiry.
const hour = time.Hour

// newKey returns a key that nobody else uses.
func newKey() string { return "storetest-" + rand.Text() }

// now is the present to the millisecond, which is what stores keep.
func now() time.Time { return time.Now().Truncate(time.Millisecond) }

// newRecord returns a live record with every field set, under a key and of a principal that nobody else has.
func newRecord() store.Record {
	t := now()
	return store.Record{
		Key:        newKey(),
		Version:    store.NewVersion(),
		Principal:  "principal-" + rand.Text(),
		Label:      "Firefox on Windows",
		CreatedAt:  t.Add(-3 * time.Hour).Add(-7 * time.Millisecond),
		LastSeenAt: t.Add(-time.Minute).Add(-13 * time.Millisecond),
		ExpiresAt:  t.Add(hour),
		Handle:     "handle-" + rand.Text(),
		Public:     []byte(`{"devices/name":"` + rand.Text() + `"}`),
		Data:       []byte(`{"visits":1}`),
	}
}

// recordsOf returns n live records of one principal.
func recordsOf(principal string, n int) []store.Record {
	recs := make([]store.Record, n)
	for i := range recs {
		recs[i] = newRecord()
		recs[i].Principal = principal
	}
	return recs
}

// changed returns what a request makes of rec: another version, label, activity, public attribute and data.
func changed(rec store.Record) store.Record {
	rec.Version = store.NewVersion()
	rec.Label = "Safari on " + rand.Text()
	rec.LastSeenAt = rec.LastSeenAt.Add(1234 * time.Millisecond)
	rec.ExpiresAt = rec.ExpiresAt.Add(1001 * time.Millisecond)
	rec.Public = []byte(`{"devices/name":"` + rand.Text() + `","seen":1}`)
	rec.Data = []byte(`{"visits":2,"nonce":"` + rand.Text() + `"}`)
	return rec
}

// retired returns the tombstone that the core puts in rec's place: fields that a tombstone has no use for are zero.
func retired(rec store.Record, kind store.Kind) store.Record {
	tomb := store.Record{
		Key:       rec.Key,
		Version:   store.NewVersion(),
		Principal: rec.Principal,
		ExpiresAt: now().Add(hour),
		Kind:      kind,
		Handle:    rec.Handle,
	}
	if kind != store.Ended {
		tomb.MovedTo = newKey()
	}
	return tomb
}

// tombstones are the kinds of records that are no sessions.
var tombstones = []store.Kind{store.Renewed, store.Replaced, store.Ended}

// withoutData returns rec as listings yield it.
func withoutData(rec store.Record) store.Record {
	rec.Data = nil
	return rec
}

// cloned returns a record that shares no bytes with rec.
func cloned(rec store.Record) store.Record {
	rec.Public, rec.Data = bytes.Clone(rec.Public), bytes.Clone(rec.Data)
	return rec
}

// diff names the fields in which got is not want. Times are compared to the millisecond.
func diff(got, want store.Record) string {
	var d []string
	add := func(field string, same bool, g, w any) {
		if !same {
			d = append(d, fmt.Sprintf("%s: got %v, want %v", field, g, w))
		}
	}
	text := func(field, g, w string) { add(field, g == w, fmt.Sprintf("%q", g), fmt.Sprintf("%q", w)) }
	moment := func(field string, g, w time.Time) {
		add(field, sameTime(g, w), g.UTC().Format(time.RFC3339Nano), w.UTC().Format(time.RFC3339Nano))
	}
	text("Key", got.Key, want.Key)
	add("Version", got.Version == want.Version, got.Version, want.Version)
	text("Principal", got.Principal, want.Principal)
	text("Label", got.Label, want.Label)
	moment("CreatedAt", got.CreatedAt, want.CreatedAt)
	moment("LastSeenAt", got.LastSeenAt, want.LastSeenAt)
	moment("ExpiresAt", got.ExpiresAt, want.ExpiresAt)
	add("Kind", got.Kind == want.Kind, got.Kind, want.Kind)
	text("MovedTo", got.MovedTo, want.MovedTo)
	text("Handle", got.Handle, want.Handle)
	add("Public", bytes.Equal(got.Public, want.Public), brief(got.Public), brief(want.Public))
	add("Data", bytes.Equal(got.Data, want.Data), brief(got.Data), brief(want.Data))
	return strings.Join(d, "; ")
}

// sameTime compares whole milliseconds exactly. A store may drop or round what is finer.
func sameTime(got, want time.Time) bool {
	if want.Equal(want.Truncate(time.Millisecond)) {
		return got.Equal(want)
	}
	return got.Sub(want).Abs() < time.Millisecond
}

// brief shortens data that is too long to read.
func brief(data []byte) string {
	if len(data) <= 64 {
		return fmt.Sprintf("%q", data)
	}
	return fmt.Sprintf("%d bytes %q...", len(data), data[:32])
}
