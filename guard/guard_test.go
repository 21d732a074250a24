package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/guard"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

const secret = "b1946ac92492d2347c6235b4d2611184a9d0e1f3c5b7089e"

// site is an application with one Manager, and a browser that has a session there.
type site struct {
	t      *testing.T
	m      *session.Manager
	cookie string
}

func newSite(t *testing.T, options ...func(*session.Config)) *site {
	return &site{t: t, m: sessiontest.New(t, func(c *session.Config) {
		c.SecretKey = secret
		c.Store = memstore.New(nil)
		for _, o := range options {
			o(c)
		}
	})}
}

// do changes the browser's session.
func (s *site) do(change func(*session.Session)) {
	s.t.Helper()
	res := s.send(httptest.NewRequest("POST", "/", nil), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		change(session.From(r))
	}))
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("got status %d", res.StatusCode)
	}
}

func (s *site) send(r *http.Request, h http.Handler) *http.Response {
	s.t.Helper()
	if s.cookie != "" {
		r.Header.Set("Cookie", s.cookie)
	}
	w := httptest.NewRecorder()
	s.m.Handler(h).ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.Name != "guard-round" {
			s.cookie = c.Name + "=" + c.Value
		}
	}
	return w.Result()
}

func request(method, target string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

var passed = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })

func TestLogin(t *testing.T) {
	s := newSite(t)
	h := guard.Login("/login?lang=en")(passed)
	for _, c := range []struct {
		what       string
		r          *http.Request
		status     int
		header     string
		wantHeader string
	}{
		{"a page", request("GET", "/account?tab=2", "Sec-Fetch-Mode", "navigate"),
			303, "Location", "/login?lang=en&next=%2Faccount%3Ftab%3D2"},
		{"its header", request("HEAD", "/account", "Sec-Fetch-Mode", "navigate"),
			303, "Location", "/login?lang=en&next=%2Faccount"},
		{"a page for an old browser", request("GET", "/account", "Accept", "text/html,*/*"), 303, "Location",
			"/login?lang=en&next=%2Faccount"},
		{"a full URL", request("GET", "https://shop.test/account", "Accept", "text/html"), 303, "Location",
			"/login?lang=en&next=%2Faccount"},
		{"a path that looks like another site", request("GET", "https://shop.test//evil.test/", "Accept", "text/html"),
			303, "Location", "/login?lang=en"},
		{"a form", request("POST", "/account", "Sec-Fetch-Mode", "navigate", "Accept", "text/html"),
			401, "Location", ""},
		{"fetch", request("GET", "/account", "Sec-Fetch-Mode", "cors", "Accept", "text/html"), 401, "Location", ""},
		{"curl", request("GET", "/account", "Accept", "*/*"), 401, "Location", ""},
		{"htmx", request("GET", "/part", "HX-Request", "true", "HX-Current-URL",
			"https://shop.test/account?tab=2"), 401,
			"HX-Redirect", "/login?lang=en&next=%2Faccount%3Ftab%3D2"},
		{"htmx with a forged page", request("GET", "/part", "HX-Request", "true",
			"HX-Current-URL", "https://shop.test//evil.test"), 401,
			"HX-Redirect", "/login?lang=en"},
	} {
		res := s.send(c.r, h)
		if res.StatusCode != c.status || res.Header.Get(c.header) != c.wantHeader {
			t.Errorf("%s: got status %d and %s %q, want %d and %q", c.what, res.StatusCode, c.header,
				res.Header.Get(c.header), c.status, c.wantHeader)
		}
		for _, name := range []string{"HX-Request", "Sec-Fetch-Mode", "Accept", "Cookie"} {
			if !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), name) {
				t.Errorf("%s: Vary %q doesn't name %s", c.what, res.Header.Values("Vary"), name)
			}
		}
		if res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached", c.what)
		}
	}
	s.do(func(s *session.Session) { s.Login("ann") })
	if res := s.send(request("GET", "/account"), h); res.StatusCode != http.StatusTeapot {
		t.Errorf("logged in: got status %d", res.StatusCode)
	}
	s.do((*session.Session).Logout)
	if res := s.send(request("GET", "/account"), h); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("logged out: got status %d", res.StatusCode)
	}
}

// The way back is the path that the browser has asked for, whatever the router has made of it.
func TestNextBehindAPrefix(t *testing.T) {
	s := newSite(t)
	mux := http.NewServeMux()
	mux.Handle("/app/", http.StripPrefix("/app", guard.Login("/login")(passed)))
	res := s.send(request("GET", "/app/account?a=b%26c", "Accept", "text/html"), mux)
	if got, want := res.Header.Get("Location"), "/login?next=%2Fapp%2Faccount%3Fa%3Db%2526c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		h := guard.Fresh(10*time.Minute, "/confirm")(passed)
		want := func(what string, status int) {
			t.Helper()
			res := s.send(request("GET", "/password", "Accept", "text/html"), h)
			if res.StatusCode != status {
				t.Errorf("%s: got status %d, want %d", what, res.StatusCode, status)
			}
			if got := res.Header.Get("Location"); status == 303 && got != "/confirm?next=%2Fpassword&why=fresh" {
				t.Errorf("%s: got %q", what, got)
			}
		}
		want("a visitor", 303)
		s.do(func(s *session.Session) { s.Login("ann") })
		want("just logged in", http.StatusTeapot)
		time.Sleep(10*time.Minute - time.Second)
		want("nearly ten minutes", http.StatusTeapot)
		time.Sleep(time.Second)
		want("ten minutes", 303)
		s.do(func(s *session.Session) { s.Elevate(session.Auth{Until: time.Now().Add(20 * time.Minute)}) })
		want("after Elevate", http.StatusTeapot)
		time.Sleep(10 * time.Minute)
		want("ten minutes after Elevate", 303)
		s.do(func(s *session.Session) { s.LoginWith("ann", session.Auth{Time: time.Now().Add(-time.Hour)}) })
		want("a login that began elsewhere", 303)
	})
}

func TestLevel(t *testing.T) {
	s := newSite(t)
	want := func(what string, statuses ...int) {
		t.Helper()
		for i, status := range statuses {
			res := s.send(request("GET", "/admin", "Accept", "text/html"), guard.Level(i+1, "/second")(passed))
			if res.StatusCode != status {
				t.Errorf("%s: level %d: got status %d, want %d", what, i+1, res.StatusCode, status)
			}
		}
	}
	want("a visitor", 303, 303, 303)
	s.do(func(s *session.Session) { s.Login("ann") })
	want("a login that says nothing", http.StatusTeapot, 303, 303)
	s.do(func(s *session.Session) { s.LoginWith("ann", session.Auth{Level: 2}) })
	want("level 2", http.StatusTeapot, http.StatusTeapot, 303)
	s.do(func(s *session.Session) { s.Elevate(session.Auth{Level: 3, Until: time.Now().Add(time.Minute)}) })
	want("elevated", http.StatusTeapot, http.StatusTeapot, http.StatusTeapot)
}

// A page for logins that sends back who is logged in doesn't send the browser in circles for ever.
func TestCircle(t *testing.T) {
	s := newSite(t)
	mux := http.NewServeMux()
	mux.Handle("/admin", guard.Level(2, "/login")(passed))
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if session.From(r).Principal() != "" {
			http.Redirect(w, r, guard.Next(r, "/"), http.StatusSeeOther)
			return
		}
		session.From(r).Login("ann")
	})
	server := httptest.NewServer(s.m.Handler(mux))
	defer server.Close()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	get := func(path string) (*http.Response, error) {
		r, _ := http.NewRequest("GET", server.URL+path, nil)
		r.Header.Set("Accept", "text/html")
		return client.Do(r)
	}
	if _, err := get("/login"); err != nil {
		t.Fatal(err)
	}
	res, err := get("/admin")
	if err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("got %v, %v, want status 403", res, err)
	}
}

// A browser that opens many pages at once is in no circle, neither before its login nor after.
func TestManyTabs(t *testing.T) {
	s := newSite(t)
	tabs := func(what string) {
		t.Helper()
		seen := ""
		for i := range 10 {
			path := fmt.Sprintf("/page%d", i)
			if what == "a visitor" {
				path = "/page"
			}
			r := request("GET", path, "Accept", "text/html")
			cookie := s.cookie
			s.cookie = strings.TrimPrefix(cookie+seen, "; ")
			res := s.send(r, guard.Level(2, "/login")(passed))
			s.cookie = cookie
			if res.StatusCode != http.StatusSeeOther {
				t.Errorf("%s, tab %d: got status %d", what, i, res.StatusCode)
			}
			for _, c := range res.Cookies() {
				seen = "; " + c.Name + "=" + c.Value
			}
		}
	}
	tabs("a visitor")
	s.do(func(s *session.Session) { s.Login("ann") })
	tabs("a user")
}

// brokenStore fails every load.
type brokenStore struct{ store.Store }

func (brokenStore) Load(context.Context, string) (store.Record, error) {
	return store.Record{}, errors.New("down")
}

// An outage is 503, and never a redirect: the user is logged in, and would not understand the page for logins.
func TestOutage(t *testing.T) {
	s := newSite(t)
	s.do(func(s *session.Session) { s.Login("ann") })
	broken := sessiontest.New(t, func(c *session.Config) {
		c.SecretKey, c.Store = secret, brokenStore{memstore.New(nil)}
	})
	s.m = broken
	for what, g := range map[string]func(http.Handler) http.Handler{
		"Login": guard.Login("/login"), "Fresh": guard.Fresh(time.Minute, "/login"), "Level": guard.Level(2, "/login"),
		"SameSite": guard.SameSite, "of one Manager": guard.Guard{Manager: broken}.Login("/login"),
	} {
		res := s.send(request("GET", "/", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document",
			"Sec-Fetch-Site", "cross-site"), g(passed))
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Location") != "" ||
			res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got status %d, header %v", what, res.StatusCode, res.Header)
		}
	}
}

// Of nested Managers a Guard asks its own.
func TestGuardOfOneManager(t *testing.T) {
	outer, inner := newSite(t), newSite(t, func(c *session.Config) { c.Cookie.Name = "inner" })
	outer.do(func(s *session.Session) { s.Login("ann") })
	for what, c := range map[string]struct {
		g    guard.Guard
		want int
	}{"innermost": {guard.Guard{}, 401}, "inner": {guard.Guard{Manager: inner.m}, 401},
		"outer": {guard.Guard{Manager: outer.m}, 418}} {
		for name, middleware := range map[string]func(http.Handler) http.Handler{
			"Login": c.g.Login("/login"), "Fresh": c.g.Fresh(time.Hour, "/login"), "Level": c.g.Level(1, "/login"),
		} {
			if res := outer.send(request("GET", "/"), inner.m.Handler(middleware(passed))); res.StatusCode != c.want {
				t.Errorf("%s, %s: got status %d, want %d", what, name, res.StatusCode, c.want)
			}
		}
	}
}

func TestSameSite(t *testing.T) {
	s := newSite(t)
	h := guard.SameSite(passed)
	link := func() *http.Request {
		return request("GET", "/account?tab=2&q=%22", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode",
			"navigate", "Sec-Fetch-Dest", "document")
	}
	res := s.send(link(), h)
	body := make([]byte, 1000)
	n, _ := res.Body.Read(body)
	if page := string(body[:n]); res.StatusCode != 200 ||
		!strings.Contains(page, `content="0;url=/account?tab=2&amp;q=%22"`) {
		t.Errorf("a link without a session: got status %d, %s", res.StatusCode, page)
	}
	if res.Header.Get("Cache-Control") != "no-store" ||
		!strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Sec-Fetch-Site") {
		t.Errorf("got header %v", res.Header)
	}
	for what, r := range map[string]*http.Request{
		"no Fetch Metadata": request("GET", "/"), "POST": request("POST", "/", "Sec-Fetch-Site", "cross-site"),
		"the page that has loaded itself": request("GET", "/", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode",
			"navigate", "Sec-Fetch-Dest", "document"),
		"an image": request("GET", "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors",
			"Sec-Fetch-Dest", "image"),
		"an iframe": request("GET", "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate",
			"Sec-Fetch-Dest", "iframe"),
	} {
		if res := s.send(r, h); res.StatusCode != http.StatusTeapot {
			t.Errorf("%s: got status %d", what, res.StatusCode)
		}
	}
	s.do(func(s *session.Session) { s.Login("ann") })
	if res := s.send(link(), h); res.StatusCode != http.StatusTeapot {
		t.Errorf("a link with a session: got status %d", res.StatusCode)
	}
}

func TestNext(t *testing.T) {
	for next, want := range map[string]bool{
		"/": true, "/account": true, "/account?tab=2#top": true, "/a%2Fb": true, "/a?u=https://evil.test": true,
		"/a?b=\\": true, "/ä": true,
		"/" + strings.Repeat("a", 2047): true, "/" + strings.Repeat("a", 2048): false,
		"": false, "account": false, "//evil.test": false, "///evil.test": false, "/\\evil.test": false,
		"\\\\evil.test": false, "\\/evil.test": false,
		"https:": false, "https:evil.test": false, "https://evil.test": false, "javascript:alert(1)": false,
		"data:text/html,x": false,
		"/\t/evil.test":    false, "/\n/evil.test": false, "/\r/evil.test": false, " //evil.test": false,
		"\t//evil.test": false, "/\x00/evil.test": false,
		"/%2Fevil.test": false, "/%2f%2fevil.test": false, "/%5Cevil.test": false, "/%09/evil.test": false,
		"/%0a/evil.test": false, "/%": false,
		"/a\\b": false, "?next=/": false, "#top": false, "/\xff": false, "/a b": false, "/\x7f": false,
	} {
		r := request("GET", "/login?next="+url.QueryEscape(next))
		form := request("POST", "/login")
		form.PostForm = url.Values{"next": {next}}
		for where, r := range map[string]*http.Request{"query": r, "form": form} {
			got := guard.Next(r, "/fallback")
			if want && got != next || !want && got != "/fallback" {
				t.Errorf("%q in the %s: got %q", next, where, got)
			}
		}
	}
}

func TestWhy(t *testing.T) {
	for query, want := range map[string]string{"": "", "why=fresh": "fresh", "why=level": "level", "why=else": ""} {
		if got := guard.Why(request("GET", "/login?"+query)); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

// Wrong arguments are found when the program starts.
func TestWrongArguments(t *testing.T) {
	for what, f := range map[string]func(){
		"maxAge 0": func() { guard.Fresh(0, "/") }, "negative maxAge": func() { guard.Fresh(-1, "/") },
		"level 0": func() { guard.Level(0, "/") }, "level 4": func() { guard.Level(4, "/") },
		"no page": func() { guard.Login("") }, "no URL": func() { guard.Login("/%") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic", what)
				}
			}()
			f()
		}()
	}
}
