package main

import (
	"context"
	"fmt"

	login "github.com/hipflask/session/examples/login/app"
	"github.com/hipflask/session/storeurl"
	"github.com/spf13/cobra"
)

func (a *app) serve() *cobra.Command {
	var addr string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the login example, to have sessions to look at",
		Long: `serve runs the login example: a small application with a login, until Ctrl-C. Its sessions are in files
of a private temporary folder, or where --store says.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			url := a.url
			if url == "" {
				url, _ = a.env("SESSION_STORE")
			}
			if url == "" {
				url = login.DefaultStore()
			}
			url, err := a.given(url)
			if err != nil {
				return err
			}
			if name := bare(url); name == url && url != "memory:" {
				fmt.Fprintf(a.errs, "hipflask: who is logged in: hipflask ls --store %s\n", url)
			}
			getenv := func(name string) string {
				value, _ := a.env(name)
				return value
			}
			return login.Run(c.Context(), "hipflask", []string{"-addr", addr, "-store", url}, getenv, a.out,
				func(ctx context.Context, url string) (login.Store, error) { return storeurl.Open(ctx, url) })
		},
	}
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 is a free one")
	return c
}
