package flask

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hipflask/session"
)

// csrfKey is Flask-WTF's key in the session (flask_wtf/csrf.py, WTF_CSRF_FIELD_NAME).
const csrfKey = session.Key[string]("csrf_token")

// CSRF makes and checks Flask-WTF's tokens, so that a form of one application can be sent to the other. It is safe for
// concurrent use.
//
// A token that Token made before a Login is not valid after it: see KeepAtLogin. Flask-WTF itself does not do that: it
// accepts such a token until Token is called again, and in a session shared with Flask, Check accepts what Flask-WTF
// made. Call Rotate after Login where Flask makes or checks forms for visitors who are not logged in.
type CSRF struct {
	// KeepAtLogin accepts tokens from before a Login, so that a form in another tab still works after it. Set it before
	// the first use. Whoever knew the token of the anonymous visitor then knows that of the user.
	KeepAtLogin bool

	// UserKey is that of [Options], for sessions shared with a Flask application that has its own. Set it before the
	// first use.
	UserKey string

	signer *Signer
	maxAge time.Duration
	mac    func(message string) [sha256.Size]byte
}

// NewCSRF returns a checker for an application with this SECRET_KEY (or its WTF_CSRF_SECRET_KEY). maxAge is its
// WTF_CSRF_TIME_LIMIT; zero: an hour; negative: none.
func NewCSRF(secretKey string, maxAge time.Duration) (*CSRF, error) {
	signer, err := NewSigner("wtf-csrf-token", []string{secretKey}, DeriveConcat, nil, 0)
	if err != nil {
		return nil, err
	}
	if maxAge == 0 {
		maxAge = time.Hour
	}
	derived := hmacSHA256([]byte(secretKey), "hipflask csrf login")
	return &CSRF{signer: signer, maxAge: maxAge, mac: func(message string) [sha256.Size]byte {
		return hmacSHA256(derived[:], message)
	}}, nil
}

// Token returns the token for a form of this session, which it keeps in the session on first use, and after a Login.
func (c *CSRF) Token(s *session.Session) (string, error) {
	token, ok := csrfKey.Get(s)
	if !ok || !c.isOf(s, token) {
		token = c.Rotate(s)
	}
	payload, err := TaggedJSON.Marshal(token)
	if err != nil {
		return "", err
	}
	return c.signer.Sign(payload, time.Now()), nil
}

// Rotate ends all tokens that this session's forms have, in both applications. It returns the session's new csrf_token,
// which is not yet the signed token of a form.
func (c *CSRF) Rotate(s *session.Session) string {
	var nonce [nonceBytes]byte
	rand.Read(nonce[:])
	token := c.bound(nonce[:], c.loginOf(s))
	csrfKey.Set(s, token)
	return token
}

// Check returns nil if the token of a form belongs to this session and is not too old.
func (c *CSRF) Check(s *session.Session, token string) error {
	want, ok := csrfKey.Get(s)
	if !ok {
		return fmt.Errorf("flask: the session has no CSRF token")
	}
	payload, at, err := c.signer.Unsign(token)
	if err != nil {
		return fmt.Errorf("flask: the CSRF token is invalid")
	}
	age := time.Duration(time.Now().Unix()-at.Unix()) * time.Second
	if age < 0 || c.maxAge > 0 && age > c.maxAge {
		return fmt.Errorf("flask: the CSRF token has expired")
	}
	var got string
	if TaggedJSON.Unmarshal(payload, &got) != nil || subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return fmt.Errorf("flask: the CSRF token is another session's")
	}
	if !c.isOf(s, got) {
		return fmt.Errorf("flask: the CSRF token is from before the login")
	}
	return nil
}

// A session's csrf_token that is made here has the form of Flask-WTF's, 40 hexadecimal digits: of a nonce, of a MAC
// that shows that it was made here, and of a MAC of the login that it belongs to.
const (
	nonceBytes = 10
	macBytes   = 5
)

func (c *CSRF) bound(nonce []byte, login string) string {
	made, bound := c.mac("made "+string(nonce)), c.mac("login "+string(nonce)+login)
	return hex.EncodeToString(slices.Concat(nonce, made[:macBytes], bound[:macBytes]))
}

// isOf reports whether token, a session's csrf_token, belongs to the login that the session has now.
func (c *CSRF) isOf(s *session.Session, token string) bool {
	login := c.loginOf(s)
	b, err := hex.DecodeString(token)
	ours := err == nil && len(b) == nonceBytes+2*macBytes
	if ours {
		made := c.mac("made " + string(b[:nonceBytes]))
		ours = hmac.Equal(made[:macBytes], b[nonceBytes:nonceBytes+macBytes])
	}
	switch {
	case c.KeepAtLogin:
		return true
	case ours:
		return hmac.Equal([]byte(c.bound(b[:nonceBytes], login)), []byte(token))
	}
	return login == "" || c.isFlaskLogin(s) // Flask-WTF made it, and nobody knows when
}

// loginOf names the login that the session has: by the handle, which each Login changes, or in a layout shared with
// Flask, which has no handles, by the user. It is "" for a visitor who is not logged in.
func (c *CSRF) loginOf(s *session.Session) string {
	switch info := s.Info(); {
	case info.Principal == "":
		return ""
	case c.isFlaskLogin(s):
		return "user " + info.Principal
	default:
		return "handle " + info.Handle
	}
}

// isFlaskLogin reports whether the session's user is in its values, as Flask-Login keeps it.
func (c *CSRF) isFlaskLogin(s *session.Session) bool {
	user, ok := s.Get(cmp.Or(c.UserKey, loginUserKey))
	return ok && userText(user) == s.Principal()
}

func hmacSHA256(key []byte, message string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, message)
	h.Sum(sum[:0])
	return sum
}
