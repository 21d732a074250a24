package ownstore_test

import (
	"os"
	"strings"
	"testing"

	"github.com/hipflask/session/examples/ownstore"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(testing.TB) store.Store { return ownstore.New() },
		storetest.SingleOpen(), // the data is in the store's own memory
		storetest.Bubble(),     // and waiting for an expiry takes no time
		storetest.NoIndex(),    // no store.Lister
		storetest.OwnExpiry())  // no store.Sweeper: timers remove what has expired
}

// The page shows the code as it is.
func TestPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/write-a-store.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"ownstore.go": "// Package", "ownstore_test.go": "func TestStore"} {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		shown, _, _ := strings.Cut(string(code), "\n// The page shows")
		if !strings.Contains(string(page), shown[strings.Index(shown, from):]) {
			t.Errorf("docs/write-a-store.md does not show %s as it is", name)
		}
	}
}
