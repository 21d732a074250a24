package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hipflask/session/verify/benchmarks/measure"
)

// target is a row of the table of targets: what is to be reached, as a ratio to what it is held against.
type target struct {
	path, against string
	target, best  float64
	allocs        int // 0: any number
}

// row adds a row to the table of targets: the time of one subject as a share of another one's.
func (b *bench) row(t target, us, them measure.Samples) {
	result := verdict(us.Over(them).Median, t.target, t.best)
	if t.allocs > 0 && math.Round(us.Allocs) > float64(t.allocs) {
		result = fmt.Sprintf("missed: at most %d allocations", t.allocs)
	}
	b.add(t, us.Over(them), duration(us.Median()), fmt.Sprintf("%.0f", us.Allocs), result)
}

// rate adds a row for requests per second.
func (b *bench) rate(t target, us, them []float64) {
	r := measure.Quotient(us, them)
	b.add(t, r, fmt.Sprintf("%.0f per s", measure.Spread(us).Median), "", verdict(r.Median, t.target, t.best))
}

func (b *bench) add(t target, r measure.Ratio, value, allocs, verdict string) {
	b.rows.add(t.path, t.against, ratio(t.target), ratio(t.best), ratio(r.Median), bounds(r), value, allocs, verdict)
}

// limit adds a row that is no ratio.
func (b *bench) limit(path, peer string, format func(float64) string, target, best, measured float64) {
	b.limits.add(path, peer, format(target), format(best), format(measured), verdict(measured, target, best))
}

// verdict judges a measured value. The higher it is the better if best is more than target.
func verdict(v, target, best float64) string {
	if best > target {
		v, target, best = -v, -target, -best
	}
	switch {
	case v <= best:
		return "best"
	case v <= target:
		return "met"
	}
	return "missed"
}

// targets prints the tables of targets.
func (b *bench) targets() error {
	b.limits.head = []string{"", "scs", "target", "best", "measured", ""}
	b.rows.head = []string{"path", "held against", "target", "best", "measured", "range", "per request",
		"allocations", ""}
	for _, t := range []struct {
		section, title string
		table
	}{{"limits", "Limits", b.limits}, {"targets", "Targets", b.rows}} {
		if t.lines == nil {
			continue
		}
		if err := b.publish(t.section, t.title, t.table); err != nil {
			return err
		}
	}
	return nil
}

// ratio writes small ratios as fractions.
func ratio(v float64) string {
	if v < 0.3 {
		return fmt.Sprintf("1/%.0f", 1/v)
	}
	return fmt.Sprintf("%.2f", v)
}

// bounds writes the bounds of a ratio.
func bounds(r measure.Ratio) string { return ratio(r.Low) + " to " + ratio(r.High) }

func duration(d time.Duration) string { return nanoseconds(float64(d)) }

// nanoseconds writes a time.
func nanoseconds(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}} {
		if v >= unit.size {
			return fmt.Sprintf("%.3g %s", v/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3g ns", v)
}

// table is a table of Markdown.
type table struct {
	head  []string
	lines [][]string
}

func (t *table) add(line ...string) { t.lines = append(t.lines, line) }

// String aligns the columns, for those who read it as text.
func (t *table) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 1, ' ', 0)
	rule := slices.Repeat([]string{"---"}, len(t.head))
	for _, line := range slices.Concat([][]string{t.head, rule}, t.lines) {
		fmt.Fprintf(w, "| %s\t|\n", strings.Join(line, "\t| "))
	}
	w.Flush() // to memory: it can't fail
	return text.String()
}

// publish prints a table, and what is to be said of it, and puts both into the section of the document that has it:
// what is between <!-- bench:NAME --> and <!-- end -->.
func (b *bench) publish(section, title string, t table, remarks ...string) error {
	text := t.String()
	for _, remark := range remarks {
		text += "\n" + remark
	}
	fmt.Fprintf(b.out, "%s\n\n%s\n", title, text)
	if len(b.docs) == 0 {
		return nil
	}
	place := regexp.MustCompile("(?s)(<!-- bench:" + section + " -->\n).*?(<!-- end -->\n)")
	for _, path := range b.docs {
		doc, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if at := place.FindSubmatchIndex(doc); at != nil {
			doc = slices.Concat(doc[:at[3]], []byte("\n"+text+"\n"+b.conditions()+"\n"), doc[at[4]:])
			return os.WriteFile(path, doc, 0o644)
		}
	}
	return fmt.Errorf("no document has a section %s with an end", section)
}

// conditions says where and how it was measured.
func (b *bench) conditions() string {
	return fmt.Sprintf("%s, %s, %d processors, %s/%s, on %s: `%s`.\n",
		runtime.Version(), processor(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH,
		time.Now().Format(time.DateOnly), b.command)
}

// processor returns the name of the CPU, as far as the system tells it.
func processor() string {
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	if name, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		return strings.TrimSpace(string(name))
	}
	return "unknown CPU"
}
