// Package token makes and checks what is random or keyed: session IDs, handles, subkeys and MACs.
package token

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
)

// ID is the identity of a session.
type ID struct {
	Token  string // what the client has; "" where the client gets the session itself
	Key    string // under which the store keeps the session
	Handle string // the public name
}

// Base64 is base64url without padding. It is strict: several texts may decode to the same bytes, and only one of them
// is accepted. So nobody can change the text of a cookie and keep it valid.
var Base64 = base64.RawURLEncoding.Strict()

// Encode returns b in Base64.
func Encode(b []byte) string {
	var space [64]byte // enough for the sums and IDs of a request, so they are encoded on the stack
	return string(Base64.AppendEncode(space[:0], b))
}

// NewHandle returns a random public name for a session, 96 bits. The name never begins with a dash, so a command line
// doesn't take it for a flag.
func NewHandle() string {
	for {
		var b [12]byte
		rand.Read(b[:])
		if handle := Encode(b[:]); handle[0] != '-' {
			return handle
		}
	}
}

// Hash returns the SHA-256 of b.
func Hash(b []byte) string {
	sum := sha256.Sum256(b)
	return Encode(sum[:])
}

// Subkey derives the key for one use. No key is ever used for two purposes: each label is used once.
func Subkey(secret, label string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "hipflask v1 "+label, sha256.Size)
	if err != nil {
		panic(err) // only lengths beyond 255 hashes fail
	}
	return key
}

// MAC computes HMAC-SHA256 under one key, which is set up once and not for each message. It is safe for concurrent use.
type MAC struct{ pool sync.Pool }

// NewMAC returns the MAC under key.
func NewMAC(key []byte) *MAC {
	m := &MAC{}
	m.pool.New = func() any { return &macState{Hash: hmac.New(sha256.New, key)} }
	return m
}

// macState is the state of one computation. The arguments and results of a hash.Hash escape to the heap, so their
// buffers are kept and reused too.
type macState struct {
	hash.Hash
	message, sum []byte
}

// Sum returns the MAC of message.
func (m *MAC) Sum(message []byte) (sum [sha256.Size]byte) {
	h := m.pool.Get().(*macState)
	h.Reset()
	h.message = append(h.message[:0], message...)
	h.Write(h.message)
	h.sum = h.Sum(h.sum[:0])
	copy(sum[:], h.sum)
	m.pool.Put(h)
	return sum
}

// Verify reports whether sum is the MAC of message. It takes the same time for each sum of the right length.
func (m *MAC) Verify(message, sum []byte) bool {
	want := m.Sum(message)
	return hmac.Equal(want[:], sum)
}
