package interleave

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

var (
	ablate = flag.Bool("ablate", false, "switch off every rule of the protocol in turn, not only a few")
	table  = flag.String("table", "", "with -ablate: write the table of what was caught to this file")

	// For the runs that TestAblations starts.
	child       = flag.Bool("child", false, "run the scenarios until one breaks, and say which")
	brokenStore = flag.String("store", "", "with -child: the store to run on, of those of brokenStores")
)

// brokenStores are rules of the store's contract that the protocol relies on.
var brokenStores = map[string]options{
	"":            {},
	"indexLast":   {indexLast: true},
	"indexCleans": {indexCleans: true},
	"repeats":     {repeats: true},
}

// TestChild is what TestAblations runs in a program with one rule switched off.
func TestChild(t *testing.T) {
	if !*child {
		return
	}
	runs := 0
	for _, sc := range selected(t, slices.Concat(scenarios, hard, mixed, limited)) {
		synctest.Test(t, func(t *testing.T) {
			o := brokenStores[*brokenStore]
			o.managers = max(*managers, 0)
			r := (&explorer{first: true}).explore(t, &sc, o, *limit)
			runs += r.runs
			if len(r.bad()) > 0 {
				f := r.bad()[0]
				fmt.Printf("\ncaught\t%s\t%d\t%s\n%s\n", sc.name, runs, f, r.findings[f])
			}
		})
	}
}

// caught is the line of the table for one ablation.
type caught struct{ scenario, runs, finding string }

// Each rule of the protocol is needed: without it, the explorer finds a broken promise. A rule is switched off by a
// change of the core's source, in an overlay, at the line that has the comment "// rule: NAME". An anchor that is
// missing fails.
func TestAblations(t *testing.T) {
	if *child {
		return
	}
	core := coreFolder(t)
	var mu sync.Mutex
	lines := map[string]caught{}
	for _, a := range ablations {
		if !*ablate && !a.daily {
			a.edited(t, core)
			continue
		}
		t.Run(a.rule, func(t *testing.T) {
			t.Parallel()
			c := a.run(t, core)
			mu.Lock()
			defer mu.Unlock()
			lines[a.rule+a.what] = c
		})
	}
	t.Cleanup(func() {
		text := tableText(lines)
		t.Log("\n" + text)
		if *table != "" && *ablate && !t.Failed() {
			if err := os.WriteFile(*table, []byte(tableHead+text), 0o644); err != nil {
				t.Error(err)
			}
		}
	})
}

const tableHead = `# What each rule is for

Each row switches off a rule of the save protocol ([docs/protocol.md](../../docs/protocol.md)) or of the store's
contract in the real code. "Caught by" is the scenario, "after runs" the number of interleavings until the explorer
found a broken promise, and "what broke" that promise. This command makes the table:

` + "```sh\ngo test -run Ablations -ablate -table ablations.md\n```\n\n"

func tableText(lines map[string]caught) string {
	var b strings.Builder
	b.WriteString("| rule | switched off | caught by | after runs | what broke |\n|---|---|---|---:|---|\n")
	for _, a := range ablations {
		if c, ok := lines[a.rule+a.what]; ok {
			fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s |\n",
				a.rule, a.what, strings.ReplaceAll(c.scenario, "|", "\\|"), c.runs, c.finding)
		}
	}
	return b.String()
}

func (a *ablation) run(t *testing.T, core string) (c caught) {
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range a.edited(t, core) {
		changed := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(changed, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[name] = changed
	}
	if t.Failed() {
		return c
	}
	file := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(overlay)
	if err == nil {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	scenario := "^" + regexp.QuoteMeta(a.scenario) + "$"
	args := []string{"test", "-v", "-vet=off", "-count=1", "-run=^TestChild$", "-overlay=" + file, ".",
		"-child", "-scenario=" + scenario, "-store=" + a.store, fmt.Sprintf("-managers=%d", a.managers),
		fmt.Sprintf("-faults=%d", a.faults)}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	found := regexp.MustCompile(`(?m)^caught\t(.*)\t(.*)\t(.*)$`).FindStringSubmatch(out.String())
	if found == nil {
		t.Fatalf("without %s (%s): got no finding in %q, want one", a.rule, a.what, a.scenario)
	}
	t.Log(strings.TrimSuffix(out.String(), "\n"))
	return caught{found[1], found[2], found[3]}
}

// The table of ablations names every rule once for each place.
func TestAblationsAreDistinct(t *testing.T) {
	var names []string
	for _, a := range ablations {
		names = append(names, a.rule+": "+a.what)
	}
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) {
		t.Errorf("got %d distinct ones, want %d", n, len(names))
	}
}
