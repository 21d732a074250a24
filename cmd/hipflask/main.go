// Command hipflask looks into the sessions of a running application: who is logged in, why is this cookie refused, end
// this session, move all of them to another store. "hipflask help" lists its commands.
//
//	go install github.com/hipflask/session/cmd/hipflask@latest
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	isTerminal := term.IsTerminal(int(os.Stdout.Fd()))
	os.Exit(run(ctx, os.Args[1:], &app{
		in: os.Stdin, out: os.Stdout, errs: os.Stderr, env: os.LookupEnv,
		color:    isTerminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		progress: term.IsTerminal(int(os.Stderr.Fd())),
		asks:     isTerminal && term.IsTerminal(int(os.Stdin.Fd())),
	}))
}

// app is what the commands share.
type app struct {
	in        io.Reader
	out, errs io.Writer
	env       func(string) (string, bool)
	color     bool // stdout is a terminal that shows colours (no-color.org)
	progress  bool // stderr is a terminal
	asks      bool // somebody is there to answer a question
	json      bool
	url       string // --store
}

// The exit codes. docs/command.md explains them.
const (
	exitOK          = 0
	exitFailed      = 1   // the store can't be reached, a file can't be read
	exitUsage       = 2   // the command line makes no sense
	exitAbsent      = 3   // no such session
	exitRefused     = 4   // the cookie is refused
	exitProblems    = 5   // check found a problem, migrate a difference
	exitInterrupted = 130 // Ctrl-C
)

// exitError is an error that has an exit code of its own.
type exitError struct {
	code int
	text string // empty: everything has been said
}

func (e *exitError) Error() string { return e.text }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Sprintf(format, args...)}
}

// run is the whole program. Results go to out; everything else goes to errs with the program's name in front.
func run(ctx context.Context, args []string, a *app) int {
	root, started := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	if !*started {
		code = exitUsage
	}
	if e := (*exitError)(nil); errors.As(err, &e) {
		code = e.code
	} else if ctx.Err() != nil {
		fmt.Fprintln(a.errs, "hipflask: interrupted")
		return exitInterrupted
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(a.errs, "hipflask:", text)
	}
	if code == exitUsage {
		fmt.Fprintf(a.errs, "hipflask: see %q\n", "hipflask help")
	}
	return code
}
