package session

import (
	"crypto/hmac"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
)

// Member is one entry of a session's document: a name (Name string) and its encoded value (Value []byte).
type Member = document.Member

// Serializer says how values and whole sessions are encoded. Values are encoded when they are set and decoded when
// they are read; a document is split without decoding its values, so that a request pays for what it uses.
//
// Implementations are safe for concurrent use and must not panic on any bytes.
type Serializer interface {
	// Marshal encodes one value. Equal values have equal encodings. A value that can't be represented is an error that
	// names its type, never the value.
	Marshal(value any) ([]byte, error)

	// Unmarshal decodes one value into what the pointer points to. Into an *any it puts a value that Marshal encodes to
	// the same again, but for the order of members.
	Unmarshal(data []byte, pointer any) error

	// Split takes a document apart; no bytes make an empty one. The result may share memory with document.
	Split(document []byte) ([]Member, error)

	// Join puts a document together.
	Join(members []Member) ([]byte, error)
}

// JSON is the default Serializer: a document is one JSON object. An untyped Get gives nil, bool, string, int64 (uint64
// or json.Number where that is too small), float64, []any and map[string]any. Floats keep a point or an exponent (2.0),
// so that they come back as floats, also within slices and maps; within a struct they are encoding/json's, since the
// struct's own type tells them apart.
var JSON Serializer = document.JSON{}

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
		f.macs = append(f.macs, token.NewMAC(token.Subkey(k, "id "+name)))
	}
	return f, nil
}

const (
	idBytes     = 16 // 128 bits: ASVS 5.0, 7.2.3
	idMACBytes  = 16
	tokenLength = (idBytes+idMACBytes)*4/3 + 1
)

type signedID struct{ macs []*token.MAC }

func (f *signedID) New() (text, key string) {
	var b [idBytes + idMACBytes]byte
	rand.Read(b[:idBytes])
	sum := f.macs[0].Sum(b[:idBytes])
	copy(b[idBytes:], sum[:])
	return token.Encode(b[:]), token.Hash(b[:idBytes])
}

func (f *signedID) Parse(text string) (string, error) {
	if len(text) != tokenLength {
		return "", ReasonMalformed
	}
	var b [idBytes + idMACBytes]byte
	var encoded [tokenLength]byte
	copy(encoded[:], text)
	if n, err := token.Base64.Decode(b[:], encoded[:]); err != nil || n != len(b) {
		return "", ReasonMalformed
	}
	for _, m := range f.macs {
		if sum := m.Sum(b[:idBytes]); hmac.Equal(sum[:idMACBytes], b[idBytes:]) {
			return token.Hash(b[:idBytes]), nil
		}
	}
	return "", ReasonSignature
}

// CookieCodec makes a Codec from SecretKey and its fallbacks, in this order, and the cookie's name. It judges the keys.
type CookieCodec func(keys []string, cookieName string) (Codec, error)

// Codec keeps a whole session in a cookie. Implementations are safe for concurrent use and must not panic on any text.
type Codec interface {
	// Serializer is how the codec encodes values.
	Serializer() Serializer

	// Encode returns the cookie's value for rec: its Principal, Label, Handle, Public, times and Data. The value consists of
	// characters that a cookie may hold (RFC 6265, section 4.1.1).
	Encode(rec store.Record) (string, error)

	// Decode is the reverse. A value that gives no session is a [Reason]. Expiry is the Manager's to judge.
	Decode(value string) (store.Record, error)
}

// Policy is what a Codec or an IDFormat implements to follow the rules of another framework, whose cookies, or whose
// store, it shares. Sessions count their life from their last change or renewal then, and IdleTimeout does not apply.
type Policy interface {
	// Lifetime is asked once, by New, with Config.Lifetime, zero if that is not set. It returns how long a session lives
	// from its last change, and after how much of that a request that looks at the session renews it: the cookie of a
	// persistent session with a Codec, else the time left in the store.
	Lifetime(configured time.Duration) (lifetime, refresh time.Duration)

	// Login returns the values that a Login of principal sets.
	Login(principal string) map[string]any

	// Principal is the reverse: it returns who is logged in, by the session's values, "" for nobody. get decodes the
	// value of a key into what pointer points to; false: absent, or not of that type.
	Principal(get func(key string, pointer any) bool) string

	// CheckCookie refuses a cookie that must not be sent.
	CheckCookie(*http.Cookie) error
}
