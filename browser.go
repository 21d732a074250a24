package session

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// This file is about what browsers do with our cookie: when they withhold it, and when they drop it.

// withholds reports whether the browser kept our cookie back, if it has one, because another site caused the request.
// With SameSite=Lax only the navigation of a whole page by a safe method carries the cookie (RFC 6265bis, section
// 5.6.7.1). With Strict such a navigation carries none either: see guard.SameSite. But it looks like a first visit by a
// link, which needs a session. Clients that don't say where a request comes from are trusted (W3C Fetch Metadata).
func (m *Manager) withholds(r *http.Request) bool {
	if !m.isCrossSite(r) {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	return true
}

// isCrossSite reports whether another site caused the request, and the cookie has a SameSite that this matters for.
func (m *Manager) isCrossSite(r *http.Request) bool {
	return !m.config.BearerToken && m.config.Cookie.SameSite != http.SameSiteNoneMode &&
		r.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// mayAdopt reports whether the old system's session may begin one of ours. A Strict cookie may have been withheld from
// a link too; what guard.SameSite loads next comes from this site.
func (m *Manager) mayAdopt(r *http.Request) bool {
	return m.config.Adopt != nil && !(m.config.Cookie.SameSite == http.SameSiteStrictMode && m.isCrossSite(r))
}

// said is what the log says once.
type said struct{ plainHTTP, insecure, domain sync.Once }

// warnOfBrowser logs, each once, why a browser may drop the cookie that the response to r sets, or why it doesn't
// protect it. The cookie is sent in any case: a proxy may have changed what r says. The proxy's headers are used for
// these warnings only.
func (m *Manager) warnOfBrowser(r *http.Request) {
	c, scheme := &m.config, schemeOf(r)
	if c.InsecureHTTP && scheme == "https" {
		m.said.insecure.Do(func() {
			m.log.out().Warn("session: Config.InsecureHTTP is set, but browsers come by https: the cookie " +
				"has no Secure, so a browser sends it over plain http as well. Remove InsecureHTTP; " +
				"a proxy that ends TLS doesn't need it")
		})
	}
	if !c.InsecureHTTP && scheme == "http" && !isLoopback(r.Host) {
		m.said.plainHTTP.Do(func() {
			m.log.out().Warn("session: a Secure cookie was sent over what looks like plain http; a browser " +
				"drops it and forgets the login. Serve https, or let the proxy in front set X-Forwarded-Proto; " +
				"for development set Config.InsecureHTTP")
		})
	}
	if c.Cookie.Domain != "" && !covers(c.Cookie.Domain, r.Host) &&
		!covers(c.Cookie.Domain, forwarded(r, "X-Forwarded-Host", "host")) {
		m.said.domain.Do(func() {
			m.log.out().Warn("session: a cookie was sent for another host than Cookie.Domain covers; "+
				"a browser drops it and forgets the login. Set Domain to this host, or to a domain above "+
				"it, or leave it empty; or let the proxy in front pass on the host",
				"domain", c.Cookie.Domain, "host", r.Host)
		})
	}
}

// schemeOf returns by which scheme the browser's request came: https, http, or "" if only a proxy knows.
func schemeOf(r *http.Request) string {
	switch proto := forwarded(r, "X-Forwarded-Proto", "proto"); {
	case r.TLS != nil:
		return "https"
	case proto != "":
		return strings.ToLower(proto)
	case r.Header["Forwarded"] != nil || r.Header["X-Forwarded-Proto"] != nil:
		return ""
	}
	return "http"
}

// forwarded returns what the outermost proxy says of the browser's request in a header of its own, or else in a
// parameter of Forwarded (RFC 7239, section 4); "" if it says nothing.
func forwarded(r *http.Request, header, parameter string) string {
	if first, _, _ := strings.Cut(r.Header.Get(header), ","); first != "" {
		return strings.TrimSpace(first)
	}
	first, _, _ := strings.Cut(r.Header.Get("Forwarded"), ",")
	for pair := range strings.SplitSeq(first, ";") {
		if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, parameter) {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// covers reports whether a browser takes a cookie with this Domain from host (RFC 6265, section 5.1.3). A domain
// without a dot, such as localhost, covers only itself.
func covers(domain, host string) bool {
	domain, host = strings.ToLower(strings.TrimPrefix(domain, ".")), strings.ToLower(hostname(host))
	if host == domain {
		return true
	}
	return strings.Contains(domain, ".") && strings.HasSuffix(host, "."+domain) && net.ParseIP(host) == nil
}

var (
	errTrailingDot = errors.New("ends with a dot; browsers drop such a cookie. Remove the dot")
	errSuffix      = errors.New("is a public suffix, under which anybody can have a domain; browsers " +
		"drop such a cookie. Write your own domain, or leave it empty")
)

// checkDomain returns why browsers drop every cookie with that Domain; nil if they don't.
func checkDomain(domain string) error {
	name := strings.ToLower(strings.TrimPrefix(domain, "."))
	suffix, known := publicsuffix.PublicSuffix(strings.TrimSuffix(name, "."))
	switch {
	case net.ParseIP(name) != nil:
	case suffix == strings.TrimSuffix(name, ".") && (known || strings.Contains(suffix, ".")):
		return errSuffix
	case strings.HasSuffix(name, "."):
		return errTrailingDot
	}
	return nil
}

func isLoopback(host string) bool {
	host = hostname(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// hostname returns host without a port.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// hints says, for reasons that alone say little, what to look at.
func hints(c *Config) map[Reason]error {
	what, other := fmt.Sprintf("the cookie %q", c.Cookie.Name),
		"another application on this host, on any port, has a cookie of this name "+
			"(give each a Cookie.Name of its own)"
	if c.BearerToken {
		what, other = "the bearer token", "it is for another application"
	}
	h := map[Reason]error{
		ReasonSignature: fmt.Errorf("session: %s is signed with none of our keys: another server has "+
			"another SecretKey (put a new key into SecretKeyFallbacks everywhere before it becomes SecretKey), "+
			"or %s, or it is forged", what, other),
	}
	if !c.BearerToken {
		h[ReasonSeveral] = fmt.Errorf("session: %s was sent several times, with different live sessions: "+
			"look in the browser for cookies of this name with another Domain or Path, from an earlier "+
			"configuration or from a neighbouring host. The response deletes those that this configuration "+
			"could have set", what)
	}
	return h
}
