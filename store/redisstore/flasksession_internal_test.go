package redisstore

import (
	"crypto/sha1"
	"encoding/hex"
	"testing"
)

func TestFlaskScriptsHaveTheirNames(t *testing.T) {
	t.Parallel()
	for name, sc := range map[string]script{
		"load": flaskLoad, "create": flaskCreate, "replace": flaskReplace, "touch": flaskTouch, "retire": flaskRetire,
	} {
		sum := sha1.Sum([]byte(sc.lua))
		if want := hex.EncodeToString(sum[:]); sc.sha1 != want {
			t.Errorf("%s: got SHA-1 %q, want %q", name, sc.sha1, want)
		}
	}
}
