package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/hipflask/session/verify/benchmarks/measure"
)

// target is a row of the table of targets: what is to be reached, as a ratio to what it is held against.
type target struct {
	path, against string
	target, best  float64
	allocs        int // 0: any number
}

// row is a target with what was measured.
type row struct {
	target
	ratio     measure.Ratio
	more      bool // the higher, the better
	value     string
	allocated float64
}

func (b *bench) row(t target, us, them measure.Samples) {
	b.rows = append(b.rows, row{target: t, ratio: us.Over(them), value: duration(us.Median()), allocated: us.Allocs})
}

func (r row) verdict() string {
	reached := func(bound float64) bool {
		if r.more {
			return r.ratio.Median >= bound
		}
		return r.ratio.Median <= bound
	}
	switch {
	case r.allocs > 0 && math.Round(r.allocated) > float64(r.allocs):
		return fmt.Sprintf("missed: at most %d allocations", r.allocs)
	case reached(r.best):
		return "best"
	case reached(r.target.target):
		return "met"
	}
	return "missed"
}

// targets prints the table of targets.
func (b *bench) targets() error {
	if len(b.limits) > 0 {
		t := table{head: []string{"", "scs", "target", "best", "measured", ""}}
		for _, l := range b.limits {
			t.add(l.path, l.peer, l.target, l.best, l.measured, l.verdict)
		}
		if err := b.publish("limits", "Limits", t); err != nil {
			return err
		}
	}
	if len(b.rows) == 0 {
		return nil
	}
	t := table{head: []string{"path", "held against", "target", "best", "measured", "range", "per request",
		"allocations", ""}}
	for _, r := range b.rows {
		allocated := ""
		if !r.more {
			allocated = fmt.Sprintf("%.0f", r.allocated)
		}
		t.add(r.path, r.against, ratio(r.target.target), ratio(r.best), ratio(r.ratio.Median),
			bounds(r.ratio), r.value, allocated, r.verdict())
	}
	return b.publish("targets", "Targets", t)
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

func duration(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f µs", float64(d.Nanoseconds())/1e3)
	}
	return fmt.Sprintf("%.1f ms", float64(d.Nanoseconds())/1e6)
}

// table is a table of Markdown.
type table struct {
	head  []string
	lines [][]string
}

func (t *table) add(line ...string) { t.lines = append(t.lines, line) }

// String aligns the columns, for those who read it as text.
func (t *table) String() string {
	width := make([]int, len(t.head))
	for _, line := range append([][]string{t.head}, t.lines...) {
		for i, cell := range line {
			width[i] = max(width[i], len([]rune(cell)), 3)
		}
	}
	var text strings.Builder
	write := func(line []string) {
		for i, cell := range line {
			fmt.Fprintf(&text, "| %s%s ", cell, strings.Repeat(" ", width[i]-len([]rune(cell))))
		}
		text.WriteString("|\n")
	}
	write(t.head)
	for _, w := range width {
		text.WriteString("|" + strings.Repeat("-", w+2))
	}
	text.WriteString("|\n")
	for _, line := range t.lines {
		write(line)
	}
	return text.String()
}

// publish prints a table, and what is to be said of it, and puts both into the document.
func (b *bench) publish(section, title string, t table, remarks ...string) error {
	text := t.String()
	for _, remark := range remarks {
		text += "\n" + remark
	}
	fmt.Fprintf(b.out, "%s\n\n%s\n", title, text)
	if len(b.docs) == 0 {
		return nil
	}
	for _, doc := range b.docs {
		if doc.has(section) {
			return doc.replace(section, text+"\n"+b.conditions())
		}
	}
	return fmt.Errorf("no document has a section %s", section)
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

// document is a Markdown file with sections that this program writes, each between <!-- bench:NAME --> and <!-- end
// -->.
type document struct {
	path string
	text []byte
}

func openDocument(path string) (*document, error) {
	text, err := os.ReadFile(path)
	return &document{path, text}, err
}

func sectionBegin(name string) []byte { return []byte("<!-- bench:" + name + " -->\n") }

func (d *document) has(section string) bool { return bytes.Contains(d.text, sectionBegin(section)) }

func (d *document) replace(section, text string) error {
	begin := sectionBegin(section)
	end := []byte("<!-- end -->\n")
	from := bytes.Index(d.text, begin)
	if from < 0 {
		return fmt.Errorf("%s has no section %s", d.path, section)
	}
	from += len(begin)
	length := bytes.Index(d.text[from:], end)
	if length < 0 {
		return fmt.Errorf("%s: section %s has no end", d.path, section)
	}
	d.text = bytes.Join([][]byte{d.text[:from], []byte("\n" + text + "\n"), d.text[from+length:]}, nil)
	return nil
}

func (d *document) save() error { return os.WriteFile(d.path, d.text, 0o644) }
