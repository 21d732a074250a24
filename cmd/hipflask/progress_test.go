package main

import (
	"bytes"
	"testing"
	"time"
)

// Without a terminal migrate writes a line every ten seconds, and none if it takes less.
func TestLineProgress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	p := newLineProgress(&out, 100, "copying", func() time.Time { return now })
	for range 25 {
		must(t, p.Add(2))
		now = now.Add(time.Second)
	}
	must(t, p.Exit())
	if got, want := out.String(), "hipflask: copying: 22 of 100 sessions, 2 a second\nhipflask: copying: "+
		"42 of 100 sessions, 2 a second\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, lines := (&app{errs: &out}).bar(1, "copying").(*lineProgress); !lines {
		t.Error("without a terminal the progress is not written in lines")
	}
}
