package flask_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

const secret = "dev" // short, but the other application's

func newManager(t *testing.T, options ...func(*session.Config)) *session.Manager {
	t.Helper()
	c := session.Config{SecretKey: secret, CookieCodec: flask.Cookie, Cookie: session.Cookie{Name: "session"}}
	for _, o := range options {
		o(&c)
	}
	m, err := session.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// serve sends one request and returns the answer and the cookie that the browser has then.
func serve(m *session.Manager, cookie string, f func(http.ResponseWriter, *http.Request)) (*http.Response, string) {
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", "session="+cookie)
	}
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(f)).ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		cookie = c.Value
	}
	return res, cookie
}

func change(f func(*session.Session)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { f(session.From(r)) }
}

func signer(t *testing.T) *flask.Signer {
	t.Helper()
	s, err := flask.NewSigner("cookie-session", []string{secret}, flask.DeriveHMAC, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func payload(t *testing.T, cookie string) string {
	t.Helper()
	p, _, err := signer(t).Unsign(cookie)
	if err != nil {
		t.Fatalf("the cookie %q can't be read: %v", cookie, err)
	}
	return string(p)
}

// roundTrip sets a value with one request and reads it with the next, typed and untyped.
func roundTrip[T any](t *testing.T, m *session.Manager, value T, wantText string, wantUntyped any) {
	t.Helper()
	key := session.Key[T]("k")
	_, cookie := serve(m, "", change(func(s *session.Session) { key.Set(s, value) }))
	if got, want := payload(t, cookie), `{"k":`+wantText+`}`; got != want {
		t.Errorf("%T: got %s, want %s", value, got, want)
	}
	_, again := serve(m, cookie, change(func(s *session.Session) {
		if got, ok := key.Get(s); !ok || !reflect.DeepEqual(got, value) {
			t.Errorf("%T: typed: got %#v, %v; want %#v", value, got, ok, value)
		}
		got, ok := s.Get("k")
		if !ok || !reflect.DeepEqual(got, wantUntyped) {
			t.Errorf("%T: untyped: got %#v, %v; want %#v", value, got, ok, wantUntyped)
		}
		s.Set("k", got)
		s.Set("other", true)
	}))
	if got, want := payload(t, again), `{"k":`+wantText+`,"other":true}`; got != want {
		t.Errorf("%T: what Get gave was written back as %s, want %s", value, got, want)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	type user struct {
		Name string `json:"name"`
		Age  int    `json:"age"`
	}
	at := time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)
	huge := new(big.Int).Lsh(big.NewInt(1), 100)
	roundTrip(t, m, "é", `"\u00e9"`, "é")
	roundTrip(t, m, 7, `7`, int64(7))
	roundTrip(t, m, 2.0, `2.0`, 2.0)
	roundTrip(t, m, true, `true`, true)
	roundTrip(t, m, []byte{0, 255}, `{" b":"AP8="}`, []byte{0, 255})
	roundTrip(t, m, at, `{" d":"Thu, 29 Feb 2024 23:59:59 GMT"}`, at)
	roundTrip(t, m, []string{"a", "b"}, `["a","b"]`, []any{"a", "b"})
	roundTrip(t, m, map[string]int{"a": 1}, `{"a":1}`, map[string]any{"a": int64(1)})
	roundTrip(t, m, user{"Ann", 42}, `{"age":42,"name":"Ann"}`, map[string]any{"age": int64(42), "name": "Ann"})
	roundTrip(t, m, flask.Tuple{int64(1), "x"}, `{" t":[1,"x"]}`, flask.Tuple{int64(1), "x"})
	roundTrip(t, m, flask.Markup("<b>"), `{" m":"<b>"}`, flask.Markup("<b>"))
	roundTrip(t, m, flask.UUID{1}, `{" u":"01000000000000000000000000000000"}`, flask.UUID{1})
	roundTrip(t, m, huge, huge.String(), huge)
}

func TestRefusedWhenSet(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	for name, value := range map[string]any{"zero time": time.Time{}, "not UTF-8": "\xff", "channel": make(chan int)} {
		var err error
		res, cookie := serve(m, "", func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			s.Set("k", value)
			err = s.Err()
			fmt.Fprint(w, "fine")
		})
		if err == nil || !strings.Contains(err.Error(), `"k"`) || res.StatusCode != http.StatusInternalServerError ||
			cookie != "" {
			t.Errorf("%s: got Err %v, status %d; want an error that names the key, and 500", name, err, res.StatusCode)
		}
	}
}

// TestNamesLikeTags: a session of one value whose name is a tag is escaped as a whole.
func TestNamesLikeTags(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	_, cookie := serve(m, "", change(func(s *session.Session) { s.Set(" t", 1) }))
	if got, want := payload(t, cookie), `{" di":{" t__":1}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	serve(m, cookie, change(func(s *session.Session) {
		if got, _ := s.Get(" t"); got != int64(1) {
			t.Errorf("got %v, want 1", got)
		}
	}))
}

func TestAttributesAndDeletion(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	res, cookie := serve(m, "", change(func(s *session.Session) { s.Set("a", 1) }))
	line := res.Header.Get("Set-Cookie")
	if want := "session=" + cookie + "; Path=/; HttpOnly; Secure; SameSite=Lax"; line != want {
		t.Errorf("got %q, want %q", line, want)
	}
	if res.Header.Get("Vary") != "Cookie" {
		t.Errorf("got Vary %q, want Cookie", res.Header.Get("Vary"))
	}
	res, _ = serve(m, cookie, change(func(s *session.Session) { s.Delete("a") }))
	if line := res.Header.Get("Set-Cookie"); !strings.HasPrefix(line,
		"session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("an emptied session: got %q, want a deletion", line)
	}
	res, _ = serve(m, cookie, change(func(s *session.Session) { s.Logout() }))
	if line := res.Header.Get("Set-Cookie"); !strings.HasPrefix(line, "session=; ") {
		t.Errorf("a logout: got %q, want a deletion", line)
	}
	res, _ = serve(m, cookie, change(func(s *session.Session) { s.Set("a", 1) }))
	if line := res.Header.Get("Set-Cookie"); line != "" {
		t.Errorf("nothing changed: got %q, want no cookie", line)
	}
}

// TestMaxCookieSize is Flask's MAX_COOKIE_SIZE, 4093 bytes of the whole line, on both sides.
func TestMaxCookieSize(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	// Text that can't be compressed, so that the size grows with it.
	random := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(session.NewSecretKey())
		}
		return b.String()[:n]
	}
	text := random(4000)
	fits, breaks := 0, 0
	for n, step := 2000, 0; n < 4000; n += step {
		var got error
		res, _ := serve(m, "", func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			s.Set("k", text[:n])
			fmt.Fprint(w, "fine")
			got = s.Err()
		})
		size := len(res.Header.Get("Set-Cookie"))
		switch {
		case got == nil && size <= 4093:
			fits = max(fits, size)
		case errors.Is(got, session.ErrTooLarge) && size == 0 && res.StatusCode == http.StatusInternalServerError:
			breaks++
		default:
			t.Fatalf("%d bytes of text: got %v, a cookie of %d bytes, status %d", n, got, size, res.StatusCode)
		}
		if step = 50; breaks > 0 || size > 3900 {
			step = 1
		}
		if breaks > 3 {
			break
		}
	}
	if fits < 4090 || breaks == 0 {
		t.Errorf("the largest cookie sent has %d bytes, want 4090 to 4093, and larger ones refused (%d were)",
			fits, breaks)
	}
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t)
		_, cookie := serve(m, "", change(func(s *session.Session) { s.Set("a", 1) }))
		has := func() (ok bool) {
			serve(m, cookie, change(func(s *session.Session) { _, ok = s.Get("a") }))
			return ok
		}
		time.Sleep(31*24*time.Hour - time.Second) // fake time
		if !has() {
			t.Error("gone before PERMANENT_SESSION_LIFETIME")
		}
		time.Sleep(3 * time.Second)
		if has() {
			t.Error("still there after PERMANENT_SESSION_LIFETIME")
		}
	})
}

// TestOneLifetime: Flask's layouts have no place for timeouts of persistent sessions, so they are refused, not ignored.
func TestOneLifetime(t *testing.T) {
	t.Parallel()
	for name, layout := range map[string]func(*session.Config){
		"cookie": func(c *session.Config) { c.CookieCodec = flask.Cookie },
		"store": func(c *session.Config) {
			c.Store, c.IDFormat, c.Serializer = memstore.New(nil), flask.SID, flask.Msgpack
		},
	} {
		for setting, set := range map[string]func(*session.Config){
			"PersistentIdleTimeout": func(c *session.Config) { c.PersistentIdleTimeout = time.Hour },
			"PersistentLifetime":    func(c *session.Config) { c.PersistentLifetime = -1 },
		} {
			c := session.Config{SecretKey: session.NewSecretKey(), SweepInterval: -1}
			layout(&c)
			set(&c)
			if m, err := session.New(c); err == nil || !strings.Contains(err.Error(), setting) {
				t.Errorf("%s with %s: got %v, %v, want an error that names it", name, setting, m, err)
			}
		}
	}
}

// TestRefresh: the cookie of a permanent session is renewed while it is used, that of another is not.
func TestRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, permanent := range []bool{true, false} {
			m := newManager(t, func(c *session.Config) { c.Lifetime = 20 * time.Hour })
			_, cookie := serve(m, "", change(func(s *session.Session) { s.Set("a", 1); s.SetPersistent(permanent) }))
			read := func() (ok, renewed bool) {
				before := cookie
				_, cookie = serve(m, cookie, change(func(s *session.Session) { _, ok = s.Get("a") }))
				return ok, cookie != before
			}
			time.Sleep(59 * time.Minute)
			if ok, renewed := read(); !ok || renewed {
				t.Errorf("permanent=%v, after 59 min: got ok=%v renewed=%v, want true, false", permanent, ok, renewed)
			}
			alive := 0
			for range 40 {
				time.Sleep(time.Hour)
				if ok, _ := read(); ok {
					alive++
				}
			}
			if want := map[bool]int{true: 40, false: 19}[permanent]; alive != want {
				t.Errorf("permanent=%v: alive for %d hours of use, want %d", permanent, alive, want)
			}
		}
	})
}

// TestSignedButUnreadable: Flask answers 500 until the cookie is gone; here it is an empty session and an event.
func TestSignedButUnreadable(t *testing.T) {
	t.Parallel()
	sign := signer(t)
	bomb := sign.Sign([]byte(`{"a":"`+strings.Repeat("x", 2<<20)+`"}`), time.Now())
	if len(bomb) > 4000 {
		t.Fatalf("a cookie of %d bytes is refused before it is read", len(bomb))
	}
	for name, cookie := range map[string]string{
		"no JSON": sign.Sign([]byte("nonsense"), time.Now()), "a list": sign.Sign([]byte("[1]"), time.Now()),
		"a tag": sign.Sign([]byte(`{" b":"YQ=="}`), time.Now()), "inflates to 2 MB": bomb,
	} {
		var got []session.Event
		m := newManager(t, func(c *session.Config) {
			c.OnEvent = func(_ context.Context, e session.Event) { got = append(got, e) }
		})
		res, _ := serve(m, cookie, func(w http.ResponseWriter, r *http.Request) {
			if n := session.From(r).Len(); n != 0 {
				t.Errorf("%s: got %d values, want none", name, n)
			}
		})
		if res.StatusCode != 200 || len(got) != 1 || got[0].Kind != session.EventRejected ||
			got[0].Reason != session.ReasonUndecodable {
			t.Errorf("%s: got status %d and events %+v; want 200 and one that says undecodable", name,
				res.StatusCode, got)
		}
	}
}

// TestInflated: a payload may have 1 MiB, and without a signature none is inflated at all.
func TestInflated(t *testing.T) {
	t.Parallel()
	sign := signer(t)
	for _, size := range []int{1 << 20, 1<<20 + 1} {
		cookie := sign.Sign([]byte(strings.Repeat("x", size)), time.Now())
		if cookie[0] != '.' {
			t.Fatal("the payload is not compressed")
		}
		payload, _, err := sign.Unsign(cookie)
		if size == 1<<20 && (err != nil || len(payload) != size) ||
			size > 1<<20 && !errors.Is(err, session.ReasonUndecodable) {
			t.Errorf("%d bytes: got %d, %v", size, len(payload), err)
		}
		// With another payload the signature is wrong, which comes before "undecodable".
		if _, _, err := sign.Unsign(".A" + cookie[2:]); !errors.Is(err, session.ReasonSignature) {
			t.Errorf("%d bytes, changed: got %v, want the reason signature", size, err)
		}
	}
}

// TestSignerUnderFIPS: GODEBUG is read when a program starts, so this starts the test's binary once more.
func TestSignerUnderFIPS(t *testing.T) {
	t.Parallel()
	if os.Getenv("HIPFLASK_TEST_FIPS") == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSignerUnderFIPS$", "-test.v")
		c.Env = append(os.Environ(), "GODEBUG=fips140=only", "HIPFLASK_TEST_FIPS=1")
		out, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestSignerUnderFIPS") {
			t.Errorf("got %v:\n%s", err, out)
		}
		return
	}
	_, err := flask.NewSigner("cookie-session", []string{secret}, flask.DeriveHMAC, nil, 0)
	if err == nil || !strings.Contains(err.Error(), "fips140=only") {
		t.Errorf("got %v, want an error that names fips140=only", err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	_, cookie := serve(newManager(t), "", change(func(s *session.Session) { s.Login("ann") }))
	rotated := newManager(t, func(c *session.Config) {
		c.SecretKey, c.SecretKeyFallbacks = "new", []string{"older", secret}
	})
	_, changed := serve(rotated, cookie, change(func(s *session.Session) {
		if s.Principal() != "ann" {
			t.Errorf("a cookie of the old key: got principal %q, want ann", s.Principal())
		}
		s.Set("a", 1)
	}))
	only := newManager(t, func(c *session.Config) { c.SecretKey = "new" })
	for _, c := range []struct{ cookie, want string }{{cookie, ""}, {changed, "ann"}} {
		serve(only, c.cookie, change(func(s *session.Session) {
			if got := s.Principal(); got != c.want {
				t.Errorf("with the new key alone: got principal %q, want %q", got, c.want)
			}
		}))
	}
}

func TestLoginIsFlaskLogins(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	_, cookie := serve(m, "", change(func(s *session.Session) { s.Set("cart", 1); s.Login("42") }))
	if got, want := payload(t, cookie), `{"_fresh":true,"_user_id":"42","cart":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, cookie = serve(m, cookie, change(func(s *session.Session) { s.Login("43") }))
	if got, want := payload(t, cookie), `{"_fresh":true,"_user_id":"43"}`; got != want {
		t.Errorf("somebody else: got %s, want %s", got, want)
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]session.Config{
		"SecretKey is empty": {CookieCodec: flask.Cookie},
		"SecretKeyFallbacks[0] is empty": {SecretKey: secret, SecretKeyFallbacks: []string{""},
			CookieCodec: flask.Cookie},
		"can't be negative": {SecretKey: secret, CookieCodec: flask.Options{Leeway: -1}.Cookie},
	} {
		if m, err := session.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error with %q", err, name)
			if m != nil {
				m.Close()
			}
		}
	}
}

func TestNoTake(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	_, cookie := serve(m, "", change(func(s *session.Session) { s.Set("a", "x") }))
	serve(m, cookie, func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := session.Key[string]("a").Take(r.Context(), session.From(r)); !errors.Is(err,
			errors.ErrUnsupported) {
			t.Errorf("Take: got %v, want errors.ErrUnsupported", err)
		}
	})
}

// TestDecodeNamesTheUser: who moves sessions on reads cookies by the codec alone. A request takes user and members at
// once.
func TestDecodeNamesTheUser(t *testing.T) {
	t.Parallel()
	codec, err := flask.Cookie([]string{secret}, "session")
	if err != nil {
		t.Fatal(err)
	}
	for document, want := range map[string]string{`{"_user_id":"ann"}`: "ann", `{"a":"_user_id"}`: "",
		`{"_user_id":7}`: "7", `{"_user\u005fid":"ann"}`: "ann", `{"_user_id":"a","_user_id":"b"}`: "b",
		`{"_user_id":"a","_user_id":7}`: "7", `{"_user_id":7,"_user_id":"b"}`: "b", `{"a":{"_user_id":"ann"}}`: "",
		`{"_user_id":"\u0061"}`: "a", `{"_user_id":null}`: "", `{"_user_id":{" m":"ann"}}`: "ann",
		`{" di":{"_user_id__":"ann"}}`: "ann", `{"_user_id":"ann","a":"\ud83d"}`: "ann",
		`{"_user_id":"ann"} x`: "", `{"_user_id":"ann"`: "", `{" t":["_user_id"]}`: ""} {
		cookie := signer(t).Sign([]byte(document), time.Now())
		r, err := codec.Decode(cookie)
		if err != nil || r.Principal != want {
			t.Errorf("%s: got principal %q, %v; want %q", document, r.Principal, err, want)
		}
		wantMembers, splitErr := codec.Serializer().Split(r.Data)
		var wantErr error
		if splitErr != nil {
			wantErr = session.ReasonUndecodable
		}
		again, members, err := codec.(interface {
			DecodeSplit(string) (store.Record, []session.Member, error)
		}).DecodeSplit(cookie)
		if err != wantErr || again.Principal != want || !reflect.DeepEqual(members, wantMembers) {
			t.Errorf("%s: DecodeSplit gave principal %q, %q, %v; want %q, %q, %v",
				document, again.Principal, members, err, want, wantMembers, wantErr)
		}
	}
}

// Flask's key is taken as it is, with one line in the log that doesn't show it.
func TestWeakKeysAreLoggedOnce(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"dev": "at least 16", "any random string": "well-known sample", "your-256-bit-secret": "guessable",
		session.NewSecretKey(): "",
	} {
		var log bytes.Buffer
		m := newManager(t, func(c *session.Config) {
			c.SecretKey, c.SecretKeyFallbacks, c.Logger = key, []string{"old"}, slog.New(slog.NewTextHandler(&log, nil))
			if want == "" {
				c.SecretKeyFallbacks = nil
			}
		})
		for range 3 {
			m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { session.From(r).Login("ann") })).
				ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.com/", nil))
		}
		got := log.String()
		if !strings.Contains(got, want) || strings.Count(got, "\n") > 1 || (want == "") != (got == "") ||
			strings.Contains(got, key) {
			t.Errorf("key of which is said %q: the log is %q", want, got)
		}
	}
}
