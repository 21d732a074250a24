package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
)

// IDFormat says how session IDs are made, checked and turned into the store's keys. Implementations are safe for
// concurrent use.
type IDFormat interface {
	// New makes a new random ID: the token that the client keeps, and the key under which the store keeps the session.
	New() (token, key string)

	// Parse returns the key that belongs to a token, or a [Reason] why it is refused. It does not look into the store;
	// what passes here reaches it.
	Parse(token string) (key string, err error)
}

// SignedID is the default ID format: 16 random bytes and half of their HMAC-SHA256 (RFC 2104, section 5 allows the
// truncation), 43 characters of base64url. The store's key is the SHA-256 of the random bytes: from a copy of the store
// nobody can make a cookie, and an ID that the server did not issue never reaches the store. The first key signs, all
// verify; name is bound into the signature, so that a token made for one cookie is refused as another.
func SignedID(keys []string, name string) (IDFormat, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	f := &signedID{}
	for _, k := range keys {
		f.macs = append(f.macs, newMAC(subkey(k, "id "+name)))
	}
	return f, nil
}

const (
	idBytes     = 16 // 128 bits: ASVS 5.0, 7.2.3
	idMACBytes  = 16
	tokenLength = (idBytes+idMACBytes)*4/3 + 1
)

type signedID struct{ macs []*mac }

func (f *signedID) New() (token, key string) {
	var b [idBytes + idMACBytes]byte
	rand.Read(b[:idBytes])
	sum := f.macs[0].sum(b[:idBytes])
	copy(b[idBytes:], sum[:])
	return encode(b[:]), idKey(b[:idBytes])
}

func (f *signedID) Parse(token string) (string, error) {
	if len(token) != tokenLength {
		return "", ReasonMalformed
	}
	var b [idBytes + idMACBytes]byte
	var text [tokenLength]byte
	copy(text[:], token)
	if n, err := base64url.Decode(b[:], text[:]); err != nil || n != len(b) {
		return "", ReasonMalformed
	}
	for _, m := range f.macs {
		if sum := m.sum(b[:idBytes]); hmac.Equal(sum[:idMACBytes], b[idBytes:]) {
			return idKey(b[:idBytes]), nil
		}
	}
	return "", ReasonSignature
}

func idKey(id []byte) string {
	sum := sha256.Sum256(id)
	return encode(sum[:])
}

// newHandle returns a random public name for a session, 96 bits.
func newHandle() string {
	var b [12]byte
	rand.Read(b[:])
	return encode(b[:])
}

// newVersion returns a random version in 1..1<<63-1.
func newVersion() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:])
		var v uint64
		for _, c := range b {
			v = v<<8 | uint64(c)
		}
		if v >>= 1; v != 0 {
			return v
		}
	}
}
