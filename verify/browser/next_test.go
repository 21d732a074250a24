package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/hipflask/session/guard"
)

// TestNext holds guard.Next against the browser's own parser: whatever Next accepts leads to a page of this site. The
// texts are all sequences of up to three pieces that parsers of URLs have been fooled with, and those followed by a
// host.
func TestNext(t *testing.T) {
	pieces := []string{
		"/", "\\", "\t", "\n", "\r", " ", "\x00", "\x7f", "\u00a0", "\u2028", ".", "..", "%2f", "%5C",
		"%09", "%0a", "%00", ":", "@", ";", "?", "#",
		"evil.test", "https:", "javascript:", "／", "＼", "a",
	}
	var accepted, refused []string
	var build func(text string, left int)
	build = func(text string, left int) {
		r := &http.Request{URL: &url.URL{RawQuery: url.Values{"next": {text}}.Encode()}}
		if guard.Next(r, "") == text && text != "" {
			accepted = append(accepted, text)
		} else {
			refused = append(refused, text)
		}
		for _, p := range pieces {
			if left > 0 && (left > 1 || p == "evil.test") { // a shorter one ends without it
				build(text+p, left-1)
			}
		}
	}
	build("", 4)
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	b, _ := open(t, server.URL, t.TempDir())
	b.visit("/somewhere/login?x=1")
	leave := func(texts []string) []string {
		t.Helper()
		list, err := json.Marshal(texts)
		if err != nil {
			t.Fatal(err)
		}
		return get(b, chromedp.Evaluate[[]string](fmt.Sprintf(`%s.filter(next => {
			try { return new URL(next, location).origin !== location.origin } catch { return false }
		}).slice(0, 20)`, list)))
	}
	if away := leave(accepted); len(accepted) < 500 || len(away) > 0 {
		t.Errorf("of %d accepted texts these lead to another site: %q", len(accepted), away)
	}
	if len(refused) < 1000 || len(leave(refused[:min(len(refused), 50_000)])) == 0 {
		t.Errorf("of %d refused texts none leads to another site: the test shows nothing", len(refused))
	}
}
