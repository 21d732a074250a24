package guessable

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	mrand "math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// made are keys of the kinds that people make up. They are examples of the rule; the rule knows none of them.
var made = []string{
	// words
	"your-256-bit-secret", "your-512-bit-secret", "my_super_secret_key", "MySuperSecretKey", "mysupersecretkey123",
	"secretsecretsecret",
	"this-is-a-secret-key", "ThisIsMySecretKey!", "thisisaverysecretkey", "supersecretpassword", "my-jwt-secret-key",
	"jwt_secret_key_2024",
	"please change me now", "change_this_in_production", "replace-this-with-a-real-secret", "TODO: change this key",
	"insert-your-key-here",
	"correct horse battery staple", "correcthorsebatterystaple", "the quick brown fox", "to be or not to be",
	"open sesame open sesame",
	"a string that nobody will ever guess", "flask-app-secret-key", "django-insecure-secret", "production-secret-key-1",
	"admin@example.com",
	"letmeinletmein12", "iloveyouforever!", "trustno1trustno1", "sunshine and rainbows", "correct-horse-battery",
	"welcome to the jungle",
	"hello world hello", "helloworldhelloworld", "development_only", "testtesttesttest", "sessionsecretkey",
	"cookie-signing-key", "do not use in production", "not-a-real-secret", "use a random string here",
	"some long secret string",
	"meingeheimesschluessel", "dasisteingeheimerschluessel", "contrasena-secreta", "motdepassesecret",
	"hipflask-session-key", "kubernetes-secret-key",
	// with digits, capitals, other characters
	"password12345678", "Password1234567!", "P@ssw0rdP@ssw0rd", "p4ssw0rd_s3cr3t_k3y", "s3cr3tk3ys3cr3tk3y",
	"Secret1234567890", "admin1234admin1234",
	"Summer2024Winter2025", "company-2024-secret", "SecretKey20240101", "January-2025-secret", "abc123abc123abc123",
	"test1234test1234", "MyAppName_SecretKey_01",
	"CHANGE_ME_CHANGE_ME", "Tr0ub4dor&3Tr0ub4dor&3", "dragon1985dragon1985", "michael1990jessica", "1password2password",
	"qwerty123456qwerty",
	// repetitions
	"aaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababab", "changemechangeme",
	"changemechangemechangeme", "abcabcabcabcabc1",
	"0000000000000001", "1111111122222222", "xyxyxyxyxyxyxyxy1", "foobarfoobarfoobar", "0101010101010101",
	"a1a1a1a1a1a1a1a1", "xxxxxxxxxxxxxxxx1",
	"aaaaaaaabbbbbbbb", "................!", strings.Repeat("\x00", 31) + "\x01", strings.Repeat("ab", 64),
	strings.Repeat("k9", 12), "1212121212121212", "xxyyxyxyyxxyyxxy",
	// sequences
	"abcdefghijklmnop", "0123456789abcdef", "fedcba9876543210", "1234567890123456", "9876543210987654",
	"abcdefgh12345678", "ABCDEFGHIJKLMNOP1234",
	"00112233445566778899aabbccddeeff", "aabbccddeeffgghh", "a1b2c3d4e5f6g7h8", "1a2b3c4d5e6f7g8h9i0j",
	"a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6", "acegikmoqsuwy024",
	"zyxwvutsrqponmlk", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
	"0102030405060708090a0b0c0d0e0f10", "111222333444555666", "1234-5678-9012-3456",
	// keyboards
	"qwertyuiopasdfgh", "qwertyuiop[]asdf", "1qaz2wsx3edc4rfv", "!QAZ2wsx#EDC4rfv", "asdfghjklasdfghjkl",
	"zxcvbnmasdfghjkl", "qazwsxedcrfvtgby", "1q2w3e4r5t6y7u8i", "poiuytrewqlkjhgf",
	"qwerasdfzxcvqwer", "asdfjkl;asdfjkl;", "qwertyqwertyqwerty", "zaq12wsxcde34rfv", "!@#$%^&*()_+1234",
	// the bytes of such texts, in hex and base64
	"7365637265746b65797365637265746b6579", "c2VjcmV0a2V5c2VjcmV0a2V5", "Y2hhbmdlbWVjaGFuZ2VtZQ==", "deadbeefdeadbeef",
	"cafebabecafebabe", "deadbeefcafebabe", "cafebabedeadbeef0000",
	"00000000-0000-0000-0000-000000000000", "11111111-2222-3333-4444-555555555555",
	"12345678-1234-1234-1234-123456789abc", "31415926535897932384626433832795", "deadbeef-dead-beef-dead-beefdeadbeef",
	"terces-repus-ym-si-siht", "yekterces ruoy",
	"YzNWd1pYSnpaV055WlhSclpYaz0=", "NzM2NTYzNzI2NTc0NmI2NTc5", "base64:U29tZVJhbmRvbVN0cmluZw==",
	"AQIDBAUGBwgJCgsMDQ4PEA==", `\x73\x65\x63\x72\x65\x74\x73\x65\x63\x72\x65\x74`,
	// other keyboards, and other alphabets
	"azertyuiopqsdfgh", "qsdfghjklmwxcvbn", "qwertzuiopasdfgh", "yxcvbnmasdfghjkl", "pyfgcrlaoeuidhtns",
	"aoeuidhtnsaoeuid", "qwfpgjluyarstdhn", "0okm9ijn8uhb7ygv", "plmoknijbuhvygct", "qweasdzxcrtyfghvbn",
	"147258369147258369", "159357159357159357",
	"йцукенгшщзфыва", "пароль-секретный", "秘密鍵秘密鍵秘密鍵", "contraseña-muy-secreta", "κωδικόςπρόσβασης",
}

func TestMadeUpKeys(t *testing.T) {
	t.Parallel()
	for _, key := range made {
		if !Is(key) {
			text, _, random := asRandom(key)
			bits, rest := describe(text, math.Inf(1))
			t.Errorf("%q counts as random: %.0f bits, %.0f of them for the rest, as %.0f random ones",
				key, bits, rest, random)
		}
	}
}

// A prefix doesn't make a random key guessable.
func TestPrefixedKeys(t *testing.T) {
	t.Parallel()
	for range 100 {
		for _, prefix := range []string{"prod-", "sk_live_", "my application, production: ", "base64:", "SECRET_KEY="} {
			var b [32]byte
			rand.Read(b[:])
			for _, how := range []string{"hex", "base64", "UUID"} {
				if key := prefix + renders[how](b[:]); Is(key) {
					t.Fatalf("%q counts as made up", key)
				}
			}
		}
	}
}

// renders are the ways in which programs write random bytes.
var renders = map[string]func(b []byte) string{
	"raw":            func(b []byte) string { return string(b) },
	"hex":            func(b []byte) string { return hex.EncodeToString(b) },
	"HEX":            func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) },
	"hex, 16 digits": func(b []byte) string { return hex.EncodeToString(b[:8]) },
	"hex with colons": func(b []byte) string {
		return strings.Trim(strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":"), ":")
	},
	"base64":            func(b []byte) string { return base64.StdEncoding.EncodeToString(b) },
	"base64url":         func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) },
	"base64, 16 digits": func(b []byte) string { return base64.StdEncoding.EncodeToString(b[:12]) },
	"base32": func(b []byte) string {
		return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
	},
	"UUID":           uuid,
	"UUID, plain":    func(b []byte) string { return strings.ReplaceAll(uuid(b), "-", "") },
	"UUID, capitals": func(b []byte) string { return strings.ToUpper(uuid(b)) },
	"lower":          func(b []byte) string { return letters(b, lower) },
	"alphanumeric":   func(b []byte) string { return letters(b, alphanumeric) },
	"digits":         func(b []byte) string { return letters(b, digits) },
	"printed":        func(b []byte) string { return letters(b, alphanumeric+"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ") },
}

func uuid(b []byte) string {
	b = append([]byte{}, b[:16]...)
	b[6], b[8] = b[6]&0xf|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func letters(b []byte, alphabet string) string {
	var text strings.Builder
	for i := range b {
		text.WriteByte(alphabet[(int(b[i])<<8|int(b[(i+1)%len(b)])*7)%len(alphabet)])
	}
	return text.String()
}

// No random key is refused, however it is written.
func TestRandomKeys(t *testing.T) {
	t.Parallel()
	keys := 1_000_000
	if testing.Short() || raceEnabled {
		keys = 10_000
	}
	var wg sync.WaitGroup
	each := keys / len(renders) / runtime.NumCPU()
	for worker := range runtime.NumCPU() {
		wg.Go(func() {
			// The same keys in each run: of enough others one would be refused, as margin says.
			seed := [32]byte{byte(worker)}
			source := mrand.NewChaCha8(seed)
			var room [32]byte
			for _, how := range slices.Sorted(maps.Keys(renders)) {
				render := renders[how]
				for i := range each {
					b := room[:16]
					if i%4 == 3 {
						b = room[:]
					}
					source.Read(b)
					if key := render(b); Is(key) {
						t.Errorf("%s: %q (%x) counts as made up", how, key, b)
					}
				}
			}
		})
	}
	wg.Wait()
}
