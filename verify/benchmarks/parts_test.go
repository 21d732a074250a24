package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/verify/benchmarks/measure"
)

// TestParts runs every part of the command once, with as little as it can do with, and looks whether each leaves a
// table without a hole in it.
func TestParts(t *testing.T) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			var out bytes.Buffer
			b := &bench{plan: measure.Plan{Rounds: 1, Slice: time.Millisecond}, sessions: 10, quick: true,
				dir:      t.TempDir(),
				pictures: t.TempDir(), out: &out}
			if err := p.run(b); err != nil {
				t.Fatal(err)
			}
			if err := b.targets(); err != nil {
				t.Fatal(err)
			}
			t.Log(out.String())
			if !strings.Contains(out.String(), "\n| --") {
				t.Error("it printed no table")
			}
			for _, hole := range []string{"NaN", "Inf", "%!", "| 0 ns"} {
				if strings.Contains(out.String(), hole) {
					t.Errorf("it printed %q", hole)
				}
			}
		})
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "doc.md")
	before := "# Title\n\n<!-- bench:a -->\n\nold\n\n<!-- end -->\n\nbetween\n\n<!-- bench:b -->\n<!-- end -->\nafter\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{docs: []string{path}, out: io.Discard}
	for section, want := range map[string]string{
		"a": "<nil>", "b": "<nil>", "c": "no document has a section c with an end",
	} {
		if got := fmt.Sprint(b.publish(section, "", table{head: []string{"$1 " + section}})); got != want {
			t.Errorf("section %s: got %s, want %s", section, got, want)
		}
	}
	section := func(name string) string {
		return "<!-- bench:" + name + " -->\n\n| $1 " + name + " |\n| ---  |\n\n" + b.conditions() + "\n<!-- end -->\n"
	}
	want := "# Title\n\n" + section("a") + "\nbetween\n\n" + section("b") + "after\n"
	if after, err := os.ReadFile(path); err != nil || string(after) != want {
		t.Errorf("got %q, %v, want %q", after, err, want)
	}
}

// TestTable holds how numbers and verdicts are written.
func TestTable(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0.0142: "1/70", 0.25: "1/4", 0.55: "0.55", 1.6: "1.60"} {
		if got := ratio(v); got != want {
			t.Errorf("ratio %v: got %s, want %s", v, got, want)
		}
	}
	for _, c := range []struct {
		measured, target, best float64
		want                   string
	}{
		{0.3, 0.5, 0.3, "best"}, {0.5, 0.5, 0.3, "met"}, {0.51, 0.5, 0.3, "missed"},
		{0.9, 0.8, 0.9, "best"}, {0.85, 0.8, 0.9, "met"}, {0.7, 0.8, 0.9, "missed"},
	} {
		if got := verdict(c.measured, c.target, c.best); got != c.want {
			t.Errorf("%+v: got %s, want %s", c, got, c.want)
		}
	}
	var b bench
	for _, allocs := range []float64{3.2, 4} {
		b.row(target{target: 0.5, best: 0.3, allocs: 3}, measure.Samples{Time: []float64{1}, Allocs: allocs},
			measure.Samples{Time: []float64{5}})
	}
	want := `|  |  | 0.50 | 0.30 | 1/5 | 1/5 to 1/5 | 1 ns | 3 | best                          |
|  |  | 0.50 | 0.30 | 1/5 | 1/5 to 1/5 | 1 ns | 4 | missed: at most 3 allocations |
`
	if got := b.rows.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
