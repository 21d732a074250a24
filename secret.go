package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// minSecretKey is the least length of a SecretKey in bytes: 128 bits (ASVS 5.0, 11.2.3), if they are random.
const minSecretKey = 16

// NewSecretKey returns a new random SecretKey: 256 bits, 43 characters of base64url.
func NewSecretKey() string {
	var b [32]byte
	rand.Read(b[:])
	return encode(b[:])
}

// encode is base64url without padding. Strict: of the spellings that decode to the same bytes only one is taken, so
// that a cookie's text can't be changed without becoming invalid.
func encode(b []byte) string {
	var space [64]byte // of the sums and IDs that are encoded for each request
	return string(base64url.AppendEncode(space[:0], b))
}

var base64url = base64.RawURLEncoding.Strict()

// subkey derives the key for one use. No key is ever used for two purposes: every label is another.
func subkey(secret, label string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "hipflask v1 "+label, sha256.Size)
	if err != nil {
		panic(err) // only lengths beyond 255 hashes fail
	}
	return key
}

// secretProblem says what is wrong with a secret, "" if nothing. Published keys have been used to forge sessions
// (CVE-2023-27524); HKDF does not stretch guessable text.
func secretProblem(secret string) string {
	switch {
	case secret == "":
		return "is empty; make one with session.NewSecretKey"
	case len(secret) < minSecretKey:
		return fmt.Sprintf("has %d bytes, at least %d are needed; make one with session.NewSecretKey", len(secret), minSecretKey)
	}
	if published[squeeze(secret)] || strings.Count(secret, secret[:1]) == len(secret) {
		return "is a well-known sample; make one with session.NewSecretKey"
	}
	return ""
}

// squeeze leaves letters and digits, in lower case.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}

// published are keys from tutorials, documentation and defaults of other projects, squeezed, that are long enough to
// pass the test of length.
var published = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range []string{
		"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", // Flask's quickstart and tutorial
		"_5#y2L\"F4Q8z\n\\xec]/", "_5#y2L\"F4Q8z\n\xec]/", "5y2lf4q8zxec", // Flask's quickstart
		"\x02\x01thisismyscretkey\x01\x02\\e\\y\\y\\h", "thisISaSECRET_1234", "YOUR_OWN_RANDOM_GENERATED_SECRET_KEY", // Superset
		"CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET", "TEST_NON_DEV_SECRET", // Superset, from the list of CVE-2023-27524
		"any random string", "any_random_string_here", "a really really really really long secret key", "some random string",
		"super secret key", "supersecretkey12", "your-secret-key-here", "your secret key here", "mysupersecretkey",
		"my-super-secret-key", "change this secret key", "change-me-please", "changemechangeme", "changemeinproduction",
		"change-me-in-production", "replace-with-your-secret-key", "replace me with a secret", "insert random string here",
		"this-is-a-secret-key", "this is a secret", "this should be changed", "secretsecretsecret", "secretkeysecretkey",
		"secret-key-secret-key", "very-secret-key-here", "you-will-never-guess", "hard to guess string", "keyboard cat keyboard cat",
		"development key!!", "development-secret-key", "devdevdevdevdevdev", "0123456789abcdef", "0123456789abcdef0123456789abcdef",
		"1234567890123456", "12345678901234567890123456789012", "passwordpassword", "abcdefghijklmnop", "abcdefghijklmnopqrstuvwxyz",
		"abcdefghijklmnopqrstuvwxyz123456", "super-secret-key-that-is-32-bytes", "something-very-secret", "my_secret_key_1234",
	} {
		m[squeeze(s)] = true
	}
	return m
}()

// mac computes HMAC-SHA256 under one key, without setting the key up again for each message.
type mac struct{ pool sync.Pool }

func newMAC(key []byte) *mac {
	m := &mac{}
	m.pool.New = func() any { return &macState{Hash: hmac.New(sha256.New, key)} }
	return m
}

// macState is the state of one computation. What a hash.Hash gets and gives escapes to the heap, so that is kept here too.
type macState struct {
	hash.Hash
	message, sum []byte
}

func (m *mac) sum(message []byte) (sum [sha256.Size]byte) {
	h := m.pool.Get().(*macState)
	h.Reset()
	h.message = append(h.message[:0], message...)
	h.Write(h.message)
	h.sum = h.Sum(h.sum[:0])
	copy(sum[:], h.sum)
	m.pool.Put(h)
	return sum
}
