package dbsc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A key is registered with ES256 or RS256, of the usual sizes, in a token of the right type, and with nothing else.
func TestProofs(t *testing.T) {
	p256, rsa2048 := ecKey(t, elliptic.P256()), rsaKey(t, 2048)
	none := func(challenge string) string {
		return encode([]byte(`{"alg":"none","typ":"dbsc+jwt"}`)) + "." + encode([]byte(claims(challenge))) + "."
	}
	sign := func(algorithm jose.SignatureAlgorithm, key any, typ string, withKey bool) func(string) string {
		return func(challenge string) string { return signed(t, algorithm, key, typ, withKey, claims(challenge)) }
	}
	for name, c := range map[string]struct {
		proof func(challenge string) string
		good  bool
	}{
		"ES256":        {sign(jose.ES256, p256, "dbsc+jwt", true), true},
		"RS256":        {sign(jose.RS256, rsa2048, "dbsc+jwt", true), true},
		"no proof":     {func(string) string { return "" }, false},
		"none":         {none, false},
		"no key":       {sign(jose.ES256, p256, "dbsc+jwt", false), false},
		"another type": {sign(jose.ES256, p256, "JWT", true), false},
		"PS256":        {sign(jose.PS256, rsa2048, "dbsc+jwt", true), false},
		"RS512":        {sign(jose.RS512, rsa2048, "dbsc+jwt", true), false},
		"ES384":        {sign(jose.ES384, ecKey(t, elliptic.P384()), "dbsc+jwt", true), false},
		"HS256":        {sign(jose.HS256, []byte(strings.Repeat("k", 32)), "dbsc+jwt", false), false},
		"RSA of 1024":  {sign(jose.RS256, rsaKey(t, 1024), "dbsc+jwt", true), false},
		"no challenge": {func(string) string { return signed(t, jose.ES256, p256, "dbsc+jwt", true, `{}`) }, false},
		"no claims":    {func(string) string { return signed(t, jose.ES256, p256, "dbsc+jwt", true, `x`) }, false},
		"another's claim": {func(string) string {
			return signed(t, jose.ES256, p256, "dbsc+jwt", true, `{"jti":["x"]}`)
		}, false},
		"more than 4 KiB": {func(challenge string) string {
			return signed(t, jose.ES256, p256, "dbsc+jwt", true,
				`{"jti":"`+challenge+`","x":"`+strings.Repeat("x", 4096)+`"}`)
		}, false},
		"a changed signature": {func(challenge string) string {
			text := sign(jose.ES256, p256, "dbsc+jwt", true)(challenge)
			i := strings.LastIndex(text, ".") + 5
			return text[:i] + map[bool]string{true: "B", false: "A"}[text[i] == 'A'] + text[i+1:]
		}, false},
		"another key in it": {func(challenge string) string {
			mine, others := sign(jose.ES256, p256, "dbsc+jwt", true)(challenge),
				sign(jose.ES256, ecKey(t, elliptic.P256()), "dbsc+jwt", true)(challenge)
			return others[:strings.Index(others, ".")] + mine[strings.Index(mine, "."):]
		}, false},
	} {
		x := newSite(t)
		b := newBrowser(t, x)
		challenge := b.login()
		res := b.send("POST", "/dbsc/register", "Secure-Session-Response", c.proof(challenge))
		want := http.StatusForbidden
		if c.good {
			want = http.StatusOK
		}
		wantsStatus(t, name, res, want, c.good)
		if events := x.took(); !c.good && events[len(events)-1] != "refused proof ann" {
			t.Errorf("%s: got events %q, want one that the proof was refused", name, events)
		}
		if c.good {
			continue
		}
		b.bind()
		challenge = b.challenge()
		if res := b.answer(c.proof(challenge)); res.StatusCode == http.StatusOK || cookieOf(res, boundCookie) != nil {
			t.Errorf("%s, in a refresh: got %s", name, res.Status)
		}
	}
}

// A key with RS256 is used for the next refreshes as well.
func TestRefreshRSA(t *testing.T) {
	x := newSite(t)
	b := newBrowser(t, x)
	key := rsaKey(t, 2048)
	res := b.send("POST", "/dbsc/register", "Secure-Session-Response",
		signed(t, jose.RS256, key, "dbsc+jwt", true, claims(b.login())))
	text := body(t, res)
	b.id = parameter(text, `"session_identifier":`)
	wantsStatus(t, "refresh", b.answer(signed(t, jose.RS256, key, "dbsc+jwt", false, claims(b.challenge()))),
		http.StatusOK, true)
	wantsStatus(t, "refresh with ES256", b.answer(b.proof(b.challenge(), false)), http.StatusUnauthorized, false)
}
