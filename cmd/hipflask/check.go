package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// A level says how bad a finding is.
type level string

const (
	fine    level = "ok"
	warning level = "warning" // it works, and something may be lost one day
	problem level = "problem" // sessions get lost or can't be kept
)

// A finding is one thing that check looked at, and what to change.
type finding struct {
	Level  level  `json:"level"`
	About  string `json:"about"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

func (a *app) check() *cobra.Command {
	return &cobra.Command{
		Use:   "check [STORE]",
		Short: "Try whether a store keeps its promises, and say what to change",
		Long: `check tries out a store with some records of its own, which it removes: that it creates, changes and
forgets as it has to, also when several do so at once, how long that takes, how its clock runs. Then it looks at the
server: version, permissions, what is evicted, what survives a crash.

It changes no settings and no sessions. Exit code 5: there is a problem.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			url, err := "", error(nil)
			if len(args) == 1 {
				url = args[0]
			} else if url, err = a.wanted(); err != nil {
				return err
			}
			return a.checkStore(c.Context(), url)
		},
	}
}

func (a *app) checkStore(ctx context.Context, url string) error {
	p, err := a.openAt(ctx, url, false)
	if err != nil {
		return err
	}
	defer p.close()
	if url, err = a.given(url); err != nil {
		return err
	}
	problems := 0
	say := func(f finding) error {
		if f.Level == problem {
			problems++
		}
		return a.found(f)
	}
	t := newTrial(p.Store)
	for _, step := range []func(context.Context) []finding{
		t.records, t.race, t.expiry, t.list, t.sizes, t.latency,
		func(ctx context.Context) []finding { return inspect(ctx, p.Store, url) },
	} {
		bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
		found := step(bounded)
		cancel()
		if ctx.Err() != nil {
			break
		}
		for _, f := range found {
			if err := say(f); err != nil {
				return err
			}
		}
	}
	// What is left over goes, also after Ctrl-C.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := errors.Join(ctx.Err(), t.clean(bounded)); err != nil {
		return err
	}
	if problems > 0 {
		return &exitError{exitProblems, fmt.Sprintf("%d problems", problems)}
	}
	return nil
}

// found writes a finding.
func (a *app) found(f finding) error {
	if a.json {
		return a.object(f)
	}
	paint := map[level]func(string) string{fine: a.green, warning: a.yellow, problem: a.red}[f.Level]
	_, err := fmt.Fprintf(a.out, "%s  %-12s %s\n", paint(fmt.Sprintf("%-7s", f.Level)), f.About, f.Text)
	if f.Advice != "" && err == nil {
		_, err = fmt.Fprintf(a.out, "%-21s  %s\n", "", a.bold("→ ")+f.Advice)
	}
	return err
}
