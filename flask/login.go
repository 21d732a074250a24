package flask

import (
	"crypto/sha512"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Flask-Login's keys in the session (flask_login/login_manager.py). The user is the session's Principal, of whatever
// type.
const (
	loginUserKey = "_user_id"
	remember     = "_remember" // what Flask-Login is to do with its remember-me cookie

	// Fresh says whether the user logged in with a password in this session, and not by a remember-me cookie.
	Fresh = "_fresh"
	// ID is what Flask-Login compares with LoginID of each request, to notice a stolen cookie.
	ID = "_id"
)

// LoginID is what Flask-Login 0.6 keeps as _id: a hash of the client's address and User-Agent. Set it after Login:
//
//	s.Login("42")
//	s.Set(flask.ID, flask.LoginID(r))
//
// Without it, or with another one, Flask-Login takes the login for not fresh, or, with session protection "strong",
// logs the user out. As in Flask-Login, the address is the first of X-Forwarded-For, if there is that header: let the
// proxy in front of both applications set it.
func LoginID(r *http.Request) string {
	address := r.RemoteAddr
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	if lines := r.Header.Values("X-Forwarded-For"); len(lines) > 0 {
		address, _, _ = strings.Cut(strings.Join(lines, ","), ",")
		address = strings.TrimSpace(address)
	}
	agent := "None"
	if lines := r.Header.Values("User-Agent"); len(lines) > 0 {
		agent = headerRepr(lines[0])
	}
	// flask_login/utils.py, _create_identifier: both are bytes, and an f-string shows those by their repr.
	sum := sha512.Sum512([]byte(headerRepr(address) + "|" + agent))
	return hex.EncodeToString(sum[:])
}

// headerRepr is Python's repr of a header that was decoded as Latin-1 (WSGI) and encoded as UTF-8.
func headerRepr(header string) string {
	var utf []byte
	for _, c := range []byte(header) {
		utf = utf8.AppendRune(utf, rune(c))
	}
	return bytesRepr(utf)
}
