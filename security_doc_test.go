package session_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/security.md names exists.
func TestSecurityDocNamesTests(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		sources.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz|P[0-9]+[A-Z])[A-Za-z0-9]+)`").FindAllStringSubmatch(string(doc), -1)
	if len(names) < 50 {
		t.Errorf("got %d names of tests, want 50 or more", len(names))
	}
	for _, name := range names {
		if all := sources.String(); !strings.Contains(all, "func "+name[1]+"(") &&
			!strings.Contains(all, `"`+name[1]+`"`) && !strings.Contains(all, "{\""+name[1]+"\"") {
			t.Errorf("docs/security.md names %s, which is no test", name[1])
		}
	}
}
