package redisstore

import (
	"crypto/sha1"
	"encoding/hex"
	"testing"
)

// The server knows a script by the SHA-1 of its text.
func TestScriptsHaveTheirNames(t *testing.T) {
	t.Parallel()
	for name, sc := range map[string]script{
		"create": createScript, "replace": replaceScript, "touch": touchScript, "delete": deleteScript,
		"keep": keepScript, "release": releaseScript,
	} {
		sum := sha1.Sum([]byte(sc.lua))
		if want := hex.EncodeToString(sum[:]); sc.sha1 != want {
			t.Errorf("%s: got SHA-1 %q, want %q", name, sc.sha1, want)
		}
	}
}
