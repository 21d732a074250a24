//go:build !linux

package filestore_test

import (
	"os"
	"testing"
)

// asOwner calls f as a user for whom modes count.
func asOwner(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("needs a user for whom modes count: root is none")
	}
	f()
}
