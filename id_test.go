package session_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"math/bits"
	"regexp"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

func newIDs(t testing.TB, name string, keys ...string) session.IDFormat {
	t.Helper()
	f, err := session.SignedID(keys, name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A token and its key, made by testdata/oracle.py: tokens stay valid from one version of ours to the next.
const (
	idVector  = "AAECAwQFBgcICQoLDA0OD537lmSFiRwzibhqywV5x3c"
	keyVector = "146nZ0-zjqR7ZzHZXFvBEw"
)

func TestSignedIDVector(t *testing.T) {
	t.Parallel()
	if key, err := newIDs(t, hostCookie, secret).Parse(idVector); key != keyVector || err != nil {
		t.Errorf("got %q, %v, want %q", key, err, keyVector)
	}
}

// A token is 16 random bytes and 16 of a MAC, 43 characters. The store's key is the rest of the MAC, 22 characters: see
// TestSignedIDVector. It is no part of the token (P8).
func TestSignedIDFormat(t *testing.T) {
	t.Parallel()
	ids := newIDs(t, hostCookie, secret)
	base64url := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	for range 1000 {
		token, key := ids.New()
		b, err := base64.RawURLEncoding.DecodeString(token)
		if !base64url.MatchString(token) || err != nil || len(b) != 32 {
			t.Fatalf("got a token of %d characters and %d bytes, want 43 of base64url, 32 bytes", len(token), len(b))
		}
		k, err := base64.RawURLEncoding.DecodeString(key)
		if err != nil || len(k) != 16 || bytes.Contains(b, k[:4]) {
			t.Fatalf("got a key of %d bytes that is part of the token, or no base64url", len(k))
		}
		if got, err := ids.Parse(token); got != key || err != nil {
			t.Fatalf("got %v, want the key that New gave", err)
		}
		if _, err := ids.Parse(key); err == nil {
			t.Fatal("a key of the store passes as a token")
		}
	}
}

// IDs come from a good source: no duplicates, each bit set half of the time, each byte value as often as others. The
// bounds are such that a true random source fails once in ten million runs.
func TestSignedIDDistribution(t *testing.T) {
	t.Parallel()
	const n = 100_000
	ids := newIDs(t, hostCookie, secret)
	seen := make(map[string]bool, n)
	var ones [128]int
	var values [256]int
	for range n {
		token, key := ids.New()
		if seen[key] {
			t.Fatal("an ID came twice")
		}
		seen[key] = true
		b, _ := base64.RawURLEncoding.DecodeString(token)
		for i, c := range b[:16] {
			values[c]++
			for ; c != 0; c &= c - 1 {
				ones[8*i+bits.TrailingZeros8(c)]++
			}
		}
	}
	for i, k := range ones {
		if z := math.Abs(float64(k)-n/2) / math.Sqrt(n/4); z > 6.2 {
			t.Errorf("bit %d was set %d times of %d", i, k, n)
		}
	}
	chi2, want := 0.0, float64(n*16)/256
	for _, k := range values {
		chi2 += (float64(k) - want) * (float64(k) - want) / want
	}
	if chi2 < 150 || chi2 > 390 { // 255 degrees of freedom
		t.Errorf("got a chi-squared of %.0f for the bytes' values, want about 255", chi2)
	}
}

// A token has one spelling: base64 would take several for the last character, and line ends anywhere.
func TestSignedIDIsStrict(t *testing.T) {
	t.Parallel()
	ids := newIDs(t, hostCookie, secret)
	token, _ := ids.New()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	refused := func(what, text string, want session.Reason) {
		t.Helper()
		if key, err := ids.Parse(text); key != "" || !errors.Is(err, want) {
			t.Errorf("%s: got key %q and %v, want %v", what, key, err, want)
		}
	}
	last := strings.IndexByte(alphabet, token[42])
	for i := range 4 {
		if i != last&3 {
			refused("other spare bits", token[:42]+alphabet[last&^3+i:last&^3+i+1], session.ReasonMalformed)
		}
	}
	for i := range token {
		for _, c := range alphabet {
			if byte(c) == token[i] {
				continue
			}
			if _, err := ids.Parse(token[:i] + string(c) + token[i+1:]); err == nil {
				t.Errorf("character %d as %c: taken", i, c)
			}
		}
		for _, c := range "\r\n =+/.%\x00" {
			refused("a strange character", token[:i]+string(c)+token[i+1:], session.ReasonMalformed)
		}
	}
	for _, text := range []string{"", "A", token[:42], token + "=", token + "A", token + "\n", "\n" + token,
		token + token, strings.Repeat("é", 21) + "A"} {
		refused("another length", text, session.ReasonMalformed)
	}
	refused("no signature", token[:21]+strings.Repeat("A", 22), session.ReasonSignature)
	refused("the random bytes as their own signature", strings.Repeat("A", 43), session.ReasonSignature)
}

// Every key verifies, only the first signs; the name is part of the signature.
func TestSignedIDKeys(t *testing.T) {
	t.Parallel()
	old, next := newIDs(t, hostCookie, secret), newIDs(t, hostCookie, secret+"2")
	during := newIDs(t, hostCookie, secret+"2", secret+"3", secret)
	for _, c := range []struct {
		name         string
		signs, reads session.IDFormat
		ok           bool
	}{
		{"old token meanwhile", old, during, true}, {"new token meanwhile", during, during, true},
		{"new token afterwards", during, next, true},
		{"new token by the old key alone", during, old, false}, {"old token afterwards", old, next, false},
		{"token of another cookie", newIDs(t, "__Host-other", secret), old, false},
		{"token for bearers", newIDs(t, "bearer token", secret), old, false},
	} {
		token, key := c.signs.New()
		got, err := c.reads.Parse(token)
		if c.ok && (got != key || err != nil) || !c.ok && (got != "" || !errors.Is(err, session.ReasonSignature)) {
			t.Errorf("%s: got %v, want it taken: %t", c.name, err, c.ok)
		}
	}
	for _, keys := range [][]string{{""}, {"short"}, {secret, "short"}} {
		if f, err := session.SignedID(keys, hostCookie); err == nil || f != nil {
			t.Errorf("%d keys, one too short: taken", len(keys))
		}
	}
}

// Nothing that is stored under the session's key, handle or version leads back to the token.
func TestSecretsAndConstantsAreNoTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := mustLoad(t, b, value(b.cookie(t, setPlain)))
	for _, text := range []string{
		secret, s.Info().Handle, b.store.keys[0], strings.Repeat("A", 43), strings.Repeat("0", 32),
		"00000000-0000-0000-0000-000000000000", base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		if _, err := b.Load(t.Context(), text); !errors.Is(err, session.ErrEnded) {
			t.Errorf("got %v, want %v", err, session.ErrEnded)
		}
	}
}
