package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run writes a package with the given test file, runs it with "go test -json" and returns what a report makes of it.
func run(t *testing.T, source string) (*report, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.com/subject\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "subject_test.go"), "package subject\n\n"+source)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "./...")
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOWORK=off", "GOFLAGS=")
	events, err := cmd.Output()
	if err != nil && len(events) == 0 {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := newReport(&out)
	if err := r.read(bytes.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return r, out.String()
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := appendLine(name, content); err != nil {
		t.Fatal(err)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, source            string
		passed, failed, skipped int
		say                     []string
		hide                    []string
	}{
		{
			"pass", `import "testing"; func TestA(t *testing.T) { t.Log("quiet"); t.Run("sub", func(*testing.T) {}) }`,
			2, 0, 0, []string{"ok  \texample.com/subject\t"}, []string{"quiet", "===", "PASS", "---"},
		}, {
			"fail", `import "testing"
func TestA(t *testing.T) { t.Log("quiet") }
func TestB(t *testing.T) { t.Run("sub", func(t *testing.T) { t.Error("reason") }) }`,
			1, 2, 0, []string{"reason", "--- FAIL: TestB/sub", "--- FAIL: TestB ", "FAIL\texample.com/subject\t"},
			[]string{"quiet", "==="},
		}, {
			"skip in a subtest",
			`import "testing"; func TestA(t *testing.T) { t.Run("sub", func(t *testing.T) { t.Skip("no server") }) }`,
			1, 0, 1, []string{"--- SKIP: TestA/sub", "no server", "ok  \t"}, nil,
		}, {
			"build failure", `import "testing"; func TestA(t *testing.T) { undefined() }`,
			0, 1, 0, []string{"undefined: undefined", "FAIL\texample.com/subject [build failed]"}, nil,
		}, {
			"panic", `import "testing"; func TestA(t *testing.T) { panic("reason") }`,
			0, 1, 0, []string{"panic: reason", "FAIL\texample.com/subject\t"}, nil,
		}, {
			"exit in the middle",
			`import ("os"; "testing"); func TestA(t *testing.T) { println("reason"); os.Exit(3) }`,
			0, 1, 0, []string{"reason", "FAIL\texample.com/subject\t"}, nil,
		}, {
			"failure outside tests",
			`import ("os"; "testing"); func TestMain(m *testing.M) { println("reason"); os.Exit(3) }`,
			0, 1, 0, []string{"reason", "FAIL\texample.com/subject\t"}, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, out := run(t, c.source)
			if r.passed != c.passed || r.failed != c.failed || r.skipped != c.skipped {
				t.Errorf("got %d passed, %d failed, %d skipped, want %d, %d, %d",
					r.passed, r.failed, r.skipped, c.passed, c.failed, c.skipped)
			}
			for _, want := range c.say {
				if !strings.Contains(out, want) {
					t.Errorf("got no %q in:\n%s", want, out)
				}
			}
			for _, unwanted := range c.hide {
				if strings.Contains(out, unwanted) {
					t.Errorf("got %q in:\n%s", unwanted, out)
				}
			}
		})
	}
}

func TestTruncatedStreamFails(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := newReport(&out)
	err := r.read(strings.NewReader(`{"Action":"output","Package":"p","Test":"TestA","Output":"last words\n"}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.failed != 1 || !strings.Contains(out.String(), "last words") {
		t.Errorf("got %d failed and %q, want 1 and the last words", r.failed, out.String())
	}
}
