package session_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

func newCodec(t testing.TB, name string, keys ...string) session.Codec {
	t.Helper()
	c, err := session.EncryptedCookie(keys, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func cookieRecord() store.Record {
	return store.Record{
		Principal:  "änn",
		Label:      "Firefox on Windows",
		Handle:     "abcdefghijklmnop",
		CreatedAt:  time.UnixMilli(1700000000000),
		LastSeenAt: time.UnixMilli(1700000001234),
		ExpiresAt:  time.UnixMilli(4102444800000),
		Public:     []byte(`{"level":2}`),
		Data:       []byte(`{"color":"green","n":2.0}`),
	}
}

// A cookie made by testdata/oracle.py: the format stays readable, and is not just what our two halves agree on.
const encryptedVector = "AW8yMJgAAQIDBAUGBwgJCgsMDQ4PZGVmZ2hpamtsbW5v72ivCnpqZfEygtUii7EVBt-VLSH7UG4" +
	"HPvVb6mvG9ldEp45XTKrx2-F52ZFs1AePzUQ63hXO0CLSkMLy4gp2vVTeMVLfnXIPHBZg9wvg0qBE1Poks4FjqgYrDexnIS" +
	"gjx9BNJZibql71xtYbOF1ZpqnpJHgjUQ"

func TestEncryptedCookieVector(t *testing.T) {
	t.Parallel()
	got, err := newCodec(t, hostCookie, secret).Decode(encryptedVector)
	if want := cookieRecord(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestEncryptedCookieRoundTrip(t *testing.T) {
	t.Parallel()
	codec := newCodec(t, hostCookie, secret)
	for name, change := range map[string]func(*store.Record){
		"everything": func(*store.Record) {},
		"empty": func(r *store.Record) {
			r.Principal, r.Label, r.Handle, r.Public, r.Data = "", "", "", nil, []byte{}
		},
		"longest": func(r *store.Record) {
			r.Principal, r.Label = strings.Repeat("p", 256), strings.Repeat("l", 256)
		},
		"any bytes": func(r *store.Record) { r.Data = []byte("\x00\xff\n\r\"") },
		"early":     func(r *store.Record) { r.CreatedAt = time.UnixMilli(-62135596800000) },
		"late":      func(r *store.Record) { r.ExpiresAt = time.UnixMilli(1 << 52) },
	} {
		want := cookieRecord()
		change(&want)
		text, err := codec.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := codec.Decode(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
		if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%s: got %q, want nothing but base64url", name, text)
		}
	}
}

// One bit changed anywhere, key ID and version included, one byte more or less: refused, never half read.
func TestEncryptedCookieBits(t *testing.T) {
	t.Parallel()
	codec := newCodec(t, hostCookie, secret)
	good, err := codec.Encode(cookieRecord())
	if err != nil {
		t.Fatal(err)
	}
	message, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, b []byte) {
		t.Helper()
		r, err := codec.Decode(base64.RawURLEncoding.EncodeToString(b))
		if reason := session.Reason(""); !errors.As(err, &reason) ||
			reason != session.ReasonSignature && reason != session.ReasonMalformed {
			t.Errorf("%s: got %v, want a refusal for form or signature", what, err)
		}
		if !reflect.DeepEqual(r, store.Record{}) {
			t.Errorf("%s: got %+v with the error, want nothing", what, r)
		}
	}
	for i := range message {
		for bit := range 8 {
			b := append([]byte(nil), message...)
			b[i] ^= 1 << bit
			refused(fmt.Sprintf("bit %d of byte %d", bit, i), b)
		}
		refused(fmt.Sprintf("cut to %d bytes", i), message[:i])
	}
	refused("a byte more", append(append([]byte(nil), message...), 0))
	refused("reversed halves", append(append([]byte(nil), message[50:]...), message[:50]...))
	for name, codec := range map[string]session.Codec{
		"other name":     newCodec(t, "__Host-sessio", secret),
		"longer name":    newCodec(t, hostCookie+"2", secret),
		"other key":      newCodec(t, hostCookie, secret+"x"),
		"several others": newCodec(t, hostCookie, secret+"x", secret+"y", secret+"z"),
	} {
		if _, err := codec.Decode(good); !errors.Is(err, session.ReasonSignature) {
			t.Errorf("%s: got %v, want %v", name, err, session.ReasonSignature)
		}
	}
}

// SecretKeyFallbacks open; only SecretKey seals. Without the fallback the older cookies are refused.
func TestEncryptedCookieRotation(t *testing.T) {
	t.Parallel()
	const next = "next-Hc8Vx2KqT5nWz9RbJd4MyL7s"
	before, after := newCodec(t, hostCookie, secret), newCodec(t, hostCookie, next)
	during := newCodec(t, hostCookie, next, "between-Qm3Zt8XwK5vRc9NbL2Hj7Dg", secret)
	encode := func(c session.Codec) string {
		text, err := c.Encode(cookieRecord())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, c := range []struct {
		name       string
		seal, open session.Codec
		ok         bool
	}{
		{"old cookie meanwhile", before, during, true}, {"new cookie meanwhile", during, during, true},
		{"new cookie afterwards", during, after, true},
		{"new cookie by the old key alone", during, before, false}, {"old cookie afterwards", before, after, false},
	} {
		if _, err := c.open.Decode(encode(c.seal)); (err == nil) != c.ok {
			t.Errorf("%s: got %v, want it to open: %t", c.name, err, c.ok)
		}
	}
}

// Salt and nonce are new for each message: no two share a key.
func TestEncryptedCookieSalts(t *testing.T) {
	t.Parallel()
	codec := newCodec(t, hostCookie, secret)
	salts, nonces := map[string]bool{}, map[string]bool{}
	const n = 5000
	for range n {
		text, err := codec.Encode(cookieRecord())
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		salts[string(b[5:21])], nonces[string(b[21:33])] = true, true
	}
	if len(salts) != n || len(nonces) != n {
		t.Errorf("got %d salts and %d nonces of %d messages, want as many", len(salts), len(nonces), n)
	}
}

// Browsers drop a cookie whose name and value have more than 4096 bytes together: such a one is never sent.
func TestEncryptedCookieSize(t *testing.T) {
	t.Parallel()
	fill := func(s *session.Session) { s.Set("long", strings.Repeat("x", 2850)) }
	size := len(value(newBench(t, encrypted).cookie(t, fill)))
	if size < 4096-256 || size > 4085 {
		t.Fatalf("the test's session makes %d bytes, want a few less than 4096", size)
	}
	for total := 4090; total <= 4100; total++ {
		b := newBench(t, encrypted, func(c *session.Config) { c.Cookie.Name = strings.Repeat("n", total-size) })
		old := b.cookie(t, setPlain)
		var failure error
		res := b.get(t, old, func(w http.ResponseWriter, r *http.Request) {
			fill(session.From(r))
			session.From(r).Delete("color")
			w.Header().Set("Location", "/")
			w.WriteHeader(http.StatusFound)
			failure = session.From(r).Err()
		})
		if total <= 4096 {
			if c := res.Cookies(); res.StatusCode != http.StatusFound || len(c) != 1 ||
				len(c[0].Name)+len(c[0].Value) != total {
				t.Errorf("%d: got %d with %d cookies, want it sent", total, res.StatusCode, len(c))
			}
			continue
		}
		if res.StatusCode != http.StatusInternalServerError || len(res.Cookies()) != 0 ||
			res.Header.Get("Location") != "" || !errors.Is(failure, session.ErrTooLarge) {
			t.Errorf("%d: got %d, %d cookies, %v, want 500, none, ErrTooLarge", total, res.StatusCode,
				len(res.Cookies()), failure)
		}
		equal(t, "events", b.events.took(), []string{"failed"})
		if got := body(t, b.get(t, old, look)); !strings.Contains(got, "[color]") {
			t.Errorf("%d: got %s, want the session before", total, got)
		}
	}
}

// Both clocks are inside the cookie: what the browser keeps longer is refused.
func TestEncryptedCookieExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, encrypted, func(c *session.Config) { c.IdleTimeout, c.Lifetime = time.Hour, 10*time.Hour })
		first := b.cookie(t, setPlain)

		time.Sleep(time.Hour - time.Millisecond)
		if got := body(t, b.get(t, first, look)); !strings.Contains(got, "[color]") {
			t.Errorf("before IdleTimeout: got %s, want the session", got)
		}
		time.Sleep(time.Millisecond)
		none := dump(t, b.get(t, "", look))
		b.events.took()
		if got := dump(t, b.get(t, first, look)); got != none {
			t.Errorf("after IdleTimeout: got %s, want the answer to no cookie", got)
		}
		equal(t, "events", b.events.took(), []string{"rejected idle"})

		// Activity moves the idle timeout, not the lifetime. A cookie is sent again when a twentieth has passed.
		cookie, sent := b.cookie(t, setPlain), 0
		begin, alive := time.Now(), 0
		for time.Since(begin) < 11*time.Hour {
			time.Sleep(time.Minute)
			res := b.get(t, cookie, look)
			if strings.Contains(body(t, res), "[color]") {
				alive++
			}
			for _, c := range res.Cookies() {
				cookie, sent = c.Name+"="+c.Value, sent+1
			}
		}
		if want := 10*60 - 1; alive != want {
			t.Errorf("got a session in %d of the minutes, want %d: up to Lifetime", alive, want)
		}
		if want := 10 * 60 / 3; sent < want-3 || sent > want {
			t.Errorf("got %d cookies, want %d: one in each twentieth of IdleTimeout", sent, want)
		}
		if e := b.events.took(); len(e) == 0 || e[0] != "rejected lifetime" {
			t.Errorf("got events %q, want a rejection for its lifetime", e)
		}
	})
}

// Login, Renew, Logout and persistence in a cookie alone.
func TestEncryptedCookieLife(t *testing.T) {
	t.Parallel()
	b := newBench(t, encrypted)
	cookie := ""
	step := func(what string, do func(*session.Session), want string, events ...string) {
		t.Helper()
		res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) { do(session.From(r)) })
		for _, c := range res.Cookies() {
			if cookie = c.Name + "=" + c.Value; c.Value == "" {
				cookie = ""
			}
		}
		equal(t, what, b.events.took(), events)
		b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			if got := fmt.Sprintf("%q %v %q", s.Principal(), s.Keys(), s.Info().Label); got != want {
				t.Errorf("%s: got %s, want %s", what, got, want)
			}
		})
	}
	step("set", setPlain, `"" [color] ""`, "created")
	step("login", func(s *session.Session) {
		s.Login("ann")
		s.SetLabel("Firefox")
	}, `"ann" [color] "Firefox"`, "login")
	step("the same login", func(s *session.Session) { s.Login("ann") }, `"ann" [color] "Firefox"`, "login")
	step("renew", func(s *session.Session) { s.Renew() }, `"ann" [color] "Firefox"`, "renewed")
	step("update", func(s *session.Session) {
		session.Key[int]("n").Update(s, func(n int) int { return n + 1 })
	}, `"ann" [color n] "Firefox"`)
	step("another login", func(s *session.Session) { s.Login("bob") }, `"bob" [] ""`, "login")
	step("logout", func(s *session.Session) { s.Logout() }, `"" [] ""`, "logout")
	step("logout again", func(s *session.Session) { s.Logout() }, `"" [] ""`)
	step("login and flash", func(s *session.Session) {
		s.Login("ann")
		s.Flash("hello")
	}, `"ann" [_flashes] ""`, "login")
	step("logout and flash", func(s *session.Session) {
		s.Logout()
		s.Flash("bye")
	}, `"" [_flashes] ""`, "logout", "created")
	step("login", func(s *session.Session) { s.Login("ann") }, `"ann" [_flashes] ""`, "login")
	step("logout and another login", func(s *session.Session) {
		s.Logout()
		s.Login("bob")
	}, `"bob" [] ""`, "logout", "login")
	step("logout and set", func(s *session.Session) { s.Logout(); setPlain(s) }, `"" [color] ""`, "logout", "created")
	if _, _, err := session.Key[string]("color").Take(t.Context(), mustLoad(t, b, value(cookie))); !errors.Is(err,
		errors.ErrUnsupported) {
		t.Errorf("Take: got %v, want %v", err, errors.ErrUnsupported)
	}
	if _, err := b.RevokeAll(t.Context(), "ann"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("RevokeAll: got %v, want %v", err, errors.ErrUnsupported)
	}
}

func mustLoad(t testing.TB, b *bench, token string) *session.Session {
	t.Helper()
	s, err := b.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// With GODEBUG=fips140=only the standard library refuses what is not approved: the default configurations need none of
// that. The setting is read when a program starts, so this starts the test's binary once more.
func TestFIPS140Only(t *testing.T) {
	t.Parallel()
	if os.Getenv("HIPFLASK_TEST_FIPS") == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFIPS140Only$", "-test.v")
		c.Env = append(os.Environ(), "GODEBUG=fips140=only", "HIPFLASK_TEST_FIPS=1")
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFIPS140Only") {
			t.Errorf("got %v:\n%s", err, out)
		}
		return
	}
	for kind, option := range kinds {
		b := newBench(t, option, func(c *session.Config) { c.SecretKeyFallbacks = []string{session.NewSecretKey()} })
		cookie := b.cookie(t, func(s *session.Session) { setPlain(s); s.Login("ann") })
		if got := body(t, b.get(t, cookie, look)); !strings.Contains(got, "[color]") {
			t.Errorf("%s: got %s, want the session", kind, got)
		}
	}
}

// countingCodec counts the cookies that it decodes.
type countingCodec struct {
	session.Codec
	decoded *int
}

func (c countingCodec) Decode(value string) (store.Record, error) {
	*c.decoded++
	return c.Codec.Decode(value)
}

// TestEqualCookiesAreDecodedOnce: a cookie that a request repeats is decoded as if it were there once or twice, however
// often it is there and however it is quoted; and of different ones at most maxVerify are looked at.
func TestEqualCookiesAreDecodedOnce(t *testing.T) {
	t.Parallel()
	decoded := 0
	codec := newCodec(t, "session", session.NewSecretKey())
	m, err := session.New(session.Config{
		SecretKey: session.NewSecretKey(), InsecureHTTP: true, Cookie: session.Cookie{Name: "session"},
		CookieCodec: func([]string, string) (session.Codec, error) { return countingCodec{codec, &decoded}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	good := func(i int) string {
		r := cookieRecord()
		r.Handle, r.ExpiresAt = fmt.Sprint(i), time.Now().Add(time.Hour)
		value, err := codec.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		return "session=" + value
	}
	one := good(0)
	quoted := `session="` + strings.TrimPrefix(one, "session=") + `"`
	var different []string
	for i := range 100 {
		different = append(different, good(i))
	}
	const check, load = 1, 1 // how often a cookie among several is decoded for each
	for _, c := range []struct {
		what    string
		cookies []string
		most    int
	}{
		{"one", []string{one}, load},
		{"one, 32 times", slices.Repeat([]string{one}, 32), check + load},
		{"one, 5,000 times", slices.Repeat([]string{one}, 5_000), check + load},
		{"one, quoted or not", slices.Repeat([]string{one, quoted}, 50), check + load},
		{"a bad one, 32 times", slices.Repeat([]string{one + "A"}, 32), check},
		{"two, in turn", slices.Repeat([]string{one, good(1)}, 16), 2 * (check + load)},
		{"100 different ones", different, 32*check + 3*load},
	} {
		decoded = 0
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", strings.Join(c.cookies, "; "))
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			session.From(r).Keys()
		})).ServeHTTP(httptest.NewRecorder(), r)
		if decoded == 0 || decoded > c.most {
			t.Errorf("%s: %d cookies were decoded, want 1 to %d", c.what, decoded, c.most)
		}
	}
}
