package session

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"

	"github.com/hipflask/session/internal/guessable"
	"github.com/hipflask/session/internal/token"
)

// minSecretKey is the least length of a SecretKey in bytes: 128 bits (ASVS 5.0, 11.2.3), if they are random.
const minSecretKey = 16

// NewSecretKey returns a new random [Config.SecretKey]: 256 bits from crypto/rand, as 43 characters of base64url. Keep
// it where all servers of the application find it, such as in an environment variable: a new key at each start would
// log everybody out. NewSecretKey is safe for concurrent use.
func NewSecretKey() string {
	var b [32]byte
	rand.Read(b[:])
	return token.Encode(b[:])
}

// secretProblem returns what is wrong with a secret; "" if nothing is. Published keys have been used to forge sessions
// (CVE-2023-27524), and HKDF doesn't make a guessable text safe.
func secretProblem(secret string) string {
	switch {
	case secret == "":
		return "is empty; make one with session.NewSecretKey, \"hipflask keygen\" or \"openssl rand -base64 32\""
	case len(secret) < minSecretKey:
		return fmt.Sprintf("has %d bytes, at least %d are needed; make one with session.NewSecretKey",
			len(secret), minSecretKey)
	}
	switch {
	case published[squeeze(secret)]:
		return "is a well-known sample; make one with session.NewSecretKey"
	case guessable.Is(secret):
		return "is guessable: it is put together from words, names, numbers, repetitions or sequences; " +
			"make one with session.NewSecretKey"
	}
	return ""
}

// warnOfKeys logs once which keys are weak but were accepted, as flask.Cookie accepts those of the Flask application.
func warnOfKeys(log *slog.Logger, keys []string) {
	for i, k := range keys {
		if p := secretProblem(k); p != "" && k != "" {
			log.Warn("session: " + keyName(i) + " " + p +
				". Whoever finds it out can forge what is signed with it. It was accepted " +
				"because the CookieCodec or IDFormat takes any key; change it in the other application too")
			return
		}
	}
}

// keyName returns the name of the i-th of [Config.SecretKey] and its fallbacks.
func keyName(i int) string {
	if i == 0 {
		return "SecretKey"
	}
	return fmt.Sprintf("SecretKeyFallbacks[%d]", i-1)
}

// squeeze returns the letters and digits of s, in lower case.
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

// published holds keys from tutorials, documentation and defaults of other projects, squeezed. Keys that are too short
// for a SecretKey in any case are left out.
var published = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range []string{
		"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", // Flask's quickstart and tutorial
		"_5#y2L\"F4Q8z\n\\xec]/", "_5#y2L\"F4Q8z\n\xec]/", "5y2lf4q8zxec", // Flask's quickstart
		// Superset
		"\x02\x01thisismyscretkey\x01\x02\\e\\y\\y\\h", "thisISaSECRET_1234", "YOUR_OWN_RANDOM_GENERATED_SECRET_KEY",
		"CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET", "TEST_NON_DEV_SECRET", // Superset, from the list of CVE-2023-27524
		"any random string", "any_random_string_here", "a really really really really long secret key",
		"some random string",
		"super secret key", "supersecretkey12", "your-secret-key-here", "your secret key here", "mysupersecretkey",
		"my-super-secret-key", "change this secret key", "change-me-please", "changemechangeme", "changemeinproduction",
		"change-me-in-production", "replace-with-your-secret-key", "replace me with a secret",
		"insert random string here",
		"this-is-a-secret-key", "this is a secret", "this should be changed", "secretsecretsecret",
		"secretkeysecretkey",
		"secret-key-secret-key", "very-secret-key-here", "you-will-never-guess", "hard to guess string",
		"keyboard cat keyboard cat",
		"development key!!", "development-secret-key", "devdevdevdevdevdev", "0123456789abcdef",
		"0123456789abcdef0123456789abcdef",
		"1234567890123456", "12345678901234567890123456789012", "passwordpassword", "abcdefghijklmnop",
		"abcdefghijklmnopqrstuvwxyz",
		"abcdefghijklmnopqrstuvwxyz123456", "super-secret-key-that-is-32-bytes", "something-very-secret",
		"my_secret_key_1234",
	} {
		m[squeeze(s)] = true
	}
	return m
}()
