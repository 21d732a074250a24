package flask

import (
	"time"

	"github.com/hipflask/session/store"
)

const defaultLifetime = 31 * 24 * time.Hour // PERMANENT_SESSION_LIFETIME

// policy is what Flask's cookie and Flask-Session have in common: the rules of a session.Policy.
type policy struct{ lifetime time.Duration }

// Lifetime implements session.Policy: a session is renewed after a twentieth of its life.
func (p *policy) Lifetime(configured time.Duration) (lifetime, refresh time.Duration) {
	if configured != 0 {
		p.lifetime = configured
	}
	return p.lifetime, p.lifetime / 20
}

// Login implements session.Policy (flask_login/utils.py, login_user). The _id that Flask-Login compares depends on the
// request: see LoginID.
func (*policy) Login(principal string) map[string]any {
	return map[string]any{userKey: principal, Fresh: true}
}

// Principal implements session.Policy: Flask-Login's user.
func (*policy) Principal(get func(key string, pointer any) bool) string {
	var user string
	if !get(userKey, &user) || len(user) > store.MaxPrincipal {
		return ""
	}
	return user
}
