package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/hipflask/session/store"
)

// EncryptedCookie is a CookieCodec that encrypts the session with AES-256-GCM, under a key of its own for each message
// (HKDF-SHA256 with a random salt), so that no number of messages wears the secret out. It uses the standard library's
// validated parts only and runs with GODEBUG=fips140=only. About 2800 bytes of values fit.
//
// A session in a cookie has no server to be merged or ended on. Of overlapping requests the last response wins. Logout
// makes this browser forget the cookie, but a copy of it stays good until it expires: keep IdleTimeout short, and use a
// Store where that matters.
func EncryptedCookie(keys []string, cookieName string) (Codec, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	c := &encryptedCookie{purpose: "session cookie " + cookieName}
	for _, k := range keys {
		ek := encryptionKey{secret: subkey(k, "encrypted cookie")}
		copy(ek.id[:], subkey(k, "encrypted cookie key id"))
		c.keys = append(c.keys, ek)
	}
	return c, nil
}

// A cookie is, in base64url: version (1) | key ID (4) | salt (16) | nonce (12) | ciphertext | tag (16).
const (
	cookieVersion = 1
	keyIDBytes    = 4
	saltBytes     = 16
	headBytes     = 1 + keyIDBytes + saltBytes
)

type encryptedCookie struct {
	keys    []encryptionKey
	purpose string
}

type encryptionKey struct {
	id     [keyIDBytes]byte
	secret []byte
}

func (c *encryptedCookie) Serializer() Serializer { return JSON }

// aead is the cipher of one message. Version, key ID, purpose and the cookie's name are bound as additional data.
func (c *encryptedCookie) aead(k *encryptionKey, head []byte) (aead cipher.AEAD, bound []byte) {
	key, err := hkdf.Key(sha256.New, k.secret, head[1+keyIDBytes:headBytes], "hipflask v1 message", 32)
	if err != nil {
		panic(err) // only lengths beyond 255 hashes fail
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only other lengths of keys fail
	}
	if aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		panic(err) // only other sizes of blocks fail
	}
	return aead, append(append([]byte(nil), head[:1+keyIDBytes]...), c.purpose...)
}

func (c *encryptedCookie) Encode(r store.Record) (string, error) {
	plain := make([]byte, 0, 24+8+len(r.Principal)+len(r.Label)+len(r.Handle)+len(r.Data))
	for _, t := range []time.Time{r.CreatedAt, r.LastSeenAt, r.ExpiresAt} {
		plain = binary.BigEndian.AppendUint64(plain, uint64(t.UnixMilli()))
	}
	for _, text := range []string{r.Principal, r.Label, r.Handle} {
		plain = binary.AppendUvarint(plain, uint64(len(text)))
		plain = append(plain, text...)
	}
	plain = append(plain, r.Data...)

	k := &c.keys[0]
	message := make([]byte, headBytes, headBytes+len(plain)+28)
	message[0] = cookieVersion
	copy(message[1:], k.id[:])
	rand.Read(message[1+keyIDBytes : headBytes])
	aead, bound := c.aead(k, message)
	return encode(aead.Seal(message, nil, plain, bound)), nil
}

func (c *encryptedCookie) Decode(value string) (r store.Record, err error) {
	// The decoder skips line ends, even a strict one.
	message, err := base64url.DecodeString(value)
	if err != nil || strings.ContainsAny(value, "\r\n") || len(message) < headBytes || message[0] != cookieVersion {
		return r, ReasonMalformed
	}
	for i := range c.keys {
		k := &c.keys[i]
		if string(k.id[:]) != string(message[1:1+keyIDBytes]) { // public: it only names the key
			continue
		}
		aead, bound := c.aead(k, message)
		plain, err := aead.Open(nil, nil, message[headBytes:], bound)
		if err != nil {
			continue
		}
		if r, ok := decodePlain(plain); ok {
			return r, nil
		}
		return r, ReasonUndecodable
	}
	return r, ReasonSignature
}

func decodePlain(plain []byte) (r store.Record, ok bool) {
	for _, t := range []*time.Time{&r.CreatedAt, &r.LastSeenAt, &r.ExpiresAt} {
		if len(plain) < 8 {
			return r, false
		}
		*t = time.UnixMilli(int64(binary.BigEndian.Uint64(plain)))
		plain = plain[8:]
	}
	for _, text := range []*string{&r.Principal, &r.Label, &r.Handle} {
		n, used := binary.Uvarint(plain)
		if used <= 0 || n > uint64(len(plain)-used) {
			return r, false
		}
		*text = string(plain[used : used+int(n)])
		plain = plain[used+int(n):]
	}
	r.Data = plain
	return r, true
}
