package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
)

// EncryptedCookie is a [CookieCodec] that keeps the session in the cookie, encrypted and authenticated with
// AES-256-GCM. Set [Config.CookieCodec] to it. About 2800 bytes of values fit: name and value of a cookie together have
// at most 4096 bytes (RFC 6265bis, section 5.6), and a longer one is [ErrTooLarge].
//
// No server can merge the changes of such a session, or end it. The last response of overlapping requests wins. Logout
// makes this browser forget the cookie, but a copy of it is valid until it expires: keep [Config.IdleTimeout] short, or
// use a [Config.Store] where that matters. [Key.Take], lists and revocation don't work.
//
// Each message has a key of its own, from HKDF-Expand-SHA256 (RFC 5869) with a random salt, so a secret key can encrypt
// any number of messages. The first key encrypts, and all keys decrypt. The cookie's name is authenticated too, so a
// cookie is refused under another name. A key of less than 16 bytes, or a well-known sample, is an error.
// EncryptedCookie runs with GODEBUG=fips140=only.
func EncryptedCookie(keys []string, cookieName string) (Codec, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	c := &encryptedCookie{}
	for _, k := range keys {
		ek := encryptionKey{mac: token.NewMAC(token.Subkey(k, "encrypted cookie"))}
		copy(ek.id[:], token.Subkey(k, "encrypted cookie key id"))
		ek.bound = append([]byte{cookieVersion}, ek.id[:]...)
		ek.bound = append(ek.bound, "session cookie "+cookieName...)
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

type encryptedCookie struct{ keys []encryptionKey }

type encryptionKey struct {
	id    [keyIDBytes]byte
	mac   *token.MAC
	bound []byte // as additional data: version, key ID, purpose and the cookie's name
}

func (c *encryptedCookie) Serializer() Serializer { return JSON }

// aead returns the cipher of one message. Its key is HKDF-Expand (RFC 5869, section 2.3) of the secret, with the salt
// in the info. The secret itself comes from HKDF, so there is nothing to extract; and one block of HKDF-Expand is one
// HMAC.
func (k *encryptionKey) aead(salt []byte) cipher.AEAD {
	var space [64]byte
	info := append(append(space[:0], salt...), "hipflask v1 message"...)
	key := k.mac.Sum(append(info, 1))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // only other lengths of keys fail
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only other sizes of blocks fail
	}
	return aead
}

// cookieBuffers holds the buffers of one Encode or Decode. They are pooled because the standard library's interfaces
// make them escape.
type cookieBuffers struct{ plain, message, text []byte }

var cookiePool = sync.Pool{New: func() any { return new(cookieBuffers) }}

func (c *encryptedCookie) Encode(r store.Record) (string, error) {
	buf := cookiePool.Get().(*cookieBuffers)
	defer cookiePool.Put(buf)
	plain := buf.plain[:0]
	for _, t := range []time.Time{r.CreatedAt, r.LastSeenAt, r.ExpiresAt} {
		plain = binary.BigEndian.AppendUint64(plain, uint64(t.UnixMilli()))
	}
	for _, text := range []string{r.Principal, r.Label, r.Handle, string(r.Public)} {
		plain = binary.AppendUvarint(plain, uint64(len(text)))
		plain = append(plain, text...)
	}
	plain = append(plain, r.Data...)

	k := &c.keys[0]
	message := append(buf.message[:0], cookieVersion)
	message = append(message, k.id[:]...)
	message = append(message, make([]byte, saltBytes)...)
	salt := message[1+keyIDBytes:]
	rand.Read(salt)
	message = k.aead(salt).Seal(message, nil, plain, k.bound)
	text := token.Base64.AppendEncode(buf.text[:0], message)
	*buf = cookieBuffers{plain, message, text}
	return string(text), nil
}

func (c *encryptedCookie) Decode(value string) (r store.Record, err error) {
	buf := cookiePool.Get().(*cookieBuffers)
	defer cookiePool.Put(buf)
	buf.text = append(buf.text[:0], value...)
	message, err := token.Base64.AppendDecode(buf.message[:0], buf.text)
	buf.message = message
	// The decoder skips line ends, even a strict one.
	if err != nil || strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, '\n') >= 0 ||
		len(message) < headBytes || message[0] != cookieVersion {
		return r, ReasonMalformed
	}
	for i := range c.keys {
		k := &c.keys[i]
		if string(k.id[:]) != string(message[1:1+keyIDBytes]) { // public: it only names the key
			continue
		}
		plain, err := k.aead(message[1+keyIDBytes:headBytes]).Open(nil, nil, message[headBytes:], k.bound)
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
	var public string
	for _, text := range []*string{&r.Principal, &r.Label, &r.Handle, &public} {
		n, used := binary.Uvarint(plain)
		if used <= 0 || n > uint64(len(plain)-used) {
			return r, false
		}
		*text = string(plain[used : used+int(n)])
		plain = plain[used+int(n):]
	}
	if public != "" {
		r.Public = []byte(public)
	}
	r.Data = plain
	return r, true
}
