package browser

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/hipflask/session"
	"github.com/hipflask/session/guard"
	"github.com/hipflask/session/store/memstore"
)

// driver is a browser that a person types addresses into. Whatever else happens is the pages' doing.
type driver interface{ address(url string) }

func (b tab) address(url string) {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: url})
		return err
	}))
}

// drivers are the browsers in which the tests run.
var drivers = map[string]func(*testing.T) driver{
	"Chromium": func(t *testing.T) driver {
		b, _ := open(t, "", t.TempDir(), chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"))
		b.visit("about:blank")
		return b
	},
	"Firefox": func(t *testing.T) driver { return startFirefox(t, localNames("shop.test", "pay.test")) },
}

// street is a shop and another site, which a browser takes for two sites: their hosts differ. Over plain http a browser
// says where a request comes from (W3C Fetch Metadata) if the host is this machine by its own name.
type street struct {
	*testing.T
	driver
	port      string
	shop, pay string // the hosts
	sessions  *session.Manager
	store     *memstore.Store
	mu        sync.Mutex
	visits    int
	loaded    map[string]chan string // pages that are waited for, by their number
	adoptions int
	guarded   bool   // by guard.SameSite
	drops     int    // for cross-site
	said      string // by events
}

// build opens a street of shops whose cookies have that SameSite. The driver is for one street after the other.
func build(t *testing.T, d driver, sameSite http.SameSite, shop, pay string, options ...func(*session.Config)) *street {
	t.Helper()
	s := &street{T: t, driver: d, shop: shop, pay: pay, store: memstore.New(nil), loaded: map[string]chan string{}}
	config := session.Config{
		SecretKey: session.NewSecretKey(), Store: s.store, InsecureHTTP: true, Logger: slog.New(slog.DiscardHandler),
		Cookie: session.Cookie{SameSite: sameSite, Name: fmt.Sprintf("session%d", sameSite)},
		Adopt: func(r *http.Request, to *session.Session) error {
			if old, err := r.Cookie("old"); err == nil {
				s.mu.Lock()
				s.adoptions++
				s.mu.Unlock()
				to.Login(old.Value)
			}
			return nil
		},
		OnEvent: func(_ context.Context, e session.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if e.Kind == session.EventDropped && e.Reason == session.ReasonCrossSite {
				s.drops++
			}
			if e.Err != nil {
				s.said += e.Err.Error()
			}
		},
	}
	for _, o := range options {
		o(&config)
	}
	var err error
	s.sessions, err = session.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.sessions.Close() })
	mux := http.NewServeMux()
	mux.HandleFunc("/loaded", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c := s.loaded[r.FormValue("n")]; c != nil {
			c <- r.FormValue("saw")
			delete(s.loaded, r.FormValue("n"))
		}
	})
	mux.HandleFunc("/old", func(w http.ResponseWriter, r *http.Request) { // the system before: it knew of no SameSite
		w.Header().Add("Set-Cookie", "old="+r.FormValue("name")+"; Path=/")
		s.page(w, r, "")
	})
	mux.HandleFunc("/forget", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range r.Cookies() {
			w.Header().Add("Set-Cookie", c.Name+"=; Path=/; Max-Age=0")
		}
		s.page(w, r, "")
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/return?n="+r.FormValue("n"), http.StatusSeeOther)
	})
	for path, handle := range map[string]func(*http.Request, *session.Session) string{
		"/login": func(r *http.Request, u *session.Session) string {
			u.Login(r.FormValue("name"))
			return u.Principal()
		},
		"/return": func(r *http.Request, u *session.Session) string { u.Flash("paid"); return u.Principal() },
		"/account": func(r *http.Request, u *session.Session) string {
			return u.Principal() + strings.Repeat(", paid", len(u.Flashes()))
		},
	} {
		mux.Handle(path, s.handler(func(w http.ResponseWriter, r *http.Request) {
			s.page(w, r, handle(r, session.From(r)))
		}))
	}
	// A form with a token that its session holds: it sends itself.
	const token = session.Key[string]("token")
	mux.Handle("/form", s.handler(func(w http.ResponseWriter, r *http.Request) {
		u := session.From(r)
		switch {
		case r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "text/html")
			text := session.NewSecretKey()
			token.Set(u, text)
			fmt.Fprintf(w,
				`<form method="post"><input name="token" value="%s"><input name="n" value="%s"></form>`+
					`<script>document.forms[0].submit()</script>`, text, r.FormValue("n"))
			return
		case r.FormValue("token") != token.Or(u, "none"):
			s.page(w, r, "wrong token")
			return
		}
		u.Login("new")
		s.page(w, r, u.Principal())
	}))
	// The other site sends the browser to the shop, by each way that there is.
	for path, body := range map[string]string{
		"/by-post": `<form method="post" action="%s"></form>` +
			`<script>onload = () => setTimeout(() => document.forms[0].submit())</script>`,
		"/by-link": `<a href="%s">to the shop</a>` +
			`<script>onload = () => setTimeout(() => document.links[0].click())</script>`,
		"/by-frame": `<iframe src="%s"></iframe>`,
		"/by-fetch": `<script>fetch("%s", {mode: "no-cors", credentials: "include"})` +
			`.finally(() => fetch("/loaded?n=%s"))</script>`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			to := "http://" + s.shop + ":" + s.port + r.FormValue("to") + "?name=" + r.FormValue("name") +
				"&n=" + r.FormValue("n")
			fmt.Fprint(w, strings.Replace(strings.Replace(body, "%s", to, 1), "%s", r.FormValue("n"), 1))
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	_, s.port, _ = strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	return s
}

// handler is what a shop has around its handlers.
func (s *street) handler(h http.HandlerFunc) http.Handler {
	guarded := guard.SameSite(h)
	return s.sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.guarded {
			guarded.ServeHTTP(w, r)
			return
		}
		h(w, r)
	}))
}

// page says when the browser has it, with its cookies.
func (s *street) page(w http.ResponseWriter, r *http.Request, saw string) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<script>fetch("/loaded?n=%s&saw=%s")</script>`, r.FormValue("n"), strings.ReplaceAll(saw, " ", "+"))
}

// goes types an address, waits until the shop's page is there, and returns what that shows.
func (s *street) goes(host, path string) string {
	s.Helper()
	s.mu.Lock()
	s.visits++
	n, c := fmt.Sprint(s.visits), make(chan string, 1)
	s.loaded[n] = c
	s.mu.Unlock()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	s.address("http://" + host + ":" + s.port + path + separator + "n=" + n)
	select {
	case saw := <-c:
		return saw
	case <-time.After(patience):
		s.Fatalf("%s: the browser doesn't load the shop's page", path)
		return ""
	}
}

func (s *street) want(what, got, want string) {
	s.Helper()
	if got != want {
		s.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (s *street) stored() (n int) {
	for range s.sessions.All(s.Context()) {
		n++
	}
	return n
}

// A login that the browser still has is not replaced, however another site sends the browser to the shop.
func TestTwoSites(t *testing.T) {
	for name, start := range drivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			for name, c := range map[string]struct {
				sameSite http.SameSite
				guarded  bool
				link     string // what is there after a link
			}{
				"Lax": {http.SameSiteLaxMode, false, "ann, paid"},
				// The browser withholds the cookie from a link too; without guard.SameSite that looks like a first
				// visit.
				"Strict":  {http.SameSiteStrictMode, false, ", paid"},
				"guarded": {http.SameSiteStrictMode, true, "ann, paid"},
			} {
				s := build(t, d, c.sameSite, "localhost", "127.0.0.1")
				s.guarded = c.guarded
				s.want(name+", login", s.goes(s.shop, "/login?name=ann"), "ann")
				for _, way := range []string{"post", "frame", "fetch"} {
					s.want(name+", "+way, s.goes(s.pay, "/by-"+way+"?to=/return"), "")
					s.want(name+", after "+way, s.goes(s.shop, "/account"), "ann")
				}
				if n := s.stored(); n != 1 || s.drops != 3 {
					t.Errorf("%s: got %d sessions and %d drops, want ann's alone, and 3", name, n, s.drops)
				}

				// A redirect is a GET, which carries the Lax cookie: what docs/troubleshooting.md recommends.
				if c.sameSite == http.SameSiteLaxMode {
					s.want(name+", post and redirect", s.goes(s.pay, "/by-post?to=/redirect"), "ann")
					s.want(name+", after it", s.goes(s.shop, "/account"), "ann, paid")
				}

				// SAML and OpenID Connect: a login by POST.
				s.want(name+", login by a post", s.goes(s.pay, "/by-post?to=/login&name=ben"), "ben")
				s.want(name+", after it", s.goes(s.shop, "/account"), "ben")

				s.goes(s.shop, "/login?name=ann")
				s.goes(s.pay, "/by-link?to=/return")
				s.want(name+", after a link", s.goes(s.shop, "/account"), c.link)

				// A first visit, by a link to a form with a token.
				s.goes(s.shop, "/forget")
				s.want(name+", first visit by a link", s.goes(s.pay, "/by-link?to=/form"), "new")
				s.want(name+", after it", s.goes(s.shop, "/account"), "new")

				// The cookie of the system before comes along; ours is kept back. Nothing is adopted then, and later it
				// is.
				s.goes(s.shop, "/login?name=ann")
				s.goes(s.shop, "/old?name=old-ben")
				s.goes(s.pay, "/by-post?to=/return")
				if c.guarded {
					s.want("a link with the old cookie, guarded", s.goes(s.pay, "/by-link?to=/return"), "ann")
				}
				s.want(name+", after a post with the old cookie",
					strings.TrimSuffix(s.goes(s.shop, "/account"), ", paid"), "ann")
				if s.adoptions != 0 {
					t.Errorf("%s: got %d adoptions, want none", name, s.adoptions)
				}
				s.goes(s.shop, "/forget")
				s.goes(s.shop, "/old?name=old-ben")
				s.want(name+", the old cookie alone", s.goes(s.shop, "/account"), "old-ben")
				s.goes(s.shop, "/forget")
			}

			// Over plain http a browser doesn't tell where a request comes from: then it is as it was.
			s := build(t, d, http.SameSiteLaxMode, "shop.test", "pay.test")
			s.want("plain http, login", s.goes(s.shop, "/login?name=ann"), "ann")
			s.want("plain http, post", s.goes(s.pay, "/by-post?to=/return"), "")
			s.want("plain http, after it", s.goes(s.shop, "/account"), ", paid")

			twoPorts(t, d)
			otherDomain(t, d)
		})
	}
}

// Two applications on one host share their cookies, whatever their ports: with one name each logs the other's users
// out, and the event says where to look.
func twoPorts(t *testing.T, d driver) {
	one, two := build(t, d, http.SameSiteLaxMode, "localhost", ""), build(t, d, http.SameSiteLaxMode, "localhost", "")
	named := build(t, d, http.SameSiteLaxMode, "localhost", "", func(c *session.Config) { c.Cookie.Name = "named" })
	one.goes(one.shop, "/login?name=ann")
	named.goes(named.shop, "/login?name=ben")
	one.want("after a visit of an application with a name of its own", one.goes(one.shop, "/account"), "ann")
	two.goes(two.shop, "/return")
	one.want("after a visit of an application with the same name", one.goes(one.shop, "/account"), "")
	if !strings.Contains(two.said, "on any port") || !strings.Contains(two.said, "Cookie.Name") {
		t.Errorf("got %q, want events that name ports and Cookie.Name", two.said)
	}
	one.goes(one.shop, "/forget")
}

// A browser drops a cookie whose Domain doesn't cover the host, and says nothing. The log does.
func otherDomain(t *testing.T, d driver) {
	var log bytes.Buffer
	s := build(t, d, http.SameSiteLaxMode, "localhost", "", func(c *session.Config) {
		c.Cookie.Domain, c.Logger = "shop.test", slog.New(slog.NewTextHandler(&log, nil))
	})
	s.goes(s.shop, "/login?name=ann")
	s.want("after a login with another Domain", s.goes(s.shop, "/account"), "")
	s.sessions.Close()
	if n := strings.Count(log.String(), "Cookie.Domain covers"); n != 1 {
		t.Errorf("got the log %q, want the reason once", log.String())
	}
}
