package doctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const widest = 120 // columns of a line; a tab counts four

func tooWide(line string) bool {
	return utf8.RuneCountInString(strings.ReplaceAll(strings.TrimSuffix(line, "\r"), "\t", "    ")) > widest
}

// wideLines returns the lines of a file that are too wide. In a document these are lines of prose, Go and text: rows of
// tables, what a program prints, and what `./bench -write` makes have the width that they need.
func wideLines(file, text string) (problems []problem) {
	lines := strings.Split(text, "\n")
	if filepath.Ext(file) == ".md" {
		blocks, prose, _ := split(file, text)
		made := false // between <!-- bench:NAME --> and <!-- end -->
		for i, line := range prose {
			made = strings.HasPrefix(line, "<!-- bench:") || made && line != "<!-- end -->"
			if made || strings.HasPrefix(line, "|") {
				prose[i] = ""
			}
		}
		lines = prose
		for _, b := range blocks {
			if b.language == "go" || b.language == "text" {
				copy(lines[b.line-1:], strings.Split(strings.TrimSuffix(b.text, "\n"), "\n"))
			}
		}
	}
	for i, line := range lines {
		if tooWide(line) {
			problems = append(problems, problem{file, i + 1, "the line has more than 120 columns"})
		}
	}
	return problems
}

// promised are words by which a document speaks of what will be there: what is there is described, the rest is not.
var promised = regexp.MustCompile(
	`(?i)\bnot (there )?yet\b|\bcoming soon\b|\bto be (done|written|implemented)\b|\bTODO\b`)

// promises returns the lines of a document that speak of what is not there yet.
func promises(file, text string) (problems []problem) {
	_, prose, _ := split(file, text)
	for i, line := range prose {
		if found := promised.FindString(line); found != "" {
			problems = append(problems, problem{file, i + 1, found + ": describe what is there"})
		}
	}
	return problems
}

// Every line of Go and prose is at most 120 columns wide, and no document says "not there yet".
func TestLines(t *testing.T) {
	t.Parallel()
	needsWorkspace(t)
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("git", "-C", root, "-c", "safe.directory="+abs, "ls-files", "*.go", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(out))
	if len(files) < 300 {
		t.Errorf("got %d files, want some hundred", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		problems := wideLines(file, string(text))
		if filepath.Ext(file) == ".md" {
			problems = append(problems, promises(file, string(text))...)
		}
		for _, p := range problems {
			t.Error(p)
		}
	}
}

func TestWrongLines(t *testing.T) {
	t.Parallel()
	wide := strings.Repeat("x", 121)
	for _, c := range []struct{ file, text, want string }{
		{"x.go", "x\n" + wide, "x.go:2"},
		{"x.go", "x\n\t" + strings.Repeat("ä", 116), ""},
		{"x.go", "x\n\t" + strings.Repeat("ä", 117), "x.go:2"},
		{"x.md", "# x\n\n" + wide, "x.md:3"},
		{"x.md", "```go\n\n" + wide + "\n```\n", "x.md:3"},
		{"x.md", "```console\n" + wide + "\n```\n| " + wide, ""},
		{"x.md", "<!-- bench:x -->\n" + wide + "\n<!-- end -->\n" + wide, "x.md:4"},
		{"x.md", "<!-- more -->\n" + wide, "x.md:2"},
		{"x.md", "## Not there yet", "x.md:1"},
		{"x.md", "It is not\nyet, but nothing yet", ""},
	} {
		got := ""
		for _, p := range append(wideLines(c.file, c.text), promises(c.file, c.text)...) {
			got += p.String()
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %.20q: got %q, want %q", c.file, c.text, got, c.want)
		}
	}
}
