package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/admin/summary"
	"github.com/hipflask/session/store"
	"github.com/spf13/cobra"
)

func (a *app) stats() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Count sessions, with a histogram of their ages",
		Long: "stats reads the list of all sessions and counts them: logged in, anonymous, and by the " +
			"time since they were last seen and since they began.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(_ *place, m *session.Manager) error {
				s := summary.New(time.Now())
				for i, err := range m.All(c.Context()) {
					if err != nil {
						return err
					}
					s.Add(i)
				}
				if a.json {
					return a.object(inJSON(s))
				}
				a.histogram(s)
				return nil
			})
		},
	}
}

type ageCount struct {
	Below    float64 `json:"below_seconds,omitempty"` // absent: any age
	LastSeen int     `json:"by_last_seen"`
	Created  int     `json:"by_creation"`
}

func inJSON(s *summary.Summary) any {
	var ages []ageCount
	for _, b := range s.Buckets {
		ages = append(ages, ageCount{b.Below.Seconds(), b.Idle, b.Age})
	}
	return struct {
		Total     int        `json:"total"`
		LoggedIn  int        `json:"logged_in"`
		Anonymous int        `json:"anonymous"`
		Ages      []ageCount `json:"ages"`
	}{s.Total, s.LoggedIn, s.Anonymous, ages}
}

// histogram writes two bars for each age, one under the other would be two diagrams to compare.
func (a *app) histogram(s *summary.Summary) {
	fmt.Fprintf(a.out, "%s sessions: %d logged in, %d anonymous\n", a.bold(fmt.Sprint(s.Total)), s.LoggedIn,
		s.Anonymous)
	if s.Total == 0 {
		return
	}
	most := 1
	for _, b := range s.Buckets {
		most = max(most, b.Idle, b.Age)
	}
	const width = 24
	bar := func(n int) string {
		eighths := (n*width*8 + most - 1) / most
		full := strings.Repeat("█", eighths/8)
		if rest := eighths % 8; rest > 0 {
			full += string([]rune(" ▏▎▍▌▋▊▉")[rest])
		}
		return full + strings.Repeat(" ", width-len([]rune(full)))
	}
	fmt.Fprintf(a.out, "\n%s\n", a.bold(fmt.Sprintf("%-13s%-34s%s", "", "last seen", "began")))
	for _, b := range s.Buckets {
		line := fmt.Sprintf("%-12s %s %-8d %s %d", b.Name, a.cyan(bar(b.Idle)), b.Idle, a.green(bar(b.Age)), b.Age)
		fmt.Fprintln(a.out, line)
	}
}

func (a *app) sweep() *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "Remove expired sessions",
		Long: `sweep removes the records of sessions that have expired. A running application does that by itself,
unless its Config.SweepInterval is negative; so does a store with expiry of its own, such as Redis.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(p *place, _ *session.Manager) error {
				s, ok := store.As[store.Sweeper](p.Store)
				if !ok {
					fmt.Fprintf(a.errs, "hipflask: %s removes expired sessions by itself\n", p.name)
				}
				const limit = 500
				removed := 0
				for n := limit; ok && n == limit; removed += n {
					var err error
					if n, err = s.Sweep(c.Context(), limit); err != nil {
						return err
					}
				}
				if a.json {
					return a.object(struct {
						Removed int `json:"removed"`
					}{removed})
				}
				fmt.Fprintf(a.out, "%d expired sessions removed\n", removed)
				return nil
			})
		},
	}
}
