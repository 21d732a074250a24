package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":         "module example.com/subject\n\ngo 1.26\n",
		"all.go":         "package subject\n\nconst large int = 1 << 40\n",
		"one_windows.go": "package subject\n\nvar _ = undefined\n",
		"a_test.go":      "package subject\n\nvar _ string = 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "")
	for platform, want := range map[string][]string{
		"windows/amd64": {"a_test.go", "undefined: undefined"},
		"linux/arm":     {"a_test.go", "overflows"},
	} {
		problems, err := check(dir, platform)
		if err != nil || len(problems) != len(want) {
			t.Errorf("%s: got %q, %v, want %d problems", platform, problems, err, len(want))
		}
		for _, text := range want {
			if !strings.Contains(strings.Join(problems, "\n"), text) {
				t.Errorf("%s: got %q, want %q", platform, problems, text)
			}
		}
	}
	if _, err := check(dir, "plan9"); err == nil {
		t.Error("took a platform without an architecture")
	}
}
