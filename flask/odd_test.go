package flask_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
)

// TestFullCookieIsRenewed: Flask made the cookie (verify/interop has the like), as long as one can be; compressed by Go
// it would be 42 bytes longer. A request that only reads renews it all the same.
func TestFullCookieIsRenewed(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/full.txt")
	if err != nil {
		t.Fatal(err)
	}
	cookie := strings.TrimSpace(string(b))
	packed, signed, err := signer(t).Unsign(cookie)
	if err != nil {
		t.Fatal(err)
	}
	if again := signer(t).Sign(packed, signed); len(again) <= len(cookie) {
		t.Skipf("this release of Go compresses as well as Python: %d bytes, %d there", len(again), len(cookie))
	}
	m := newManager(t, func(c *session.Config) { c.Lifetime = 40 * 365 * 24 * time.Hour })
	res, renewed := serve(m, cookie, change(func(s *session.Session) { s.Get("t") }))
	if res.StatusCode != http.StatusOK || renewed == cookie || len(renewed) != len(cookie) {
		t.Fatalf("got status %d and a cookie of %d bytes; want 200 and a new one of %d", res.StatusCode,
			len(renewed), len(cookie))
	}
	payload, at, err := signer(t).Unsign(renewed)
	if err != nil || string(payload) != string(packed) || time.Since(at) > time.Hour {
		t.Errorf("the renewed cookie was signed at %v, %v", at, err)
	}

	// One that doesn't fit with our attributes is not renewed, and that is no failure either.
	m = newManager(t, func(c *session.Config) {
		c.Lifetime = 40 * 365 * 24 * time.Hour
		c.Cookie.Path = "/" + strings.Repeat("a", 100)
	})
	if res, after := serve(m, cookie, change(func(s *session.Session) {
		s.Get("t")
	})); res.StatusCode != http.StatusOK || after != cookie {
		t.Errorf("with a longer Path: got status %d, another cookie: %v", res.StatusCode, res.Header)
	}
	if res, _ := serve(m, cookie, change(func(s *session.Session) {
		s.Set("t", 1)
		s.Set("u", strings.Repeat("x", 9))
	})); res.StatusCode != http.StatusOK {
		t.Errorf("a change that makes it shorter: got status %d", res.StatusCode)
	}
}

// TestOddValueCostsItsKeyAlone: the documents are what Flask 3.1.3 writes of datetime(50, 1, 1), "\ud83d" and so on, or
// what nobody writes.
func TestOddValueCostsItsKeyAlone(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]string{
		"the year 50":            `"odd":{" d":"Sat, 01 Jan 0050 00:00:00 GMT"}`,
		"half a surrogate pair":  `"odd":"\ud83d"`,
		"the other half":         `"odd":"a\ude00b"`,
		"halves in wrong order":  `"odd":"\ude00\ud83d\ud83d"`,
		"half of one, and a tag": `"odd":{" m":"\ud83d"}`,
		"deep within":            `"odd":{"a":[1,{" t":[{" d":"no date"}]}]}`,
		"bad base64":             `"odd":{" b":"%"}`,
		"a bad UUID":             `"odd":{" u":"1"}`,
		"a tuple that is none":   `"odd":{" t":5}`,
		"a key of half a pair":   `"o\ud83dd":1`,
	} {
		cookie := signer(t).Sign([]byte(`{"_user_id":"ann",`+odd+`,"theme":"dark"}`), time.Now())
		var events []session.Event
		m := newManager(t, func(c *session.Config) {
			c.OnEvent = func(_ context.Context, e session.Event) { events = append(events, e) }
		})
		_, after := serve(m, cookie, change(func(s *session.Session) {
			theme, _ := s.Get("theme")
			_, there := s.Get("odd")
			if s.Principal() != "ann" || theme != "dark" || there {
				t.Errorf("%s: principal %q, theme %v, the odd key: %v", name, s.Principal(), theme, there)
			}
			s.Set("new", 1)
		}))
		if key := strings.HasPrefix(odd, `"odd"`); key &&
			(len(events) == 0 || events[0].Kind != session.EventUndecodable || events[0].Key != "odd") {
			t.Errorf("%s: got events %+v, want one that names the key", name, events)
		}
		want := `{"_user_id":"ann","new":1,` + odd + `,"theme":"dark"}`
		if got := payload(t, after); got != want {
			t.Errorf("%s: after a change of something else:\n got %s\nwant %s", name, got, want)
		}
		_, after = serve(m, after, change((*session.Session).Clear))
		if got := payload(t, after); got != `{"_user_id":"ann"}` {
			t.Errorf("%s: after Clear: got %s", name, got)
		}
	}
}
