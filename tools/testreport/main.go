// Command testreport reads the output of "go test -json" and prints what "go test" prints: a line for each package and
// the output of the tests that failed. Unlike "go test" it also names the tests that were skipped, which otherwise only
// -v does, and counts.
//
//	go test -json ./... | testreport [-noskip] [-counts FILE]
//
// It exits with status 1 if a test failed, or was skipped and -noskip is given.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	noskip := flag.Bool("noskip", false, "count a skipped test as failed")
	counts := flag.String("counts", "", "append a line with the numbers of passed, failed and skipped "+
		"tests to this file")
	flag.Parse()

	r := newReport(os.Stdout)
	err := r.read(os.Stdin)
	if *noskip {
		r.failed, r.skipped = r.failed+r.skipped, 0
	}
	if err == nil && *counts != "" {
		err = appendLine(*counts, fmt.Sprintf("%d %d %d\n", r.passed, r.failed, r.skipped))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	if r.failed > 0 {
		os.Exit(1)
	}
}

func appendLine(name, line string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// event is a line of "go test -json"; see "go doc test2json" and "go help buildjson".
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// report holds the output of the tests that have not ended yet, by package and test. Package-level output has no test.
type report struct {
	out                     io.Writer
	pending                 map[string]map[string]string
	failedIn                map[string]bool // packages that had a test fail
	passed, failed, skipped int             // tests and subtests; a package that fails outside its tests counts as one
}

func newReport(out io.Writer) *report {
	return &report{out: out, pending: map[string]map[string]string{}, failedIn: map[string]bool{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &e) == nil && e.Action != "":
			r.add(e)
		default: // the go command's own words
			fmt.Fprintf(r.out, "%s", line)
		}
		if errors.Is(err, io.EOF) {
			r.endAll()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) add(e event) {
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		if r.pending[e.Package] == nil {
			r.pending[e.Package] = map[string]string{}
		}
		r.pending[e.Package][e.Test] += e.Output
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e.Package, e.Action == "fail")
		} else {
			r.endTest(e)
		}
	}
}

func (r *report) endTest(e event) {
	output := r.pending[e.Package][e.Test]
	delete(r.pending[e.Package], e.Test)
	switch e.Action {
	case "pass":
		r.passed++
		return
	case "fail":
		r.failed++
		r.failedIn[e.Package] = true
	case "skip":
		r.skipped++
	}
	r.print(output)
}

// endPackage prints what the package itself said. Tests that have no end of their own were running when the process
// died, so what they printed may say why.
func (r *report) endPackage(name string, failed bool) {
	tests := r.pending[name]
	delete(r.pending, name)
	own := tests[""]
	delete(tests, "")
	if !failed {
		for line := range strings.Lines(own) {
			if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "? ") {
				fmt.Fprint(r.out, line)
			}
		}
		return
	}
	for _, output := range tests {
		r.print(output)
	}
	r.print(own)
	if !r.failedIn[name] {
		r.failed++
	}
}

// endAll treats packages without an end as failed: the go command was killed.
func (r *report) endAll() {
	for name := range r.pending {
		r.endPackage(name, true)
	}
}

// print leaves out the lines that only -v prints.
func (r *report) print(output string) {
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "=== ") && line != "PASS\n" {
			fmt.Fprint(r.out, line)
		}
	}
}
