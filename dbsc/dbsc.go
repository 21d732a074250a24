// Package dbsc binds sessions to the browser's device (Device Bound Session Credentials, W3C editor's draft of
// 2026-02-17), so that a copied cookie is worth nothing after minutes.
//
// After a Login the browser makes a key pair, if it can in hardware that doesn't give the private key away, and
// registers the public key. From then on the session counts only together with a second cookie, the bound cookie, which
// lives for minutes. When it has expired, the browser signs a challenge with its key and gets a new one, before it
// sends the request that needs it. Whoever copied the cookies has no key: their requests see an empty, anonymous
// session. Pages and scripts notice nothing of it.
//
//	sessions, err := session.New(session.Config{SecretKey: key})
//	device, err := dbsc.New(sessions, dbsc.Options{})
//	mux.Handle("/dbsc/", device)
//	http.ListenAndServeTLS(addr, cert, key, sessions.Handler(device.Middleware(mux)))
//
// It protects against theft of cookies, not against malware that stays on the device and lets the browser sign: see
// docs/dbsc.md. Browsers need HTTPS for it.
package dbsc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// Bound is true for a session that is bound to a device. Lists of sessions show it: see [session.PublicAttribute.Of].
const Bound session.PublicAttribute[bool] = "github.com/hipflask/session/dbsc"

// Policy says what becomes of sessions whose browser doesn't register a key.
type Policy int

const (
	// Prefer binds the sessions of browsers that can. All others work as without this package.
	Prefer Policy = iota

	// Require ends the use of a login that has not been bound within [Options.Window]: it counts as one whose bound
	// cookie is missing.
	Require
)

// Options are the settings of [New]. The zero value is safe.
type Options struct {
	// Path is where the [Server] is mounted, as browsers see it and as the middleware sees it in the request's URL. It
	// begins and ends with a slash. Below it are the endpoints "register" and "refresh". Empty: "/dbsc/".
	Path string

	// CookieName is the name of the bound cookie. Two Servers on one host need different names. It has to begin with
	// "__Host-". Empty: "__Host-bound".
	CookieName string

	// SameSite is that of the bound cookie: as in the session's cookie. Zero: http.SameSiteLaxMode.
	SameSite http.SameSite

	// Life is how long a bound cookie lives, and so how soon a copy of it is worth nothing; from 1 second to 24 hours.
	// Each time it ends the browser sends two requests and signs once. Chromium signs at most 6 times in 9 minutes for
	// a site and may begin 2 minutes before the end, so it can't keep up with much less than the default. Zero: 5
	// minutes.
	Life time.Duration

	// Skew is how much longer than Life a bound cookie is accepted, for requests that overlap a refresh and for servers
	// whose clocks differ; at most Life. Zero: 30 seconds, or Life if that is less.
	Skew time.Duration

	// Window is how long after it was given to the browser a challenge may be answered; from 1 second to 10 minutes.
	// Within it a copied proof can be used again. It also bounds how long after a Login a key can be registered. Zero:
	// 1 minute.
	Window time.Duration

	// Initiators are other origins of the same site whose pages send requests with cookies to this one, as hosts:
	// "app.example.com", "*.example.com". For a request of any other origin the browser gets no new bound cookie,
	// unless it opens a page: that is then loaded again. Nil: none.
	Initiators []string

	// Policy is about browsers that register no key. Zero: Prefer.
	Policy Policy

	// Level makes a session be treated as with Require while its [session.Auth] has at least this level, from 1 to 3:
	// after a Login with it, or during an elevation ("step-up"). The response to Elevate offers a registration as well,
	// if the session is not bound. Zero: no level.
	Level int

	// Refuse sends the response of [Server.Require] to a request that may not pass. Nil: a short text with 401, 403 or
	// 503.
	Refuse func(http.ResponseWriter, *http.Request, Reason)

	// OnEvent is called for each [Event], by the goroutine of the request, which waits for it. It must be safe for
	// concurrent use. Nil: none.
	OnEvent func(context.Context, Event)
}

// Server binds the sessions of a Manager: its [Server.Middleware] checks them, and as a handler, mounted at
// [Options.Path], it registers keys and refreshes bound cookies. [New] makes one; the zero value can't be used. It is
// safe for concurrent use and has no state: any number of processes share the Manager's store and keys.
type Server struct {
	sessions   *session.Manager
	options    Options
	attributes string // of the bound cookie, as the browser is told to expect them
}

// New checks the options and returns a [Server] for the sessions of a Manager, or an error that names all problems at
// once. The Manager has to keep its token in a cookie and its sessions in a layout that has room for attributes: any
// but those shared with Flask.
func New(sessions *session.Manager, o Options) (*Server, error) {
	setDefault(&o.Path, "/dbsc/")
	setDefault(&o.CookieName, "__Host-bound")
	setDefault(&o.SameSite, http.SameSiteLaxMode)
	setDefault(&o.Life, 5*time.Minute)
	setDefault(&o.Skew, min(30*time.Second, o.Life))
	setDefault(&o.Window, time.Minute)
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("dbsc: Options."+format, args...))
		}
	}
	refuse(sessions == nil, "New: sessions is nil; it takes the Manager of session.New")
	refuse(!isPath(o.Path), "Path is not a path such as %q: it begins and ends with a slash and has "+
		"letters, digits and -._~ in between", "/dbsc/")
	refuse(!isHostCookie(o.CookieName), "CookieName is not __Host- and then 1 to 64 letters, digits, - or _")
	switch o.SameSite {
	case http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode:
	default:
		refuse(true, "SameSite is %d; it takes http.SameSiteLaxMode, SameSiteStrictMode or SameSiteNoneMode",
			o.SameSite)
	}
	refuse(o.Life < time.Second || o.Life > 24*time.Hour, "Life is %v; it is 1 second to 24 hours", o.Life)
	refuse(o.Skew < 0 || o.Skew > o.Life, "Skew is %v; it is at least 0 and at most Life", o.Skew)
	refuse(o.Window < time.Second || o.Window > 10*time.Minute, "Window is %v; it is 1 second to 10 minutes", o.Window)
	for _, host := range o.Initiators {
		refuse(!isHostPattern(host), "Initiators has %q, which is no host such as app.example.com or "+
			"*.example.com", host)
	}
	refuse(o.Policy != Prefer && o.Policy != Require, "Policy is %d; it is Prefer or Require", o.Policy)
	refuse(o.Level < 0 || o.Level > 3, "Level is %d; it is 0 to 3", o.Level)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	o.Initiators = slices.Clone(o.Initiators)
	d := &Server{sessions: sessions, options: o}
	_, d.attributes, _ = strings.Cut(d.cookie("", 0).String(), "; ")
	return d, nil
}

func setDefault[T comparable](setting *T, value T) {
	var zero T
	if *setting == zero {
		*setting = value
	}
}

func isPath(p string) bool {
	clean := path.Clean(p)
	return len(p) <= 256 && strings.HasPrefix(p, "/") && (p == "/" || clean != "/" && p == clean+"/") &&
		strings.IndexFunc(p, func(c rune) bool { return c != '/' && c != '.' && c != '~' && !isWord(c) }) < 0
}

func isHostCookie(name string) bool {
	rest, ok := strings.CutPrefix(name, "__Host-")
	return ok && rest != "" && len(rest) <= 64 && strings.IndexFunc(rest, func(c rune) bool { return !isWord(c) }) < 0
}

// isHostPattern reports whether a text is a host name, with or without "*." in front (draft, "Identify if a host
// matches a pattern").
func isHostPattern(text string) bool {
	host := strings.TrimPrefix(text, "*.")
	return host != "" && len(host) <= 253 && !strings.HasPrefix(host, ".") && !strings.HasSuffix(host, ".") &&
		strings.IndexFunc(host, func(c rune) bool { return c != '.' && !isWord(c) }) < 0
}

func isWord(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// cookie returns the bound cookie. A maxAge of 0 is for its attributes alone, a negative one deletes the cookie.
func (d *Server) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: d.options.CookieName, Value: value, MaxAge: maxAge,
		Path: "/", Secure: true, HttpOnly: true, SameSite: d.options.SameSite,
	}
}
