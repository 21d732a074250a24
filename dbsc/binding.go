package dbsc

import (
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// binding is the session's key: the identifier, when it was bound, the algorithm and the public key (PKIX, base64url), with
// spaces in between. One string costs a request less to decode than a struct.
const binding session.Attribute[string] = "github.com/hipflask/session/dbsc"

// newID makes the identifier of a binding: the session's handle and something random, so that a MAC over it is one over both.
func newID(handle string) string { return handle + "." + rand.Text() }

// maxID bounds an identifier that a browser sends: a handle has 16 bytes, and other layouts may have longer ones.
const maxID = 128

// isID reports whether a text can be an identifier, and so may be sent back in a header.
func isID(text string) bool {
	return text != "" && len(text) <= maxID && strings.IndexFunc(text, func(c rune) bool { return c != '.' && !isWord(c) }) < 0
}

// newBinding makes the value of the Attribute.
func newBinding(id, key string) string {
	return id + " " + strconv.FormatInt(time.Now().UnixMilli(), 36) + " " + key
}

// bindingOf returns the session's binding. The identifier is "" if there is none.
func bindingOf(s *session.Session) (id string, at time.Time, key string) {
	text, _ := binding.Get(s)
	id, text, _ = strings.Cut(text, " ")
	stamp, key, _ := strings.Cut(text, " ")
	ms, _ := strconv.ParseInt(stamp, 36, 64)
	return id, time.UnixMilli(ms), key
}

// of reports whether the identifier is of a binding of the session with that handle.
func of(id, handle string) bool {
	rest, ok := strings.CutPrefix(id, handle)
	return ok && handle != "" && strings.HasPrefix(rest, ".")
}

// The purposes of MACs, so that one is not taken for another.
const (
	forCookie   = "github.com/hipflask/session/dbsc cookie"
	forRegister = "github.com/hipflask/session/dbsc register"
	forRefresh  = "github.com/hipflask/session/dbsc refresh"
)

// sign returns a token for a binding's identifier, or a session's handle: the time in milliseconds, and a MAC over both.
func (d *Server) sign(purpose, subject string) string {
	at := strconv.FormatInt(time.Now().UnixMilli(), 36)
	return at + "." + base64.RawURLEncoding.EncodeToString(d.sessions.Sign(purpose, []byte(subject+" "+at)))
}

// check returns why a token of sign is not valid, for as long as life; "" if it is.
func (d *Server) check(purpose, subject, token string, life time.Duration) Reason {
	at, text, _ := strings.Cut(token, ".")
	ms, err := strconv.ParseInt(at, 36, 64)
	mac, err2 := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || err2 != nil || len(token) > 64 || !d.sessions.Verify(purpose, []byte(subject+" "+at), mac) {
		return ReasonForged
	}
	switch age := time.Since(time.UnixMilli(ms)); {
	case age < -d.options.Skew:
		return ReasonFuture
	case age > life:
		return ReasonExpired
	}
	return ""
}
