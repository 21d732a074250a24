package session_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// from describes where a browser's request comes from, by the headers of W3C Fetch Metadata.
type from struct{ method, site, mode, dest string }

func (f from) request(cookie string) *http.Request {
	r := httptest.NewRequest(f.method, "https://shop.example/", nil)
	for name, value := range map[string]string{"Sec-Fetch-Site": f.site, "Sec-Fetch-Mode": f.mode,
		"Sec-Fetch-Dest": f.dest, "Cookie": cookie} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r
}

var (
	crossPost   = from{"POST", "cross-site", "navigate", "document"}
	crossLink   = from{"GET", "cross-site", "navigate", "document"}
	crossFrame  = from{"GET", "cross-site", "navigate", "iframe"}
	crossFetch  = from{"GET", "cross-site", "cors", "empty"}
	crossSocket = from{"GET", "cross-site", "websocket", "empty"}
)

// A request of another site, without our cookie, begins no session: its cookie would replace one that the browser kept
// back.
func TestRequestsOfOtherSites(t *testing.T) {
	t.Parallel()
	strict := func(c *session.Config) { c.Cookie.SameSite = http.SameSiteStrictMode }
	none := func(c *session.Config) { c.Cookie.SameSite = http.SameSiteNoneMode }
	bearer := func(c *session.Config) { c.BearerToken = true }
	lax := func(*session.Config) {}
	for name, c := range map[string]struct {
		from
		option func(*session.Config)
		begins bool
	}{
		"Lax, form":             {crossPost, lax, false},
		"Lax, link":             {crossLink, lax, true},
		"Lax, HEAD of a link":   {from{"HEAD", "cross-site", "navigate", "document"}, lax, true},
		"Lax, frame":            {crossFrame, lax, false},
		"Lax, fetch":            {crossFetch, lax, false},
		"Lax, image":            {from{"GET", "cross-site", "no-cors", "image"}, lax, false},
		"Lax, WebSocket":        {crossSocket, lax, false},
		"Lax, preflight":        {from{"OPTIONS", "cross-site", "cors", "empty"}, lax, false},
		"Lax, own form":         {from{"POST", "same-origin", "navigate", "document"}, lax, true},
		"Lax, own subdomain":    {from{"POST", "same-site", "navigate", "document"}, lax, true},
		"Lax, typed":            {from{"GET", "none", "navigate", "document"}, lax, true},
		"Lax, no such headers":  {from{method: "POST"}, lax, true},
		"Strict, form":          {crossPost, strict, false},
		"Strict, link":          {crossLink, strict, true},
		"Strict, frame":         {crossFrame, strict, false},
		"None, form":            {crossPost, none, true},
		"None, frame":           {crossFrame, none, true},
		"bearer token":          {crossFetch, bearer, true},
		"encrypted, form":       {crossPost, encrypted, false},
		"encrypted, own form":   {from{"POST", "same-origin", "navigate", "document"}, encrypted, true},
		"Lax, form from a PUT":  {from{"PUT", "cross-site", "cors", "empty"}, lax, false},
		"Strict, typed address": {from{"GET", "none", "navigate", "document"}, strict, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			adopted := false
			b := newBench(t, c.option, func(c *session.Config) {
				c.Adopt = func(*http.Request, *session.Session) error {
					adopted = true
					return nil
				}
			})
			var kept *session.Session
			res := b.serve(t, c.request(""), func(w http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				kept = s
				check(t, "Err before a change", s.Err(), nil)
				s.Flash("paid")
				check(t, "messages in this request", s.Len(), 1)
				if !c.begins {
					check(t, "token", s.Token(), "")
				}
				if got := s.Err(); errors.Is(got, session.ErrCrossSite) == c.begins {
					t.Errorf("Err: got %v, want ErrCrossSite unless the session begins", got)
				}
				w.Write([]byte("paid"))
			})
			check(t, "status", res.StatusCode, http.StatusOK)
			check(t, "adopted", adopted, c.begins && name != "Strict, link") // guard.SameSite loads that again
			if c.begins {
				if want := name != "bearer token"; (len(sets(res)) == 1) != want {
					t.Errorf("got cookies %q, want a session", sets(res))
				}
				equal(t, "events", b.events.took(), []string{"created"})
				return
			}
			silent(t, "response", res)
			equal(t, "store", b.store.took(), nil)
			equal(t, "events", b.events.took(), []string{"dropped cross-site"})
			is(t, "Err after the response", kept.Err(), session.ErrCrossSite)
			check(t, "token", kept.Token(), "")
		})
	}
}

// What comes with the cookie is a session like any other, whoever caused it.
func TestOtherSitesWithCookie(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	b.serve(t, crossPost.request(cookie), func(_ http.ResponseWriter, r *http.Request) { setPlain(session.From(r)) })
	b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
		check(t, "contents", contents(session.From(r)), "ann: [color=green]")
	})

	// A cookie that gives no session was sent by somebody else: Lax would have kept ours back.
	b.events.took()
	res := b.serve(t, crossPost.request(b.name+"=forged"), func(_ http.ResponseWriter, r *http.Request) {
		setPlain(session.From(r))
	})
	silent(t, "with a cookie of somebody else", res)
	equal(t, "events", b.events.took(), []string{"rejected malformed", "dropped cross-site"})

	// Two live ones are not deleted: that would delete the third one too, which was kept back.
	res = b.serve(t, crossPost.request(cookie+"; "+b.cookie(t, setPlain)),
		func(_ http.ResponseWriter, r *http.Request) { session.From(r).Len() })
	silent(t, "with two cookies", res)
}

func TestEventOfSeveralCookies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookies := b.cookie(t, setPlain) + "; " + b.cookie(t, setPlain)
	b.get(t, cookies, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Len() })
	e := b.events.events[0]
	if e.Reason != session.ReasonSeveral || e.Err == nil ||
		!strings.Contains(e.Err.Error(), "another Domain or Path") || !strings.Contains(e.Err.Error(), b.name) {
		t.Errorf("got %v, want an error that names the cookie, Domain and Path", e)
	}
}

// SAML and OpenID Connect post the browser back: a login may always begin a session, with what the request has set.
func TestLoginFromOtherSites(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]func(*session.Config){"store": func(*session.Config) {},
		"encrypted": encrypted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, option)
			var cookie string
			res := b.serve(t, crossPost.request(""), func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				setPlain(s)
				is(t, "before the login", s.Err(), session.ErrCrossSite)
				s.Login("ann")
				check(t, "after the login", s.Err(), nil)
				s.Set("size", 40)
			})
			for _, c := range res.Cookies() {
				cookie = c.Name + "=" + c.Value
			}
			equal(t, "events", b.events.took(), []string{"login"})
			b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
				check(t, "contents", contents(session.From(r)), "ann: [color=green size=40]")
			})
		})
	}
}

func TestSaveAndLogoutFromOtherSites(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	res := b.serve(t, crossPost.request(""), func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.SetLabel("Firefox") // no session begins for a label
		check(t, "Err after a label", s.Err(), nil)
		setPlain(s)
		is(t, "Save", s.Save(t.Context()), session.ErrCrossSite)
		check(t, "Save of nothing", s.Save(t.Context()), nil)
		check(t, "values left", s.Len(), 0)
		setPlain(s)
		is(t, "Save again", s.Save(t.Context()), session.ErrCrossSite)
		s.Logout()
		check(t, "Err after Logout", s.Err(), nil)
		s.Flash("bye")
		s.Login("ann")
		check(t, "Save of a login", s.Save(t.Context()), nil)
	})
	check(t, "cookies", len(sets(res)), 1)
	equal(t, "events", b.events.took(), []string{"dropped cross-site", "login"})

	res = b.serve(t, crossPost.request(""), func(_ http.ResponseWriter, r *http.Request) { session.From(r).Logout() })
	silent(t, "Logout without the cookie", res)
}

// Cookies that browsers drop, or send unprotected, are logged once, when one is sent.
func TestCookiesThatBrowsersDrop(t *testing.T) {
	t.Parallel()
	insecure := func(c *session.Config) { c.InsecureHTTP = true }
	domain := func(name string) func(*session.Config) {
		return func(c *session.Config) { c.Cookie.Domain = name }
	}
	for name, c := range map[string]struct {
		option func(*session.Config)
		url    string
		header http.Header
		want   string // in the log; "": nothing
	}{
		"https":      {domain(""), "https://shop.example/", nil, ""},
		"plain http": {domain(""), "http://shop.example/", nil, "looks like plain http"},
		"plain http, says the proxy": {domain(""), "http://shop.example/",
			http.Header{"X-Forwarded-Proto": {"http"}}, "looks like plain http"},
		"https, says the proxy": {domain(""), "http://shop.example/",
			http.Header{"X-Forwarded-Proto": {"https"}}, ""},
		"loopback":          {domain(""), "http://localhost:8080/", nil, ""},
		"InsecureHTTP":      {insecure, "http://shop.example/", nil, ""},
		"InsecureHTTP, TLS": {insecure, "https://shop.example/", nil, "InsecureHTTP is set"},
		"InsecureHTTP, X-Forwarded-Proto": {insecure, "http://127.0.0.1:8080/",
			http.Header{"X-Forwarded-Proto": {"https"}}, "InsecureHTTP is set"},
		"InsecureHTTP, two proxies": {insecure, "http://127.0.0.1:8080/",
			http.Header{"X-Forwarded-Proto": {"HTTPS, http"}}, "InsecureHTTP is set"},
		"InsecureHTTP, Forwarded": {insecure, "http://127.0.0.1:8080/",
			http.Header{"Forwarded": {`for=192.0.2.1;Proto="https", proto=http`}}, "InsecureHTTP is set"},
		"InsecureHTTP, a proxy with http": {insecure, "http://127.0.0.1:8080/",
			http.Header{"X-Forwarded-Proto": {"http"}}, ""},
		"Domain":               {domain("shop.example"), "https://shop.example:8443/", nil, ""},
		"Domain, with a point": {domain(".shop.example"), "https://WWW.Shop.Example/", nil, ""},
		"Domain of another host": {domain("shop.example"), "https://shop.test/",
			nil, "another host than Cookie.Domain covers"},
		"Domain, host ends alike": {domain("shop.example"), "https://myshop.example/", nil,
			"another host than Cookie.Domain covers"},
		"Domain below the host": {domain("www.shop.example"), "https://shop.example/",
			nil, "another host than Cookie.Domain covers"},
		"Domain, by address": {domain("shop.example"), "https://127.0.0.1/",
			nil, "another host than Cookie.Domain covers"},
		"Domain, host with a point at the end": {domain("shop.example"), "https://shop.example./", nil,
			"another host than Cookie.Domain covers"},
		"Domain, behind a proxy": {domain("shop.example"), "https://backend:8080/",
			http.Header{"X-Forwarded-Host": {"www.shop.example"}}, ""},
		"Domain, behind another proxy": {domain("shop.example"), "https://backend/",
			http.Header{"Forwarded": {"host=shop.example;proto=https"}}, ""},
		"Domain, another site's proxy": {domain("shop.example"), "https://backend/",
			http.Header{"X-Forwarded-Host": {"shop.test"}}, "another host than Cookie.Domain covers"},
		"Domain localhost": {domain("localhost"), "https://localhost:8443/", nil, ""},
		"Domain localhost, below it": {domain("localhost"), "https://app.localhost/",
			nil, "another host than Cookie.Domain covers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			b := newBench(t, c.option, logTo(&log))
			r := httptest.NewRequest("GET", c.url, nil)
			if strings.HasPrefix(c.url, "https:") {
				r.TLS = &tls.ConnectionState{}
			}
			for name, values := range c.header {
				r.Header[name] = values
			}
			b.serve(t, r.Clone(t.Context()), func(_ http.ResponseWriter, r *http.Request) { session.From(r).Len() })
			check(t, "log of a request without a cookie", log.String(), "")
			for range 3 {
				if res := b.serve(t, r.Clone(t.Context()), func(_ http.ResponseWriter, r *http.Request) {
					setPlain(session.From(r))
				}); len(sets(res)) != 1 {
					t.Fatalf("got cookies %q, want one", sets(res))
				}
			}
			if c.want == "" {
				check(t, "log", log.String(), "")
			} else if n := strings.Count(log.String(), c.want); n != 1 || strings.Count(log.String(), "\n") != 1 {
				t.Errorf("got the log %q, want %q once", log.String(), c.want)
			}
		})
	}
}

func TestDomainsThatBrowsersRefuse(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]string{
		"com": "public suffix", "COM": "public suffix", ".com": "public suffix", "co.uk": "public suffix",
		".Co.Uk": "public suffix", "com.": "public suffix",
		"github.io": "public suffix", "foo.ck": "public suffix", "shop.example.": "ends with a dot",
		"shop.co.uk.": "ends with a dot",
		"shop.com":    "", "shop.co.uk": "", ".shop.co.uk": "", "www.ck": "", "localhost": "", "intranet": "",
		"shop.internal": "", "127.0.0.1": "", "ann.github.io": "",
	} {
		m, err := session.New(session.Config{SecretKey: secret, Store: memstore.New(nil),
			Cookie: session.Cookie{Domain: domain}})
		switch {
		case err == nil:
			m.Close()
			fallthrough
		case want == "":
			if (err == nil) != (want == "") {
				t.Errorf("%q: got %v, want %q", domain, err, want)
			}
		case !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Cookie.Domain"):
			t.Errorf("%q: got %v, want Cookie.Domain and %q", domain, err, want)
		}
	}
}

// A deployment in one step: a server that still has the old key alone meets a cookie of the new key, and what it writes
// replaces the session. The events say so. In two steps nobody is logged out.
func TestRollingDeploymentOfAKey(t *testing.T) {
	t.Parallel()
	const former, next = "former-Kd7Wn3XqT9zVb5RcJ2MyL8h", "next-Hc8Vx2KqT5nWz9RbJd4MyL7s"
	deploy := func(t *testing.T, shared *memstore.Store, events *eventLog, keys ...string) *session.Manager {
		return server(t, func(c *session.Config) {
			c.Store, c.OnEvent = shared, events.add
			c.SecretKey, c.SecretKeyFallbacks = keys[0], keys[1:]
		})
	}
	flash := func(s *session.Session) { s.Flash("hello") }
	t.Run("one step", func(t *testing.T) {
		t.Parallel()
		shared, events := memstore.New(nil), &eventLog{}
		deployed, waiting := deploy(t, shared, events, next, former), deploy(t, shared, events, former)
		ann := newVisitor(t)
		ann.do(deployed, func(s *session.Session) { s.Login("ann") })
		events.took()
		ann.do(waiting, flash)
		events.mu.Lock()
		for _, e := range events.events {
			if e.Reason != session.ReasonSignature || e.Err == nil ||
				!strings.Contains(e.Err.Error(), "SecretKeyFallbacks") ||
				!strings.Contains(e.Err.Error(), "on any port") || !strings.Contains(e.Err.Error(), "Cookie.Name") {
				t.Errorf("got %v, want the reason, and an error that names SecretKeyFallbacks, ports "+
					"and Cookie.Name", e)
			}
		}
		events.mu.Unlock()
		equal(t, "events", events.took(), []string{"rejected signature", "created signature"})
		// so it goes: she is logged out
		ann.want([]*session.Manager{deployed}, "after it", ": [_flashes=[[message hello]]]")
	})
	t.Run("two steps", func(t *testing.T) {
		t.Parallel()
		shared, events := memstore.New(nil), &eventLog{}
		three := []*session.Manager{}
		for range 3 {
			three = append(three, deploy(t, shared, events, former))
		}
		before := newVisitor(t)
		before.do(three[0], func(s *session.Session) { s.Login("ann") })
		for _, keys := range [][]string{{former, next}, {next, former}} {
			for i := range three {
				three[i] = deploy(t, shared, events, keys...)
				during := newVisitor(t)
				during.do(three[i], func(s *session.Session) { s.Login("bob") }) // signed as the newest server does
				for _, m := range three {
					before.do(m, setPlain)
					during.do(m, setPlain)
				}
				before.want(three, "from before", "ann: [color=green]")
				during.want(three, "from this step", "bob: [color=green]")
			}
		}
		if got := events.took(); count(got, "rejected signature") != 0 {
			t.Errorf("got events %q, want nothing rejected", got)
		}
	})
}
