package main

import "github.com/spf13/cobra"

func (a *app) serve() *cobra.Command {
	return &cobra.Command{Use: "serve", Hidden: true}
}
