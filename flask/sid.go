package flask

import (
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"net/http"
	"strings"

	"github.com/hipflask/session"
)

// SID is the session.Config.IDFormat of Flask-Session 0.8: a random session ID of 256 bits, unsigned, under which the
// store keeps the session as it is. Use it with a store of the packages below this one and the Serializer that the
// Flask application uses (Msgpack, JSON, or Pickle for cachelib's files).
//
// It makes the Manager follow Flask's rules: Config.Lifetime is PERMANENT_SESSION_LIFETIME (zero: 31 days), counted
// from the last change or renewal; IdleTimeout does not apply; Login and Principal are Flask-Login's logged-in user.
//
// Any text of the right form in a cookie reaches the store, and who can read the store can make cookies of what is in
// it: so Flask-Session does it. SECRET_KEY is not used.
func SID(keys []string, name string) (session.IDFormat, error) {
	return Options{}.SID(keys, name)
}

// SID is the function SID for an application that changed UserKey or RememberCookie; other fields have no effect.
func (o Options) SID(keys []string, name string) (session.IDFormat, error) {
	return &sids{policy: o.policy()}, nil
}

// SignedSID is SID for applications with SESSION_USE_SIGNER: what is not signed with SECRET_KEY does not reach the
// store. Flask-Session knows no fallback keys; here they verify.
func SignedSID(keys []string, name string) (session.IDFormat, error) {
	return Options{}.SignedSID(keys, name)
}

// SignedSID is the function SignedSID for an application that changed UserKey or RememberCookie; other fields have no
// effect.
func (o Options) SignedSID(keys []string, name string) (session.IDFormat, error) {
	if fips140.Enforced() {
		return nil, errors.New("flask: Flask-Session signs with HMAC-SHA1, which GODEBUG=fips140=only forbids; use SID")
	}
	f := &sids{policy: o.policy()}
	for i, k := range keys {
		if k == "" {
			return nil, emptyKey(i)
		}
		// itsdangerous/signer.py, derive_key: the salt is the message.
		key := macSHA1([]byte(k), "flask-session")
		f.sign = append(f.sign, func(sid string) string { return b64.EncodeToString(macSHA1(key, sid)) })
	}
	return f, nil
}

type sids struct {
	policy
	sign []func(sid string) string // none: not signed. Closures hide the keys from package fmt
}

const (
	sidBytes  = 32  // SESSION_ID_LENGTH
	minSID    = 16  // SESSION_ID_LENGTH can be set; with less than 96 bits an ID could be guessed
	maxSID    = 128 // store.MaxKey
	signature = 27  // base64 of 20 bytes
)

func (f *sids) New() (token, key string) {
	var b [sidBytes]byte
	rand.Read(b[:])
	key = b64.EncodeToString(b[:])
	if len(f.sign) == 0 {
		return key, key
	}
	return key + "." + f.sign[0](key), key
}

func (f *sids) Parse(token string) (string, error) {
	if len(f.sign) == 0 {
		return token, checkSID(token)
	}
	sid, sum, ok := strings.Cut(token, ".")
	if !ok || len(sum) != signature || checkSID(sid) != nil {
		return "", session.ReasonMalformed
	}
	for _, sign := range f.sign {
		if hmac.Equal([]byte(sign(sid)), []byte(sum)) {
			return sid, nil
		}
	}
	return "", session.ReasonSignature
}

// CheckCookie implements session.Policy: an ID is never too long.
func (*sids) CheckCookie(*http.Cookie) error { return nil }

func macSHA1(key []byte, message string) []byte {
	h := hmac.New(sha1.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// checkSID takes what Flask-Session makes: secrets.token_urlsafe, before 0.6 a UUID. So no cookie can name another key
// of the store.
func checkSID(sid string) error {
	if len(sid) < minSID || len(sid) > maxSID {
		return session.ReasonMalformed
	}
	for i := range len(sid) {
		c := sid[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return session.ReasonMalformed
		}
	}
	return nil
}
