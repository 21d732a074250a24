package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hipflask/session/flask/flaskfiles"
	"github.com/hipflask/session/store"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// migrateFlags are the flags of migrate.
type migrateFlags struct {
	dry, skipCheck, endMissing bool
	journal                    string
	workers                    int
}

func (a *app) migrate() *cobra.Command {
	f := &migrateFlags{}
	c := &cobra.Command{
		Use:   "migrate FROM TO",
		Short: "Move all sessions to another store, while the application runs",
		Long: `migrate copies the sessions of the store FROM to the store TO, and compares both at the end. FROM stays
as it is.

The application may run meanwhile. First run migrate while the application uses FROM, then let the application use TO,
then run migrate once more at once, for what has changed in between.

Run again, it brings copies up to date: a session that the application has changed in TO stays as it is there; one that
was logged out on either side ends, and does not come back. It can be stopped at any time, even killed: the same command
goes on where it was. What it knows is in a journal, which holds hashes only.

"flask-session+" before a URL means that the sessions there are in Flask-Session's layout; the parameters key_prefix
and table are SESSION_KEY_PREFIX and SESSION_SQLALCHEMY_TABLE. Their IDs stay what they are: the application then has
flask.SID as Config.IDFormat and flask.Msgpack as Config.Serializer.`,
		Example: "  hipflask migrate file:/var/lib/shop/sessions env:REDIS_URL --dry-run",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.move(c.Context(), args[0], args[1], f)
		},
	}
	c.Flags().BoolVar(&f.dry, "dry-run", false, "say what would be done, and write nothing")
	c.Flags().BoolVar(&f.skipCheck, "no-check", false, "don't read both stores again to compare them")
	c.Flags().BoolVar(&f.endMissing, "end-missing", false, "end copies that FROM no longer has, although they are many")
	c.Flags().StringVar(&f.journal, "journal", "", "the journal's `file` (default: in the user's cache folder)")
	c.Flags().IntVar(&f.workers, "workers", 8, "how many sessions to copy at a time, 1 to 64")
	return c
}

// moved is what a migration says at its end.
type moved struct {
	DryRun   bool        `json:"dry_run,omitempty"`
	Listed   int         `json:"listed"`
	Copied   int         `json:"copied"`
	Updated  int         `json:"updated"`
	Same     int         `json:"unchanged"`
	Kept     int         `json:"changed_in_to"`
	Gone     int         `json:"ended_in_to"`
	Vanished int         `json:"ended_in_from"`
	Ended    int         `json:"copies_ended"`
	Failed   int         `json:"failed"`
	Check    *comparison `json:"check,omitempty"`
}

func (a *app) move(ctx context.Context, fromURL, toURL string, f *migrateFlags) (err error) {
	if f.workers < 1 || f.workers > 64 {
		return usage("--workers %d is not within 1 and 64", f.workers)
	}
	from, err := a.openAt(ctx, fromURL, false)
	if err != nil {
		return err
	}
	defer from.close()
	to, err := a.openAt(ctx, toURL, !f.dry)
	if err != nil {
		return err
	}
	defer to.close()
	if from.name == to.name {
		return usage("FROM and TO are the same store")
	}
	list, ok := store.As[lists](from.Store)
	if _, files := store.As[*flaskfiles.Store](from.Store); files {
		return usage("the names of Flask's session files don't tell whose they are: take them over at " +
			"the first request, with Config.Adopt")
	} else if !ok {
		return fmt.Errorf("%s can't list its sessions", from.name)
	}
	path := f.journal
	if path == "" {
		if path, err = journalPath(from.name, to.name); err != nil {
			return err
		}
	}
	j, err := openJournal(path, from.name, to.name, f.dry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	m := &migration{from: from.Store, to: to.Store, journal: j, dry: f.dry, workers: f.workers, began: time.Now()}
	return a.steps(ctx, m, list, f)
}

// steps are what a migration does: count, copy, end what has ended, compare.
func (a *app) steps(ctx context.Context, m *migration, list lists, f *migrateFlags) error {
	total := 0
	for _, err := range list.All(ctx) {
		if err != nil {
			return err
		}
		total++
	}
	bar := a.bar(total, "copying")
	m.progress = func(n int) { bar.Add(n) }
	err := m.copy(ctx, list)
	bar.Exit()
	r := moved{DryRun: f.dry, Copied: m.counts[copied], Updated: m.counts[updated], Same: m.counts[same],
		Kept: m.counts[kept],
		Gone: m.counts[gone], Vanished: m.counts[vanished], Failed: m.counts[failed]}
	for _, n := range m.counts {
		r.Listed += n
	}
	if err == nil && !f.dry {
		r.Ended, err = a.endMissing(ctx, m, f.endMissing)
	}
	if err == nil && !f.dry && !f.skipCheck {
		bar := a.bar(total, "comparing")
		m.progress = func(n int) { bar.Add(n) }
		var c comparison
		c, err = m.compare(ctx, list)
		r.Check = &c
		bar.Exit()
	}
	if err != nil {
		r.Check = nil
	}
	if tell := a.report(r); err == nil && tell != nil {
		err = tell
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(a.errs, "hipflask: the same command goes on from here")
		return err
	case err != nil:
		return fmt.Errorf("%w; the same command goes on from here", err)
	case r.Failed > 0:
		return &exitError{exitProblems, fmt.Sprintf("%d sessions could not be copied, the last one: %v",
			r.Failed, m.err)}
	case r.Check != nil && r.Check.Missing+r.Check.Differs > 0:
		return &exitError{exitProblems, "the stores differ: run the same command again"}
	}
	return nil
}

// bar shows how far a migration is: by a bar on a terminal, else by lines.
func (a *app) bar(total int, what string) progress {
	if !a.progress {
		return newLineProgress(a.errs, total, what, time.Now)
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(a.errs), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("sessions"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish())
}

// endMissing ends the copies whose sessions FROM has no more. If they are many, FROM may have been emptied, and nobody
// has logged out: then it takes a flag.
func (a *app) endMissing(ctx context.Context, m *migration, many bool) (ended int, err error) {
	list, ok := store.As[store.Lister](m.to)
	if !ok {
		fmt.Fprintln(a.errs, "hipflask: TO can't list its sessions: what was logged out in FROM since "+
			"an earlier run stays in TO until it expires")
		return 0, nil
	}
	keys, total, err := m.missing(ctx, list)
	if err != nil {
		return 0, err
	}
	if len(keys) > 10 && len(keys)*4 > total && !many {
		fmt.Fprintf(a.errs, "hipflask: FROM no longer has %d of %d sessions that were copied: was it emptied? "+
			"If they were logged out there, --end-missing ends the copies\n", len(keys), total)
		return 0, nil
	}
	for _, key := range keys {
		did, err := m.end(ctx, key)
		if err != nil {
			return ended, err
		}
		ended += count(did)
	}
	return ended, nil
}

func (a *app) report(r moved) error {
	if a.json {
		return a.object(r)
	}
	would := ""
	if r.DryRun {
		would = "would be "
	}
	for _, line := range []struct {
		n    int
		what string
	}{
		{r.Copied, would + "copied"},
		{r.Updated, would + "brought up to date"},
		{r.Same, "unchanged since they were copied"},
		{r.Kept, "left as the application has changed them in TO"},
		{r.Gone, "left ended as in TO"},
		{r.Vanished, "ended in FROM meanwhile"},
		{r.Ended, "copies ended, as FROM has them no more"},
		{r.Failed, "failed"},
	} {
		if line.n > 0 {
			fmt.Fprintf(a.out, "%8d %s\n", line.n, line.what)
		}
	}
	fmt.Fprintf(a.out, "%8d sessions and markers in FROM\n", r.Listed)
	if c := r.Check; c != nil {
		a.compared(*c)
	}
	return nil
}

func (a *app) compared(c comparison) {
	fmt.Fprintf(a.out, "%s: %d equal", a.bold("check"), c.Equal)
	for _, part := range []struct {
		n    int
		what string
	}{
		{c.Own, "with a life of their own in TO"},
		{c.Newer, "changed in FROM meanwhile (run again)"},
		{c.Differs, a.red("different")},
		{c.Missing, a.red("missing")},
	} {
		if part.n > 0 {
			fmt.Fprintf(a.out, ", %d %s", part.n, part.what)
		}
	}
	fmt.Fprintln(a.out)
}
