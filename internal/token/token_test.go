package token

import (
	"strings"
	"testing"
)

// One of 64 random texts of this alphabet begins with a dash.
func TestHandleIsNoFlag(t *testing.T) {
	t.Parallel()
	for range 2000 {
		if handle := NewHandle(); strings.HasPrefix(handle, "-") || len(handle) != 16 {
			t.Fatalf("got the handle %q", handle)
		}
	}
}
