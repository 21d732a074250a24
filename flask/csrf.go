package flask

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hipflask/session"
)

// csrfKey is Flask-WTF's key in the session (flask_wtf/csrf.py, WTF_CSRF_FIELD_NAME).
const csrfKey = session.Key[string]("csrf_token")

// CSRF makes and checks Flask-WTF's tokens, so that a form of one application can be sent to the other. It is safe for
// concurrent use.
type CSRF struct {
	signer *Signer
	maxAge time.Duration
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
	return &CSRF{signer, maxAge}, nil
}

// Token returns the token for a form of this session, which it keeps in the session on first use.
func (c *CSRF) Token(s *session.Session) (string, error) {
	token, ok := csrfKey.Get(s)
	if !ok {
		var b [20]byte
		rand.Read(b[:])
		token = hex.EncodeToString(b[:])
		csrfKey.Set(s, token)
	}
	payload, err := TaggedJSON.Marshal(token)
	if err != nil {
		return "", err
	}
	return c.signer.Sign(payload, time.Now()), nil
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
	return nil
}
