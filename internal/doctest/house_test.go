package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const top = "5" // the floor of programs, which may import each other

var (
	floorRow = regexp.MustCompile(`(?m)^\| (\d) \|(.*)\|$`)
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// floorOf returns the floor of a package, 0 if it has none. A name that ends in "/..." stands for a folder.
func floorOf(floors map[string]string, name string) string {
	for folder := name; floors[name] == "" && folder != "."; folder = filepath.Dir(folder) {
		if floor := floors[folder+"/..."]; floor != "" {
			return floor
		}
	}
	return floors[name]
}

// wrongFloors returns what a page says of floors and isn't true of lines "package import".
func wrongFloors(page, imports string) (wrong []string) {
	floors := map[string]string{}
	for _, row := range floorRow.FindAllStringSubmatch(page, -1) {
		for _, name := range quoted.FindAllStringSubmatch(row[2], -1) {
			floors[name[1]] = row[1]
		}
	}
	seen := map[string]bool{}
	for line := range strings.Lines(imports) {
		from, to, _ := strings.Cut(strings.TrimSpace(line), " ")
		below, above := floorOf(floors, to), floorOf(floors, from)
		first, _, _ := strings.Cut(from, "/")
		switch {
		case above == "":
			if !seen[from] {
				wrong = append(wrong, from+" stands on no floor")
			}
		case to == "" || to == first || strings.HasPrefix(to, first+"/") || above == top:
		case below >= above:
			wrong = append(wrong, from+" imports "+to)
		}
		seen[from] = true
	}
	for name := range floors {
		if !seen[name] && !strings.HasSuffix(name, "/...") {
			wrong = append(wrong, name+" is no package")
		}
	}
	return wrong
}

// The floors of docs/house.md are those of the packages' imports.
func TestHouse(t *testing.T) {
	t.Parallel()
	needsWorkspace(t)
	page, err := os.ReadFile(filepath.Join(root, "docs/house.md"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := workspace()
	if err != nil {
		t.Fatal(err)
	}
	const lines = `{{$p := .ImportPath}}{{$p}} {{"\n"}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`
	out, err := c.goList("-f", lines, "work")
	if err != nil {
		t.Fatal(err)
	}
	var imports strings.Builder
	for line := range strings.Lines(out) {
		from, to, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, ours := strings.CutPrefix(from, module)
		imported, inner := strings.CutPrefix(to, module)
		if name = strings.TrimPrefix(name, "/"); name == "" {
			name = "session"
		}
		if imported = strings.TrimPrefix(imported, "/"); inner && imported == "" {
			imported = "session"
		}
		// Packages that only test stand beside the house.
		if ours && (inner || to == "") && !strings.HasPrefix(name, "verify") && !testOnly.MatchString(name) {
			imports.WriteString(name + " " + imported + "\n")
		}
	}
	for _, w := range wrongFloors(string(page), imports.String()) {
		t.Error(w)
	}
}

var testOnly = regexp.MustCompile(`^(internal/doctest|internal/servertest|store/internal/sqltest)$`)

func TestWrongHouse(t *testing.T) {
	t.Parallel()
	const page = "| 2 | `a`, `b/...` |\n| 1 | `c`, `d` |\n"
	for imports, want := range map[string]string{
		"a \na c\nb/x \nb/x c\nb/x b/y\nb/y \nc \nd \n": "",
		"a \na c\nc \nc a\nd \n":                        "c imports a",
		"a \na b/x\nb/x \nc \nd \n":                     "a imports b/x",
		"a \nc \nd \ne \ne c\n":                         "e stands on no floor",
		"a \nc \n":                                      "d is no package",
	} {
		if got := strings.Join(wrongFloors(page, imports), ", "); got != want {
			t.Errorf("%q: got %q, want %q", imports, got, want)
		}
	}
}
