package flask

import (
	"crypto/sha512"
	"encoding/hex"
	"net"
	"net/http"
)

// Flask-Login's keys in the session (flask_login/login_manager.py).
const (
	userKey  = "_user_id" // text, also for numbers
	freshKey = "_fresh"
	idKey    = "_id"
)

// Keys of Flask-Login that an application may want to read or set. The user is the session's Principal.
const (
	// Fresh says whether the user logged in with a password in this session, and not by a remember-me cookie.
	Fresh = freshKey
	// ID is the text that Flask-Login compares with LoginID of each request, to notice a stolen cookie.
	ID = idKey
)

// LoginID is what Flask-Login keeps as _id: a hash of the client's address and User-Agent. Set it after Login, with the
// address that the Flask application sees (behind a proxy, its ProxyFix):
//
//	s.Login("42")
//	s.Set(flask.ID, flask.LoginID(remoteAddr, r))
//
// Without it, or with another one, Flask-Login takes the login for not fresh, or, with session protection "strong",
// logs the user out.
func LoginID(remoteAddr string, r *http.Request) string {
	if host, _, err := net.SplitHostPort(remoteAddr); err == nil {
		remoteAddr = host
	}
	sum := sha512.Sum512([]byte(remoteAddr + "|" + r.UserAgent()))
	return hex.EncodeToString(sum[:])
}
