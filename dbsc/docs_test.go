package dbsc_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/dbsc.md names every kind of event and every reason.
func TestDocsNameEvents(t *testing.T) {
	source, err := os.ReadFile("events.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/dbsc.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?:Event|Reason)\w+ +(?:EventKind|Reason) += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(found) != 20 {
		t.Errorf("got %d kinds and reasons, want 20: has their form changed?", len(found))
	}
	for _, name := range found {
		if !strings.Contains(string(doc), "`"+string(name[1])+"`") {
			t.Errorf("docs/dbsc.md doesn't name %s", name[1])
		}
	}
}
