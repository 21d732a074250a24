package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hipflask/session"
	"github.com/spf13/cobra"
)

func (a *app) revoke() *cobra.Command {
	var principal string
	var all, yes bool
	c := &cobra.Command{
		Use:   "revoke {HANDLE | --principal P | --all}",
		Short: "End a session, all of a user, or all",
		Long: `revoke ends sessions as a logout does: for requests that are under way, too. It says how many it ended.

--all ends the sessions of everybody, anonymous ones included. It asks before; --yes answers.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.handles(),
		RunE: func(c *cobra.Command, args []string) error {
			byPrincipal := c.Flags().Changed("principal")
			if n := len(args) + count(byPrincipal) + count(all); n != 1 {
				return usage("revoke what? A HANDLE, --principal P or --all, one of them")
			}
			if byPrincipal && principal == "" {
				return usage("--principal is empty; anonymous sessions are ended by their handles, or all with --all")
			}
			return a.with(c.Context(), func(p *place, m *session.Manager) (err error) {
				n := 1
				switch {
				case all:
					n, err = a.revokeEverybody(c.Context(), m, p.name, yes)
				case byPrincipal:
					n, err = m.RevokeAll(c.Context(), principal)
				default:
					err = revokeHandle(c.Context(), p, m, args[0])
				}
				return a.revoked(n, err)
			})
		},
	}
	c.Flags().StringVar(&principal, "principal", "", "end all sessions of this user")
	cobra.CheckErr(c.RegisterFlagCompletionFunc("principal", a.principals()))
	c.Flags().BoolVar(&all, "all", false, "end all sessions of everybody")
	c.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return c
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// revoked says how many sessions were ended, also if an error came in between.
func (a *app) revoked(n int, err error) error {
	switch {
	case err != nil && n == 0, errors.As(err, new(*exitError)):
	case a.json:
		err = errors.Join(err, a.object(struct {
			Ended int `json:"ended"`
		}{n}))
	case n == 1:
		fmt.Fprintln(a.out, "1 session ended")
	default:
		fmt.Fprintf(a.out, "%d sessions ended\n", n)
	}
	return err
}

func revokeHandle(ctx context.Context, p *place, m *session.Manager, handle string) error {
	r, err := p.find(ctx, handle)
	if err != nil {
		return err
	}
	if r.Principal != "" {
		err = m.Revoke(ctx, r.Principal, handle)
	} else {
		var n int
		n, err = m.RevokeFunc(ctx, func(i session.Info) bool { return i.Handle == handle })
		if err == nil && n == 0 {
			err = session.ErrEnded
		}
	}
	if errors.Is(err, session.ErrEnded) {
		return absent(handle)
	}
	return err
}

func (a *app) revokeEverybody(ctx context.Context, m *session.Manager, name string, yes bool) (int, error) {
	if !yes {
		if !a.asks {
			return 0, usage("--all ends the sessions of everybody; say --yes as well")
		}
		fmt.Fprintf(a.errs, "End all sessions of everybody in %s? [y/N] ", name)
		answer, _ := bufio.NewReader(a.in).ReadString('\n')
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return 0, &exitError{exitFailed, "nothing was ended"}
		}
	}
	return m.RevokeFunc(ctx, func(session.Info) bool { return true })
}
