package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/spf13/cobra"
)

// described is a session in JSON.
type described struct {
	Handle     string    `json:"handle"`
	Principal  string    `json:"principal"`
	Label      string    `json:"label"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	Bound      bool      `json:"bound,omitempty"` // to a device
}

// bound is module dbsc's attribute, which this program doesn't import.
const bound session.PublicAttribute[bool] = "github.com/hipflask/session/dbsc"

func describe(i session.Info) *described {
	is, _ := bound.Of(i)
	return &described{i.Handle, i.Principal, i.Label, i.CreatedAt.UTC(), i.LastSeenAt.UTC(), i.ExpiresAt.UTC(), is}
}

func (a *app) ls() *cobra.Command {
	var principal string
	var f choice
	c := &cobra.Command{
		Use:   "ls",
		Short: "List sessions: who is logged in",
		Long: `ls lists the live sessions of a store, in the order of the store, as it reads them: any number of them.

With --principal it asks the store's index and is quick. --sort reads the whole list before it writes the first
session.`,
		Example: "  hipflask ls --principal ann\n  hipflask ls --idle 1h --json | wc -l\n  hipflask " +
			"ls --sort seen --limit 20",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			byPrincipal := c.Flags().Changed("principal")
			if err := f.check(); err != nil {
				return err
			}
			if byPrincipal && f.anonymous {
				return usage("--principal and --anonymous exclude each other")
			}
			return a.with(c.Context(), func(_ *place, m *session.Manager) error {
				list := m.All(c.Context())
				if byPrincipal {
					list = m.Sessions(c.Context(), principal)
				}
				return a.list(f.of(list, time.Now()))
			})
		},
	}
	c.Flags().StringVar(&principal, "principal", "", "only the sessions of this user")
	c.Flags().BoolVar(&f.anonymous, "anonymous", false, "only sessions in which nobody is logged in")
	c.Flags().StringVar(&f.label, "label", "", "only sessions with this `text` in their label, whatever its case")
	c.Flags().DurationVar(&f.idle, "idle", 0, "only sessions without a request for so `long`, such as 90m")
	c.Flags().DurationVar(&f.since, "since", 0, "only sessions that began, or logged in, at most so `long` ago")
	c.Flags().StringVar(&f.sort, "sort", "", "sort `by` seen or created, newest first, expires, soonest "+
		"first, or principal")
	c.Flags().IntVar(&f.limit, "limit", 0, "list at most so `many`: with --sort the first of the order")
	cobra.CheckErr(c.RegisterFlagCompletionFunc("principal", a.principals()))
	cobra.CheckErr(c.RegisterFlagCompletionFunc("sort",
		cobra.FixedCompletions(slices.Sorted(maps.Keys(orders)), cobra.ShellCompDirectiveNoFileComp)))
	return c
}

func (a *app) list(list iter.Seq2[session.Info, error]) error {
	now := time.Now()
	t := a.table("HANDLE", "PRINCIPAL", "CREATED", "LAST SEEN", "EXPIRES", "LABEL")
	for i, err := range list {
		switch {
		case err != nil:
			return errors.Join(t.flush(), err)
		case a.json:
			if err := a.object(describe(i)); err != nil {
				return err
			}
		default:
			err := t.row(i.Handle, plain(i.Principal), ago(i.CreatedAt, now), ago(i.LastSeenAt, now),
				in(i.ExpiresAt, now), plain(i.Label))
			if err != nil {
				return err
			}
		}
	}
	if !a.json && len(t.rows) == 1 {
		fmt.Fprintln(a.errs, "hipflask: no sessions")
	}
	return t.flush()
}

func (a *app) show() *cobra.Command {
	var data bool
	c := &cobra.Command{
		Use:   "show HANDLE",
		Short: "Show one session",
		Long:  "show tells all about one session but what is in it. --data shows that, too: it may be private.",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: a.handles(),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(p *place, _ *session.Manager) error {
				return a.showOne(c.Context(), p, args[0], data)
			})
		},
	}
	c.Flags().BoolVar(&data, "data", false, "show the stored values")
	return c
}

func (a *app) showOne(ctx context.Context, p *place, handle string, data bool) error {
	r, err := p.find(ctx, handle)
	if err != nil {
		return err
	}
	if r, err = p.Load(ctx, r.Key); errors.Is(err, store.ErrNotFound) || err == nil && r.Kind != store.Live {
		return absent(handle)
	} else if err != nil {
		return err
	}
	i, now := session.InfoOf(r), time.Now()
	if a.json {
		return a.object(struct {
			*described
			Bytes int `json:"bytes"`
			Data  any `json:"data,omitempty"`
		}{describe(i), len(r.Data), shown(r.Data, data)})
	}
	at := func(t time.Time, distance string) string {
		return t.UTC().Format(time.DateTime) + " UTC, " + distance
	}
	lines := [][2]string{
		{"handle", i.Handle}, {"principal", plain(i.Principal)}, {"label", plain(i.Label)},
		{"created", at(i.CreatedAt, ago(i.CreatedAt, now))}, {"last seen", at(i.LastSeenAt, ago(i.LastSeenAt, now))},
		{"expires", at(i.ExpiresAt, in(i.ExpiresAt, now))}, {"size", fmt.Sprintf("%d bytes", len(r.Data))},
	}
	if is, _ := bound.Of(i); is {
		lines = append(lines, [2]string{"device", "bound to a device"})
	}
	for _, line := range lines {
		fmt.Fprintf(a.out, "%s  %s\n", a.bold(fmt.Sprintf("%-9s", line[0])), line[1])
	}
	if data {
		text, err := indented(r.Data)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s\n%s\n", a.bold("data"), text)
	}
	return nil
}

// indented returns stored data as JSON for a terminal.
func indented(data []byte) ([]byte, error) {
	text, err := json.MarshalIndent(shown(data, true), "", "  ")
	return printableJSON(text), err
}

// shown is what can be shown of stored data: JSON as it is, other bytes in base64, nothing unless asked for.
func shown(data []byte, asked bool) any {
	switch {
	case !asked:
		return nil
	case json.Valid(data):
		return json.RawMessage(data)
	}
	return data
}
