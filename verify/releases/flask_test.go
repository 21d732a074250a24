package releases

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/flask"
)

// TestFlaskCookieFitsInAllReleases: a session that fits into Flask's cookie with one release fits with every release.
// Near the limit, sizes may differ by 0.3 %.
func TestFlaskCookieFitsInAllReleases(t *testing.T) {
	t.Parallel()
	signer, err := flask.NewSigner("cookie-session", []string{"secret-key"}, flask.DeriveHMAC, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for seed := range 20 {
		payload := flaskPayload(byte(seed), 8000+300*seed)
		fmt.Fprintf(&b, "%d %d\n", len(payload), len(signer.Sign(payload, time.Unix(1e9, 0))))
	}
	checkRecordedWith(t, "flask.txt", "\n", []byte(b.String()), func(got, want string) bool {
		var size, length, wantSize, wantLength int
		fmt.Sscan(got, &size, &length)
		fmt.Sscan(want, &wantSize, &wantLength)
		return size == wantSize && (length <= wantLength+wantLength*3/1000)
	})
}

// flaskPayload is JSON as sessions have it, of n bytes or a little more.
func flaskPayload(seed byte, n int) []byte {
	random := rand.NewChaCha8([32]byte{seed})
	below := func(n int) int { return int(random.Uint64() % uint64(n)) }
	words := []string{"order", "basket", "item", "price", "flash", "message", "Your profile has been saved",
		"success", "warning", "next", "/account/settings", "locale", "en_GB"}
	b := fmt.Appendf(nil, `{"_fresh":true,"_user_id":"12345","csrf_token":"%x"`, random.Uint64())
	for i := 0; len(b) < n; i++ {
		switch below(4) {
		case 0:
			b = fmt.Appendf(b, `,"k%d":%q`, i, words[below(len(words))])
		case 1:
			b = fmt.Appendf(b, `,"item%d":{"id":%d,"name":%q,"qty":%d}`, i, below(100000),
				words[below(len(words))], below(5))
		case 2:
			b = fmt.Appendf(b, `,"token%d":"%x"`, i, random.Uint64())
		case 3:
			b = fmt.Appendf(b, `,"t%d":"2026-11-%02dT%02d:00:00Z"`, i, below(28)+1, below(24))
		}
	}
	return append(b, '}')
}
