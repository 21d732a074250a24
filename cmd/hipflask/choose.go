package main

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/spf13/cobra"
)

// choice says which sessions ls writes, how many, and in what order.
type choice struct {
	anonymous   bool
	label, sort string
	idle, since time.Duration
	limit       int // 0: all
}

// orders are what --sort knows.
var orders = map[string]func(a, b session.Info) int{
	"seen":      func(a, b session.Info) int { return b.LastSeenAt.Compare(a.LastSeenAt) },
	"created":   func(a, b session.Info) int { return b.CreatedAt.Compare(a.CreatedAt) },
	"expires":   func(a, b session.Info) int { return a.ExpiresAt.Compare(b.ExpiresAt) },
	"principal": func(a, b session.Info) int { return cmp.Compare(a.Principal, b.Principal) },
}

func (c *choice) check() error {
	switch {
	case c.limit < 0:
		return usage("--limit %d is negative; leave it out for all", c.limit)
	case c.sort != "" && orders[c.sort] == nil:
		return usage("--sort %q is not one of %s", c.sort, strings.Join(slices.Sorted(maps.Keys(orders)), ", "))
	}
	return nil
}

func (c *choice) takes(i session.Info, now time.Time) bool {
	return !(c.anonymous && i.Principal != "" ||
		c.idle > 0 && now.Sub(i.LastSeenAt) < c.idle ||
		c.since > 0 && now.Sub(i.CreatedAt) > c.since ||
		!strings.Contains(strings.ToLower(i.Label), strings.ToLower(c.label)))
}

// of chooses from a list. Sorted, it reads the whole list, and keeps twice the limit of it at most.
func (c *choice) of(list iter.Seq2[session.Info, error], now time.Time) iter.Seq2[session.Info, error] {
	return func(yield func(session.Info, error) bool) {
		less := orders[c.sort]
		var kept []session.Info
		n := 0
		for i, err := range list {
			switch {
			case err != nil:
				yield(i, err)
				return
			case !c.takes(i, now):
				continue
			case less == nil:
				if n++; !yield(i, nil) || n == c.limit {
					return
				}
				continue
			}
			if kept = append(kept, i); c.limit > 0 && len(kept) == 2*c.limit {
				slices.SortStableFunc(kept, less)
				kept = kept[:c.limit]
			}
		}
		if less == nil {
			return
		}
		slices.SortStableFunc(kept, less)
		if c.limit > 0 {
			kept = kept[:min(len(kept), c.limit)]
		}
		for _, i := range kept {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// The bounds of a completion: how long a shell waits, and how many words it gets.
const (
	completionTimeout = 3 * time.Second
	maxCompletions    = 200
)

// complete returns a function that completes words by the store's sessions. word returns the word of a session and what
// the shell says about it. If the store can't be read, nothing is completed.
func (a *app) complete(word func(session.Info) (word, about string)) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
		defer cancel()
		seen := map[string]bool{}
		err := a.with(ctx, func(_ *place, m *session.Manager) error {
			for i, err := range m.All(ctx) {
				if err != nil {
					return err
				}
				w, about := word(i)
				if w == "" || seen[w] || !strings.HasPrefix(w, begun) || plain(w) != w ||
					strings.ContainsAny(w, "\t\n") {
					continue
				}
				seen[w] = true
				if about != "" {
					w = cobra.CompletionWithDesc(w, plain(about))
				}
				if words = append(words, w); len(words) == maxCompletions {
					return nil
				}
			}
			return nil
		})
		if err != nil && len(words) == 0 {
			return nil, cobra.ShellCompDirectiveError
		}
		slices.Sort(words)
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// handles completes handles, and principals those who are logged in. With a flag's value, args are the command's
// others.
func (a *app) handles() cobra.CompletionFunc {
	return a.complete(func(i session.Info) (string, string) {
		return i.Handle, strings.TrimSpace(i.Principal + " " + i.Label)
	})
}

func (a *app) principals() cobra.CompletionFunc {
	complete := a.complete(func(i session.Info) (string, string) { return i.Principal, "" })
	return func(c *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return complete(c, nil, begun)
	}
}
