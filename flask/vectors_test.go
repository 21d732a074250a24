package flask

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
)

// vector is a cookie made and judged by Flask 3.1.3, itsdangerous 2.2.0 and Werkzeug 3.1.8 on Python 3.11.
type vector struct {
	Name          string   `json:"name"`
	SecretHex     string   `json:"secret_hex"`
	FallbacksHex  []string `json:"fallbacks_hex"`
	MaxAge        int64    `json:"max_age"`
	Now           int64    `json:"now"`
	Timestamp     *int64   `json:"timestamp"`
	Cookie        *string  `json:"cookie"`
	CookieHex     string   `json:"cookie_hex"`
	PayloadJSON   *string  `json:"payload_json"`
	Compressed    bool     `json:"compressed"`
	Valid         bool     `json:"valid"`
	Session       *string  `json:"session"`
	SessionSHA256 string   `json:"session_sha256"`
	Encode        string   `json:"encode"`
	Strict        string   `json:"strict"`
}

func readVectors(t *testing.T) (vectors []vector) {
	t.Helper()
	f, err := os.Open("testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, v)
	}
	if len(vectors) != 260 {
		t.Fatalf("got %d vectors, want 260", len(vectors))
	}
	return vectors
}

func (v *vector) codec(t *testing.T) *codec {
	t.Helper()
	keys := []string{unhex(t, v.SecretHex)}
	for _, k := range v.FallbacksHex {
		keys = append(keys, unhex(t, k))
	}
	c, err := Cookie(keys, "session")
	if err != nil {
		t.Fatal(err)
	}
	made := c.(*codec)
	made.lifetime = time.Duration(v.MaxAge) * time.Second
	return made
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// first is what Flask takes of a Cookie header: the first cookie of the name.
func (v *vector) first(t *testing.T) string {
	text := ""
	if v.Cookie != nil {
		text = *v.Cookie
	} else {
		text = unhex(t, v.CookieHex)
	}
	text, _, _ = strings.Cut("session="+text, ";")
	text = strings.TrimSpace(strings.TrimPrefix(text, "session="))
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	return text
}

// written is the session as Flask would write it, from its values and not from the text that was read.
func (v *vector) written(t *testing.T, c *codec) (text string, ok bool) {
	r, err := c.decode(v.first(t), time.Unix(v.Now, 0))
	if err != nil {
		return "", false
	}
	members, err := c.serializer.Split(r.Data) // as the Manager does next
	if err != nil {
		return "", false
	}
	values := map[string]any{}
	for _, m := range members {
		var value any
		if err := c.serializer.Unmarshal(m.Value, &value); err != nil {
			return "", false // for Flask the whole session is
		}
		values[m.Name] = value
	}
	again, err := c.serializer.Marshal(values)
	if err != nil {
		if v.Strict == "may_reject" { // half a surrogate pair in a key
			return "", false
		}
		t.Fatalf("%s: %v", v.Name, err)
	}
	return string(again), true
}

func TestVectorsRead(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t) {
		got, ok := v.written(t, v.codec(t))
		switch {
		case ok != v.Valid && v.Strict == "must":
			t.Errorf("%s: got valid=%v, want %v", v.Name, ok, v.Valid)
		case ok && !v.Valid && v.Strict != "may_accept":
			t.Errorf("%s: got a session, want none", v.Name)
		case ok && v.Session != nil && got != *v.Session:
			t.Errorf("%s:\n got %s\nwant %s", v.Name, got, *v.Session)
		case ok && v.SessionSHA256 != "":
			sum := sha256.Sum256([]byte(got))
			if hex.EncodeToString(sum[:]) != v.SessionSHA256 {
				t.Errorf("%s: the session's hash differs; got %.300s", v.Name, got)
			}
		}
	}
}

func TestVectorsWrite(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t) {
		if v.Encode == "none" || v.Strict == "may_reject" { // lone surrogates, which no Go string can hold
			continue
		}
		c := v.codec(t)
		members, err := c.serializer.Split([]byte(*v.PayloadJSON))
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		for i, m := range members {
			var value any
			if err := c.serializer.Unmarshal(m.Value, &value); err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
			if members[i].Value, err = c.serializer.Marshal(value); err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
		}
		payload, err := c.serializer.Join(members)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if string(payload) != *v.PayloadJSON {
			t.Errorf("%s: payload:\n got %s\nwant %s", v.Name, payload, *v.PayloadJSON)
		}
		at := time.Unix(*v.Timestamp, 0)
		cookie := c.signer.Sign(payload, at)
		if v.Encode == "exact" && cookie != *v.Cookie {
			t.Errorf("%s: cookie:\n got %s\nwant %s", v.Name, cookie, *v.Cookie)
		}
		back, when, err := c.signer.Unsign(cookie)
		if err != nil || !bytes.Equal(back, payload) || !when.Equal(at) {
			t.Errorf("%s: our own cookie reads as %q at %v, %v", v.Name, back, when, err)
		}
	}
}

// TestEveryBitFlipped changes each bit of a valid cookie: none of the results may be taken.
func TestEveryBitFlipped(t *testing.T) {
	t.Parallel()
	c, err := Cookie([]string{"secret-key"}, "session")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1700000000, 0)
	cookie := "eyJhIjoxfQ.ZVPxAA.kLN1Gx0L6rY_ztgI9I8kkga4vjo" // made by Flask
	if _, err := c.(*codec).decode(cookie, now); err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(cookie) {
		flipped := []byte(cookie)
		flipped[i/8] ^= 1 << (i % 8)
		if _, err := c.(*codec).decode(string(flipped), now); err == nil {
			t.Errorf("bit %d flipped: the cookie is still taken", i)
		}
	}
}

// TestLineEnds: Python and Go skip line ends in base64, but no cookie that Flask wrote has any.
func TestLineEnds(t *testing.T) {
	t.Parallel()
	s, err := NewSigner("cookie-session", []string{"secret-key"}, DeriveHMAC, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := s.macs[0].Get().(*macer)
	sign := func(text string) string { return text + "." + b64.EncodeToString(m.of([]byte(text))) }
	whole := sign("eyJhIjoxfQ.ZVPxAA")
	if _, _, err := s.Unsign(whole); err != nil {
		t.Fatal(err)
	}
	packed := string(appendPacked(nil, bytes.Repeat([]byte("a"), 100)))
	for text, want := range map[string]session.Reason{
		sign("eyJh\nIjoxfQ.ZVPxAA"):   session.ReasonUndecodable,
		sign("eyJhIjoxfQ.ZV\r\nPxAA"): session.ReasonUndecodable, whole + "\n": session.ReasonMalformed,
		sign(packed[:4] + "\r" + packed[4:] + ".ZVPxAA"): session.ReasonUndecodable,
	} {
		if _, _, err := s.Unsign(text); err != want {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

// TestPayloadsStay: the buffers that are used again are not what a caller has.
func TestPayloadsStay(t *testing.T) {
	t.Parallel()
	s, err := NewSigner("cookie-session", []string{"secret-key"}, DeriveHMAC, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // a pool can be empty
		var got [2][]byte
		for i, c := range []byte("ab") {
			if got[i], _, err = s.Unsign(s.Sign(bytes.Repeat([]byte{c}, 100), time.Now())); err != nil {
				t.Fatal(err)
			}
		}
		if got[0][0] != 'a' || got[1][0] != 'b' {
			t.Fatalf("the payloads are %q", got)
		}
	}
}

// TestCompressedIfShorter: by two bytes at least. How much a payload shrinks is up to compress/flate, which differs
// between the releases of Go, so the payloads are many: some of each size are at the border.
func TestCompressedIfShorter(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	writers := map[int]*zlib.Writer{}
	for _, level := range []int{zlib.DefaultCompression, zlib.BestSpeed, zlib.BestCompression} {
		writers[level], _ = zlib.NewWriterLevel(&buf, level)
	}
	deflated := func(level int, payload []byte) []byte {
		buf.Reset()
		writers[level].Reset(&buf)
		writers[level].Write(payload)
		writers[level].Close()
		return buf.Bytes()
	}
	saved := map[int]bool{}
	for _, size := range []int{20, 100, 250, 300, maxHasty, maxHasty + 1, 3000} {
		random := make([]byte, size)
		rand.NewChaCha8([32]byte{}).Read(random)
		step := 0
		for same := 0; same <= size; same += step {
			payload := bytes.Clone(random)
			for i := range payload[:same] {
				payload[i] = 'a' + payload[i]%4 // what each level does its own way
			}
			level := zlib.DefaultCompression
			if size <= maxHasty {
				level = zlib.BestSpeed
			}
			data := deflated(level, payload)
			if len(data) > maxEasy {
				data = deflated(zlib.BestCompression, payload)
			}
			saves := size - len(data)
			want := b64.EncodeToString(payload)
			if saved[saves] = true; saves >= 2 {
				want = "." + b64.EncodeToString(data)
			}
			if got := string(appendPacked(nil, payload)); got != want {
				t.Fatalf("%d bytes, %d of them text, save %d: got %q, want %q", size, same, saves, got, want)
			}
			if step = 1 + size/30; saves > -6 && saves < 8 {
				step = 1
			}
		}
	}
	if !saved[1] || !saved[2] {
		t.Errorf("no payload was at the border: they saved: %v", slices.Sorted(maps.Keys(saved)))
	}
}

// TestCookieLine holds CheckCookie to MAX_COOKIE_SIZE, whatever the attributes are.
func TestCookieLine(t *testing.T) {
	t.Parallel()
	for _, cookie := range []http.Cookie{
		{Name: "s"}, {Name: "session", Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode},
		{
			Name: "session", Path: strings.Repeat("/path", 30), Domain: strings.Repeat("example.", 20) + "com",
			Expires: time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC), MaxAge: math.MaxInt,
			HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode, Partitioned: true, Quoted: true,
		},
	} {
		for n := 3400; n < 4200; n++ {
			cookie.Value = strings.Repeat("x", n)
			size := len(cookie.String())
			if err := new(codec).CheckCookie(&cookie); (err != nil) != (size > 4093) {
				t.Fatalf("a line of %d bytes: got %v", size, err)
			}
		}
	}
}

var _ session.Policy = (*codec)(nil)
