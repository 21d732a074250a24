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

// Member is one entry of a session's document. It has two fields: Name, a string, and Value, the encoded value as a
// []byte.
type Member = document.Member

// Serializer encodes values and whole sessions, called documents. Values are encoded when they are set and decoded when
// they are read. A document is split without decoding its values, so a request pays only for the values that it uses.
// [JSON] is the default; package flask has those of Flask.
//
// A Serializer of several formats may have a method Rejoin(members []Member, before []byte) ([]byte, error). If the
// session already has a document, Rejoin is called in place of Join, to keep the format of that document.
//
// Implementations must be safe for concurrent use, and must not panic, whatever the bytes.
type Serializer interface {
	// Marshal encodes one value. Equal values have equal encodings. If the value can't be represented, the error names
	// its type, never the value.
	Marshal(value any) ([]byte, error)

	// Unmarshal decodes one value into what pointer points to. If that is an any, Marshal encodes the result to the
	// same bytes again, apart from the order of members.
	Unmarshal(data []byte, pointer any) error

	// Split splits a document into its members. Without any bytes it is empty. The result may share memory with
	// document.
	Split(document []byte) ([]Member, error)

	// Join makes a document of members: the reverse of Split.
	Join(members []Member) ([]byte, error)
}

// JSON is the default [Serializer]. It encodes values as [encoding/json] does, and a document as one JSON object.
//
// [Session.Get] gives nil, bool, string, int64 (uint64 or [json.Number] for integers that don't fit), float64, []any
// and map[string]any. So that a float stays a float, it is written with a point or an exponent (2.0), also within
// slices and maps; within a struct it is written as encoding/json does. NaN, infinities and text that is not UTF-8 are
// refused.
var JSON Serializer = document.JSON{}

// IDFormat makes session IDs, checks them, and derives the store's keys from them. [SignedID] is the default.
// Implementations must be safe for concurrent use.
type IDFormat interface {
	// New makes a random ID. It returns the token for the client, and the key under which the store keeps the session.
	New() (token, key string)

	// Parse returns the key that belongs to a token. If it refuses the token, the error is a [Reason]. Parse does no
	// I/O; a token that it accepts causes an access to the store.
	Parse(token string) (key string, err error)
}

// SignedID makes the default [IDFormat]. A token has 16 random bytes (ASVS 5.0, 7.2.3: at least 128 bits) and the first
// half of their HMAC-SHA256 (RFC 2104, section 5, allows the truncation), as 43 characters of base64url.
//
// The store's key is the second half, as 22 characters. It tells nothing about the random bytes or the first half, so
// nobody can make a cookie from a copy of the store. A token without a valid signature never reaches the store. The
// first key signs, and all keys verify. The name is part of what is signed, so a token that was made for one cookie is
// refused under the name of another. A key of less than 16 bytes, or a well-known sample, is an error.
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
	idMACBytes  = 16 // the rest of the MAC is the store's key
	tokenLength = (idBytes+idMACBytes)*4/3 + 1
)

type signedID struct{ macs []*token.MAC }

func (f *signedID) New() (text, key string) {
	var b [idBytes + idMACBytes]byte
	rand.Read(b[:idBytes])
	sum := f.macs[0].Sum(b[:idBytes])
	copy(b[idBytes:], sum[:])
	return token.Encode(b[:]), token.Encode(sum[idMACBytes:])
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
			return token.Encode(sum[idMACBytes:]), nil
		}
	}
	return "", ReasonSignature
}

// CookieCodec makes a [Codec]. It gets SecretKey, followed by its fallbacks, and the cookie's name. It returns an error
// for keys that are too weak for it. [EncryptedCookie] is one; see [Config.CookieCodec].
type CookieCodec func(keys []string, cookieName string) (Codec, error)

// Codec keeps a whole session in a cookie. Implementations must be safe for concurrent use, and must not panic,
// whatever the text. A Codec that is a [Policy] too follows the rules of another framework. A Codec may have a method
// Refresh(value string) (string, error). If the expiry of an unchanged session is refreshed, Refresh is called in place
// of Encode, with the value that was decoded. A Codec may have a method DecodeSplit(value string) (store.Record,
// []Member, error). It is called in place of Decode and of the Serializer's Split, and returns what both return.
type Codec interface {
	// Serializer returns the Serializer of the session's values.
	Serializer() Serializer

	// Encode returns the cookie's value for rec: its Principal, Label, Handle, Public, times and Data. It consists of
	// characters that a cookie may have (RFC 6265, section 4.1.1).
	Encode(rec store.Record) (string, error)

	// Decode is the reverse of Encode. If a value gives no session, the error is a [Reason]. The Manager checks the
	// expiry.
	Decode(value string) (store.Record, error)
}

// Policy is an optional interface of a [Codec] or an [IDFormat] that shares cookies, or a store, with another
// framework, and follows its rules. A session then lives for a time from its last change or refresh;
// [Config.IdleTimeout] doesn't apply. Implementations must be safe for concurrent use.
type Policy interface {
	// Lifetime is called once, by [New], with the given [Config.Lifetime]. It returns how long a session lives after
	// its last change or refresh, and how old that may be before a request that looks at the session refreshes it. With
	// a Codec a refresh sends the cookie of a persistent session again, else it moves the expiry in the store.
	Lifetime(configured time.Duration) (lifetime, refresh time.Duration)

	// UserKey is the key whose value names the user. [Session.Set] of this key is a Login, and [Session.Delete] of it
	// ends the login. UserKey always returns the same key.
	UserKey() string

	// LoginKeys are the keys that belong to a login, UserKey among them. [Session.Clear] keeps them; the end of the
	// login removes them. LoginKeys always returns the same keys.
	LoginKeys() []string

	// Login returns the values that a [Session.Login] of principal sets. get reads the session's earlier values, as in
	// Principal.
	Login(principal string, get func(key string, pointer any) bool) map[string]any

	// Logout returns the values of the new, anonymous session that follows a [Session.Logout] in r; nil for none.
	Logout(r *http.Request) map[string]any

	// Principal is the reverse of Login: it returns who is logged in according to the session's values; "" for nobody.
	// get decodes the value of key into what pointer points to, and returns false if it is absent or has another type.
	Principal(get func(key string, pointer any) bool) string

	// CheckCookie returns an error for a cookie that must not be sent. It fails the request.
	CheckCookie(*http.Cookie) error
}
