package dbsc

import (
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// binding is the session's key: the identifier, when it was bound, the algorithm and the public key (PKIX, base64url),
// with spaces in between. One string costs a request less to decode than a struct.
const binding session.Attribute[string] = "github.com/hipflask/session/dbsc"

// newID makes the identifier of a binding: the session's handle and something random, so that a MAC over it is one over
// both.
func newID(handle string) string { return handle + "." + rand.Text() }

// maxID bounds an identifier that a browser sends: a handle has 16 bytes, and other layouts may have longer ones.
const maxID = 128

// isID reports whether a text can be an identifier, and so may be sent back in a header.
func isID(text string) bool {
	return text != "" && len(text) <= maxID && strings.IndexFunc(text, func(c rune) bool {
		return c != '.' && !isWord(c)
	}) < 0
}

// newBinding makes the value of the Attribute.
func newBinding(id, key string) string {
	return id + " " + strconv.FormatInt(time.Now().UnixMilli(), 36) + " " + key
}

// bindingOf returns the session's binding. The identifier is "" if there is none.
func bindingOf(s *session.Session) (id string, at time.Time, key string) {
	text, bound := binding.Get(s)
	if !bound {
		return "", time.Time{}, ""
	}
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
	forPending  = "github.com/hipflask/session/dbsc pending"
	forRegister = "github.com/hipflask/session/dbsc register"
	forRefresh  = "github.com/hipflask/session/dbsc refresh"
)

// maxToken bounds a token of sign: a MAC has 43 characters, the time 8, and later more.
const maxToken = 64

// strictly decodes the one text of a MAC that sign makes, and none that differs in bits which don't count.
var strictly = base64.RawURLEncoding.Strict()

// sign returns a token for a binding's identifier, or a session's handle: the time in milliseconds, and a MAC over
// both.
func (d *Server) sign(purpose, subject string) string {
	at := strconv.FormatInt(time.Now().UnixMilli(), 36)
	return at + "." + base64.RawURLEncoding.EncodeToString(d.sessions.Sign(purpose, []byte(subject+" "+at)))
}

// check returns why a token of sign is not valid, for as long as life; "" if it is.
func (d *Server) check(purpose, subject, token string, life time.Duration) Reason {
	at, text, _ := strings.Cut(token, ".")
	if len(token) > maxToken || len(subject) > maxID {
		return ReasonForged
	}
	var space struct { // so that nothing is allocated
		text    [maxToken]byte
		mac     [maxToken]byte
		message [maxID + 1 + maxToken]byte
	}
	ms, err := strconv.ParseInt(at, 36, 64)
	mac, err2 := strictly.AppendDecode(space.mac[:0], append(space.text[:0], text...))
	message := append(append(append(space.message[:0], subject...), ' '), at...)
	if err != nil || err2 != nil || !d.sessions.Verify(purpose, message, mac) {
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
