package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/hipflask/session"
)

// ls writes what it reads as it reads it: with ten million sessions, too.
func TestListStreams(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		a := &app{out: &out, errs: &out, json: asJSON}
		const n = 1000
		must(t, a.list(func(yield func(session.Info, error) bool) {
			for i := range n {
				if i == n/2 && bytes.Count(out.Bytes(), []byte("\n")) < n/2-1 {
					t.Errorf("json %v: got %d lines when half of the list was read", asJSON, bytes.Count(out.Bytes(), []byte("\n")))
				}
				if !yield(session.Info{Handle: fmt.Sprint("handle", i), LastSeenAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}, nil) {
					return
				}
			}
		}, 0))
		if got, want := bytes.Count(out.Bytes(), []byte("\n")), n+count(!asJSON); got != want {
			t.Errorf("json %v: got %d lines, want %d", asJSON, got, want)
		}
	}
}
