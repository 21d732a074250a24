package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/storeurl"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hipflask": main, "seed": seedMain, "tamper": tamperMain})
}

// The scripts in testdata are what people type.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("SECRET_KEY", "")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // it sleeps a second before each program ends
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"status": status},
	})
}

// status runs a command that has to end with an exit code: status CODE COMMAND...
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND...")
	}
	got := "0"
	if exit := (*exec.ExitError)(nil); errors.As(ts.Exec(args[1], args[2:]...), &exit) {
		got = strconv.Itoa(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("got exit code %s, want %s", got, args[0])
	}
}

// seedMain stores sessions of a given age: seed STORE HANDLE PRINCIPAL LABEL AGE IDLE [PUBLIC]. A number as HANDLE
// is how many to store. PRINCIPAL "-" is nobody. PUBLIC is the public attributes.
func seedMain() {
	if err := seed(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1)
	}
}

func seed(args []string) error {
	ctx := context.Background()
	s, err := storeurl.Open(ctx, args[0])
	if err != nil {
		return err
	}
	defer s.Close()
	age, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	idle, err := time.ParseDuration(args[5])
	if err != nil {
		return err
	}
	now := time.Now()
	r := store.Record{
		Key: "key-" + args[1], Handle: args[1], Principal: args[2], Label: args[3],
		Data:      []byte(`{"secret_value":"tea"}`),
		CreatedAt: now.Add(-age), LastSeenAt: now.Add(-idle), ExpiresAt: now.Add(24*time.Hour - idle), Version: 1,
	}
	if len(args) > 6 {
		r.Public = []byte(args[6])
	}
	if r.Principal == "-" {
		r.Principal = ""
	}
	if label, err := strconv.Unquote(r.Label); err == nil {
		r.Label = label
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return s.Create(ctx, r)
	}
	for i := range n {
		r.Key = fmt.Sprintf("key-%s-%d", args[2], i)
		r.Handle = fmt.Sprintf("%s-%d", args[2], i)
		if err := s.Create(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// tamperMain changes one character in the middle of a file: tamper FROM TO.
func tamperMain() {
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		if i := len(text) / 2; text[i] == 'A' {
			text[i] = 'B'
		} else {
			text[i] = 'A'
		}
		err = os.WriteFile(os.Args[2], text, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tamper:", err)
		os.Exit(1)
	}
}
