package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
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
					t.Errorf("json %v: got %d lines when half of the list was read",
						asJSON, bytes.Count(out.Bytes(), []byte("\n")))
				}
				if !yield(session.Info{Handle: fmt.Sprint("handle", i), LastSeenAt: time.Now(),
					ExpiresAt: time.Now().Add(time.Hour)}, nil) {
					return
				}
			}
		}))
		if got, want := bytes.Count(out.Bytes(), []byte("\n")), n+count(!asJSON); got != want {
			t.Errorf("json %v: got %d lines, want %d", asJSON, got, want)
		}
	}
}

// On a terminal a head is bold, and a verdict has a colour.
func TestColours(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{out: &out, errs: &out, color: true}
	row := a.table("HANDLE", "LABEL")
	must(t, row.row("h", "長いラベル"))
	must(t, row.flush())
	must(t, a.tell(&verdict{Explanation: "why"}))
	if got, want := out.String(), "\x1b[1mHANDLE  LABEL\x1b[0m\nh "+
		"      長いラベル\n\x1b[31mrefused\x1b[0m: why\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRevokeAllAsks(t *testing.T) {
	t.Parallel()
	url := "file:" + filepath.Join(t.TempDir(), "sessions")
	must(t, seed([]string{url, "5", "ann", "", "1h", "1m"}))
	for _, c := range []struct {
		answer string
		code   int
		out    string
	}{{"", exitFailed, ""}, {"no\n", exitFailed, ""}, {"Y\n", exitOK, "5 sessions ended\n"}} {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(c.answer), out: &out, errs: &errs, asks: true,
			env: func(string) (string, bool) { return url, true }}
		code := run(t.Context(), []string{"revoke", "--all"}, a)
		if code != c.code || out.String() != c.out ||
			!strings.Contains(errs.String(), "End all sessions of everybody in "+url+"? [y/N]") {
			t.Errorf("%q: got exit code %d, %q and %q, want %d and %q", c.answer, code, &out, &errs, c.code, c.out)
		}
	}
}

// Ctrl-C ends a command with the code of its signal, and migrate says how to go on.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url := "file:" + filepath.Join(dir, "sessions")
	must(t, seed([]string{url, "5", "ann", "", "1h", "1m"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"ls"}, {"stats"}, {"check"},
		{"migrate", url, "file:" + filepath.Join(dir, "to"), "--journal", filepath.Join(dir, "journal")}} {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, errs: &errs, env: func(string) (string, bool) {
			return url, true
		}}
		if code := run(ctx, args, a); code != exitInterrupted ||
			!strings.Contains(errs.String(), "hipflask: interrupted\n") {
			t.Errorf("%q: got exit code %d and %q, want 130", args, code, &errs)
		}
	}
}

func TestBareURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://user:pass@word@host:1/2?prefix=a:&replicas=1&sentinel_password=x": "redis://host:1/2?prefix=a:",

		"flask-session+redis://:secret@host?key_prefix=shop:": "flask-session+redis://host?key_prefix=shop:",

		"file:/var/lib/shop?sync=true":                      "file:/var/lib/shop",
		"postgres://u:p@h/d?sslpassword=x&table=t&prefix=q": "postgres://h/d?table=t&prefix=q",
	} {
		if got := bare(url); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
