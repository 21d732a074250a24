package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/hipflask/session"
	"github.com/spf13/cobra"
)

// root returns the tree of commands, and whether one of them was started: an error before that is one of usage.
func (a *app) root() (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "hipflask",
		Short: "Look into the sessions of an application, end them, move them",
		Long: `hipflask looks into the sessions of an application, ends them, and moves them.

Most commands need a store: --store URL, or SESSION_STORE in the environment, where other users can't see the
password of the URL. "env:NAME" in place of a URL names another variable.

Secret keys are read from SECRET_KEY and SECRET_KEY_FALLBACKS (separated by commas, or a JSON list), or from the file
that --secret-file names (a key on each line, the current one first).

IDs, cookies and stored values are not shown unless a flag asks for them.`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errs)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "results as JSON, one object a line")
	root.PersistentFlags().StringVar(&a.url, "store", "", "the store's `URL` (default: $SESSION_STORE)")
	root.AddCommand(a.keygen(), a.serve(), a.cookie(), a.ls(), a.show(), a.revoke(), a.stats(), a.sweep(),
		a.migrate(), a.check(), a.admin())
	return root, started
}

func (a *app) keygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Make a new secret key",
		Long:  "keygen makes a new random secret key of 256 bits, for SECRET_KEY or a file that --secret-file names.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key := session.NewSecretKey()
			if a.json {
				return a.object(struct {
					SecretKey string `json:"secret_key"`
				}{key})
			}
			fmt.Fprintln(a.out, key)
			return nil
		},
	}
}

// object writes one line of JSON.
func (a *app) object(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := a.out.Write(printableJSON(b.Bytes()))
	return err
}
