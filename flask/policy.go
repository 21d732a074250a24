package flask

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hipflask/session/store"
)

const defaultLifetime = 31 * 24 * time.Hour // PERMANENT_SESSION_LIFETIME

// policy is what Flask's cookie and Flask-Session have in common: the rules of a session.Policy.
type policy struct {
	lifetime       time.Duration
	userKey        string // Flask-Login's, or the application's own
	rememberCookie string // Flask-Login's
}

func (o *Options) policy() policy {
	p := policy{defaultLifetime, o.UserKey, o.RememberCookie}
	if p.userKey == "" {
		p.userKey = loginUserKey
	}
	if p.rememberCookie == "" {
		p.rememberCookie = "remember_token"
	}
	return p
}

// Lifetime implements session.Policy: a session is renewed after a twentieth of its life.
func (p *policy) Lifetime(configured time.Duration) (lifetime, refresh time.Duration) {
	if configured != 0 {
		p.lifetime = configured
	}
	return p.lifetime, p.lifetime / 20
}

// UserKey implements session.Policy.
func (p *policy) UserKey() string { return p.userKey }

// LoginKeys implements session.Policy (flask_login/utils.py, logout_user). An application without Flask-Login has its
// own key alone.
func (p *policy) LoginKeys() []string {
	if p.userKey != loginUserKey {
		return []string{p.userKey}
	}
	return []string{loginUserKey, Fresh, ID, remember, "_remember_seconds"}
}

// Login implements session.Policy (flask_login/utils.py, login_user). The _id that Flask-Login compares depends on the
// request: see LoginID.
func (p *policy) Login(principal string, get func(key string, pointer any) bool) map[string]any {
	values := map[string]any{p.userKey: p.userLike(principal, get)}
	if p.userKey == loginUserKey {
		values[Fresh] = true
	}
	return values
}

// Logout implements session.Policy. Flask-Login would log in again by its remember-me cookie, unless the session tells
// it to delete that (flask_login/login_manager.py, _load_user and _update_remember_cookie).
func (p *policy) Logout(r *http.Request) map[string]any {
	if p.userKey != loginUserKey || len(r.CookiesNamed(p.rememberCookie)) == 0 {
		return nil
	}
	return map[string]any{remember: "clear"}
}

// Principal implements session.Policy: the value of the user's key, as text.
func (p *policy) Principal(get func(key string, pointer any) bool) string {
	var text string
	if get(p.userKey, &text) {
		return principalOf(text)
	}
	var other any
	if !get(p.userKey, &other) {
		return ""
	}
	return userText(other)
}

// userText returns the principal that a user's ID names, of whatever type: Python's str of it.
func userText(v any) string {
	if v == nil {
		return ""
	}
	return principalOf(pythonText(v))
}

// principalOf returns a text that a principal may be. Others are hashed: they must not be taken for nobody.
func principalOf(text string) string {
	if len(text) <= store.MaxPrincipal && utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// userLike returns the value for the user's key, of the type that it has in the session: user loaders of Flask-Login
// that look up an int don't find the text.
func (p *policy) userLike(principal string, get func(key string, pointer any) bool) any {
	var old any
	if !get(p.userKey, &old) {
		return principal
	}
	if userText(old) == principal {
		return old
	}
	switch old.(type) {
	case int64, *big.Int:
		if n, ok := new(big.Int).SetString(principal, 10); ok && n.String() == principal {
			return natural(n)
		}
	case UUID:
		if id, ok := parseUUID(principal); ok && id.(UUID).String() == principal {
			return id
		}
	}
	return principal
}
