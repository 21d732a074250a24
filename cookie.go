package session

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/hipflask/session/internal/document"
)

// Cookie has the name and the attributes of the session's cookie. The zero value is the safe default. The cookie is
// always HttpOnly, and Secure unless [Config.InsecureHTTP] is set. [New] refuses combinations that browsers reject (RFC
// 6265bis, sections 4.1 and 5.6).
type Cookie struct {
	// Name is the cookie's name, of at most 256 bytes. Empty: "__Host-session"; "__Secure-session" with a Domain or
	// another Path than "/"; "session" with [Config.InsecureHTTP]. Two Managers that meet in one request need different
	// names, and so do two applications on one host: a browser sends its cookies to every port (RFC 6265, section 8.5).
	Name string

	// Domain sends the cookie to subdomains of this host too. At most 1024 bytes. Empty: to this host only, the safe
	// choice. New refuses a public suffix, such as "com" or "co.uk". A Domain that doesn't cover the host of a request
	// is logged once.
	Domain string

	// Path limits the cookie to a part of the host. It doesn't protect the cookie from other paths (RFC 6265, section
	// 8.5). At most 1024 bytes. Empty: "/".
	Path string

	// SameSite is Lax, Strict or None. Zero: Lax, or None with Partitioned. [http.SameSiteNoneMode] needs https.
	// Browsers withhold a Lax cookie from requests that another site causes, except links, and a Strict cookie from
	// links too. Without the cookie, such a request stores nothing but a Login: see [ErrCrossSite].
	SameSite http.SameSite

	// Partitioned gives each top-level site around a frame a cookie of its own (CHIPS), for applications in frames of
	// other sites. It needs https.
	Partitioned bool

	// Persistent makes new sessions outlive the browser, for at most [Config.PersistentLifetime], unless
	// SetPersistent(false) is called. False: they end with the browser, unless [Session.SetPersistent] is called
	// ("remember me").
	Persistent bool
}

const (
	maxCookie    = 4096                 // name and value together (RFC 6265bis, section 5.6); browsers drop more
	maxAttribute = 1024                 // Domain and Path; browsers ignore longer ones
	maxMaxAge    = 400 * 24 * time.Hour // RFC 6265bis, section 5.5: browsers cut it to this
	// cookies of the session's name that are looked at; nobody honest has more than two
	maxVerify = 32
	maxLoads  = 3 // of those that verify
)

func (c *Cookie) check(insecure bool) (problems []error) {
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("session: Cookie."+format, args...))
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.Name == "" {
		switch {
		case insecure:
			c.Name = "session"
		case c.Domain == "" && c.Path == "/":
			c.Name = "__Host-session"
		default:
			c.Name = "__Secure-session"
		}
	}
	if c.SameSite == 0 {
		c.SameSite = http.SameSiteLaxMode
		if c.Partitioned {
			c.SameSite = http.SameSiteNoneMode
		}
	}
	// Go prints a cookie that breaks the rules of its prefix; a browser drops it (RFC 6265bis, section 4.1.3; it
	// compares without regard to case).
	switch name := strings.ToLower(c.Name); {
	case strings.HasPrefix(name, "__host-"):
		if insecure {
			problem("Name %q needs https; leave it empty with InsecureHTTP", c.Name)
		}
		if c.Domain != "" || c.Path != "/" {
			problem("Name %q allows no Domain and no Path but \"/\"; use the prefix __Secure-", c.Name)
		}
	case strings.HasPrefix(name, "__secure-"), strings.HasPrefix(name, "__http-"):
		if insecure {
			problem("Name %q needs https; leave it empty with InsecureHTTP", c.Name)
		}
	}
	if !isToken(c.Name) || len(c.Name) > 256 {
		problem("Name is not a cookie's name: 1 to 256 letters, digits and !#$%%&'*+-.^_`|~")
	}
	if len(c.Domain) > maxAttribute || strings.ContainsFunc(c.Domain, notInAttribute) ||
		strings.ContainsAny(c.Domain, ":/ *") {
		problem("Domain is not a host's name of at most %d bytes, without a scheme, port or path", maxAttribute)
	} else if c.Domain != "" && (&http.Cookie{Name: "x", Domain: c.Domain}).Valid() != nil {
		problem("Domain %q is not a valid domain", c.Domain)
	} else if err := checkDomain(c.Domain); err != nil {
		problem("Domain %q %w", c.Domain, err)
	}
	if !strings.HasPrefix(c.Path, "/") || len(c.Path) > maxAttribute || strings.ContainsFunc(c.Path, notInAttribute) {
		problem("Path does not begin with \"/\", is longer than %d bytes, or holds a character that a cookie can't",
			maxAttribute)
	}
	switch c.SameSite {
	case http.SameSiteLaxMode, http.SameSiteStrictMode:
	case http.SameSiteNoneMode:
		if insecure {
			problem("SameSite None (or Partitioned) needs https, browsers refuse it with InsecureHTTP")
		}
	default:
		problem("SameSite %d is none of Lax, Strict and None; leave it zero for Lax", c.SameSite)
	}
	if c.Partitioned && insecure && c.SameSite != http.SameSiteNoneMode {
		problem("Partitioned needs https, browsers refuse it with InsecureHTTP")
	}
	return problems
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func notInAttribute(r rune) bool { return r < ' ' || r > '~' || r == ';' }

// httpCookie is the template for setting and deleting: a browser deletes a cookie only if the attributes are the same.
func (m *Manager) httpCookie(value string) *http.Cookie {
	c := &m.config.Cookie
	return &http.Cookie{
		Name:        c.Name,
		Value:       value,
		Path:        c.Path,
		Domain:      c.Domain,
		Secure:      !m.config.InsecureHTTP,
		HttpOnly:    true,
		SameSite:    c.SameSite,
		Partitioned: c.Partitioned,
	}
}

func (m *Manager) setCookie(value string, maxAge time.Duration) *http.Cookie {
	c := m.httpCookie(value)
	if maxAge > 0 {
		c.MaxAge = int((min(maxAge, maxMaxAge) + time.Second - 1) / time.Second)
	}
	return c
}

// line returns the Set-Cookie line for a change. net/http looks three times at each byte of a value, and the value is
// long if it is the whole session: so a value without special characters is put between name and attributes here.
func (m *Manager) line(c *cookieChange) string {
	if c.persistent || c.value == "" || document.Plain([]byte(c.value)) < len(c.value) {
		return m.cookie(c).String()
	}
	for _, special := range []byte(" ,;\x7f") {
		if strings.IndexByte(c.value, special) >= 0 {
			return m.cookie(c).String()
		}
	}
	return m.config.Cookie.Name + "=" + c.value + m.attributes
}

func (m *Manager) deleteCookie() *http.Cookie {
	c := m.httpCookie("")
	c.MaxAge = -1
	c.Expires = time.Unix(0, 0)
	return c
}

// credentials appends to found the values of the request's cookies of our name, or its bearer token; at most maxVerify.
//
// The cookie header is read here and not by net/http, which gives up on a request with more than 3000 cookies and
// copies each of them. Only the exact name counts: browsers' prefixes are case-sensitive on the way back.
func (m *Manager) credentials(r *http.Request, found []string) []string {
	if m.config.BearerToken {
		return bearer(r, found)
	}
	name := m.config.Cookie.Name
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			pair = textproto.TrimString(pair)
			if len(pair) <= len(name) || pair[len(name)] != '=' || pair[:len(name)] != name {
				continue
			}
			value := pair[len(name)+1:]
			if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			if value == "" {
				continue
			}
			if found = append(found, value); len(found) == maxVerify {
				return found
			}
		}
	}
	return found
}

// bearer appends the request's bearer token to found (RFC 6750, section 2.1). Two Authorization headers are ambiguous,
// so neither counts.
func bearer(r *http.Request, found []string) []string {
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return found
	}
	scheme, token, ok := strings.Cut(lines[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return found
	}
	// fasthttp uses a header's memory again; it copies cookies
	return append(found, strings.Clone(textproto.TrimString(token)))
}
