package browser

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/hipflask/session"
	"github.com/hipflask/session/dbsc"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// As short as the browser's cookies, which count in seconds, can tell.
const (
	boundLife = 2 * time.Second
	boundSkew = time.Second
)

// boundSite is an application with device bound sessions, over HTTPS.
type boundSite struct {
	t        *testing.T
	sessions *session.Manager
	store    *sessiontest.FailStore
	base     string // its address, with the name localhost
	pin      string // of its certificate

	mu        sync.Mutex
	changed   chan struct{} // closed and made anew with each event
	events    map[string]int
	protocols map[string]int
	id        string // the last one of a device bound session that the browser sent

	hold atomic.Pointer[chan struct{}] // the next refresh with a proof waits for it
}

// over says how the browser reaches the site.
type over string

const (
	http1  over = "HTTP/1.1"
	http2  over = "HTTP/2.0"
	aProxy over = "a proxy" // that ends TLS; HTTP/1.1 on both sides
)

func newBoundSite(t *testing.T, how over, change ...func(*dbsc.Options)) *boundSite {
	t.Helper()
	x := &boundSite{t: t, changed: make(chan struct{}), events: map[string]int{}, protocols: map[string]int{}}
	x.store = &sessiontest.FailStore{Store: memstore.New(nil)}
	var err error
	x.sessions, err = session.New(session.Config{
		SecretKey: session.NewSecretKey(), Store: x.store, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.sessions.Close() })
	options := dbsc.Options{Life: boundLife, Skew: boundSkew, OnEvent: func(_ context.Context, e dbsc.Event) {
		x.note("server " + strings.TrimSpace(string(e.Kind)+" "+string(e.Reason)))
	}}
	for _, f := range change {
		f(&options)
	}
	device, err := dbsc.New(x.sessions, options)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	page := func(pattern, text string, do func(w http.ResponseWriter, r *http.Request, s *session.Session)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			if do(w, r, session.From(r)); text != "" {
				io.WriteString(w, text)
			}
		})
	}
	mux.Handle("/dbsc/", device)
	page("GET /login", `<form method="post"><button class="main">Log in</button></form>`,
		func(http.ResponseWriter, *http.Request, *session.Session) {})
	page("POST /login", "", func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		s.Login("ann")
		http.Redirect(w, r, "/me", http.StatusSeeOther)
	})
	page("GET /me", "", func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
		fmt.Fprintf(w, "<h1>I am %s</h1>", cmp.Or(s.Principal(), "nobody"))
	})
	mux.HandleFunc("GET /sign", func(w http.ResponseWriter, r *http.Request) {
		// A registration for nothing: it makes the browser sign.
		w.Header().Set("Secure-Session-Registration", `(ES256);path="/nowhere";challenge="`+rand.Text()+`"`)
	})
	page("GET /owned", "", func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
		_, owned := s.Get("owned")
		fmt.Fprintf(w, "<h1>%v</h1>", owned)
	})
	page("POST /set", "done", func(_ http.ResponseWriter, _ *http.Request, s *session.Session) { s.Set("owned", true) })
	page("POST /elevate", "done", func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
		s.Elevate(session.Auth{Level: 2, Until: time.Now().Add(time.Hour)})
	})
	page("POST /logout", "done", func(_ http.ResponseWriter, _ *http.Request, s *session.Session) { s.Logout() })
	app := x.sessions.Handler(device.Middleware(mux))

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.mu.Lock()
		x.protocols[r.Proto]++
		if id := r.Header.Get("Sec-Secure-Session-Id"); id != "" {
			x.id = id
		}
		x.mu.Unlock()
		if r.Header.Get("Secure-Session-Response") != "" && strings.HasSuffix(r.URL.Path, "/refresh") {
			if hold := x.hold.Swap(nil); hold != nil {
				x.note("server holds a refresh")
				<-*hold
			}
		}
		app.ServeHTTP(w, r)
	})
	front := httptest.NewUnstartedServer(handler)
	if how == aProxy {
		behind := httptest.NewServer(handler)
		t.Cleanup(behind.Close)
		target, err := url.Parse(behind.URL)
		if err != nil {
			t.Fatal(err)
		}
		front = httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		}})
	}
	certificate, pin := certificate(t)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	front.EnableHTTP2 = how == http2
	front.StartTLS()
	t.Cleanup(front.Close)
	x.base, x.pin = strings.Replace(front.URL, "127.0.0.1", "localhost", 1), pin
	return x
}

// certificate makes a certificate for localhost, and the text by which Chromium is told to accept it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.StdEncoding.EncodeToString(pin[:])
}

// note counts an event.
func (x *boundSite) note(event string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.events[event]++
	close(x.changed)
	x.changed = make(chan struct{})
}

// await waits until the counts of events are as ok wants them.
func (x *boundSite) await(what string, ok func(counts map[string]int) bool) {
	x.t.Helper()
	deadline := time.After(patience)
	for {
		x.mu.Lock()
		counts, changed := maps.Clone(x.events), x.changed
		x.mu.Unlock()
		if ok(counts) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			x.t.Fatalf("%s: never happened; got events %v", what, counts)
		}
	}
}

// once waits for the first event of a name.
func (x *boundSite) once(event string) {
	x.t.Helper()
	x.await(event, func(counts map[string]int) bool { return counts[event] > 0 })
}

// browser opens a browser that keeps its keys in software, and notes what the DevTools protocol tells of them.
func (x *boundSite) browser(quota bool) tab {
	x.t.Helper()
	features := "EnableBoundSessionCredentialsSoftwareKeysForManualTesting,DeviceBoundSessions"
	if !quota {
		features += ":RefreshQuota/false"
	}
	b, _ := open(x.t, x.base, x.t.TempDir(),
		chromedp.Flag("enable-features", features), chromedp.Flag("ignore-certificate-errors-spki-list", x.pin))
	go chromedp.Listen(b.ctx, func(event any) {
		e, ok := event.(*network.EventDeviceBoundSessionEventOccurred)
		switch {
		case !ok:
		case e.CreationEventDetails != nil:
			x.note(fmt.Sprintf("browser created %v", e.CreationEventDetails.FetchResult))
		case e.RefreshEventDetails != nil:
			x.note(fmt.Sprintf("browser refresh %v", e.RefreshEventDetails.RefreshResult))
		case e.TerminationEventDetails != nil:
			x.note(fmt.Sprintf("browser ended %v", e.TerminationEventDetails.DeletionReason))
		}
	})
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, network.EnableDeviceBoundSessions,
			network.EnableDeviceBoundSessionsParams{Enable: true})
		return err
	}))
	return b
}

func (b tab) loginBound() {
	b.Helper()
	b.visit("/login")
	b.loaded(chromedp.Click(chromedp.CSS("button.main")))
	b.wantHeading("I am ann")
}

// fetchMe fetches the page from within the current one, n times at once, and returns what a person would read.
func (b tab) fetchMe(n int) []string {
	b.Helper()
	return get(b, chromedp.Evaluate[[]string](fmt.Sprintf(`Promise.all(Array.from({length: %d},
		() => fetch("/me", {cache: "no-store"}).then(r => r.text()).then(t => t.replace(/<[^>]*>/g, ""))))`, n),
		chromedp.EvalAwaitPromise))
}

// stays fetches pages in both tabs until then, and wants all of them to be ann's.
func stays(until time.Time, tabs ...tab) {
	for {
		for _, b := range tabs {
			b.Helper()
			if got := b.fetchMe(3); !slices.Equal(got, []string{"I am ann", "I am ann", "I am ann"}) {
				b.Errorf("the browser itself: got %q, want ann's pages", got)
			}
		}
		left := time.Until(until)
		if left <= 0 {
			return
		}
		<-time.After(min(boundLife/5, left))
	}
}

// thief is somebody with a copy of the browser's cookies.
type thief struct {
	*testing.T
	base   string
	jar    []*network.Cookie
	client http.Client
}

func steal(b tab) thief {
	return thief{b.T, b.base, b.cookies(), http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test's own certificate
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, strings.Replace(addr, "localhost", "127.0.0.1", 1))
		},
	}}}
}

func (c thief) send(method, path string, header ...string) (status int, text string) {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), method, c.base+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	for _, cookie := range c.jar {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	res, err := c.client.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	if set := res.Header.Get("Set-Cookie"); set != "" {
		c.Errorf("%s %s: the thief got the cookie %.20s", method, path, set)
	}
	return res.StatusCode, string(data)
}

// TestBound is the life of a device bound session in a browser with two tabs, and of a copy of its cookies.
func TestBound(t *testing.T) {
	t.Parallel()
	for _, how := range []over{http2, aProxy} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			x := newBoundSite(t, how)
			b := x.browser(false)
			b.loginBound()
			x.once("browser created Success")
			x.once("server bound")
			two := b.another()
			two.visit("/me")
			two.wantHeading("I am ann")

			copied := time.Now()
			c := steal(b)
			if len(c.jar) != 2 {
				t.Fatalf("got cookies %+v, want the session's and the bound one", c.jar)
			}
			if _, text := c.send("GET", "/me"); !strings.Contains(text, "ann") {
				t.Errorf("the copy at once: got %q, want it to work still", text)
			}
			stays(copied.Add(boundLife+boundSkew), b, two)
			if _, text := c.send("GET", "/me"); strings.Contains(text, "ann") {
				t.Errorf("the copy %v later: got %q, want nobody", time.Since(copied), text)
			}
			c.send("POST", "/set")
			x.mu.Lock()
			id, protocols := x.id, x.protocols
			x.mu.Unlock()
			if (how == http2) != (protocols[string(http2)] > 0) {
				t.Errorf("got requests by protocol %v, want %s", protocols, how)
			}
			if status, _ := c.send("POST", "/dbsc/refresh", "Sec-Secure-Session-Id",
				id); status != http.StatusForbidden {
				t.Errorf("the copy's refresh without a proof: got status %d, want 403", status)
			}
			if status, _ := c.send("POST", "/dbsc/refresh", "Sec-Secure-Session-Id", id, "Secure-Session-Response",
				"x.y.z"); status != http.StatusUnauthorized {
				t.Errorf("the copy's refresh with a bad proof: got status %d, want 401", status)
			}
			x.await("refused", func(counts map[string]int) bool {
				return counts["server refused expired"] == 2 && counts["server refused proof"] == 1
			})
			stays(time.Now(), b, two)
			b.visit("/owned")
			b.wantHeading("false")

			// The server ends it.
			if n, err := x.sessions.RevokeAll(t.Context(), "ann"); n != 1 || err != nil {
				t.Fatalf("RevokeAll: got %d, %v", n, err)
			}
			if got := b.fetchMe(1); got[0] != "I am nobody" {
				t.Errorf("after RevokeAll: got %q, want nobody", got)
			}
			x.once("browser ended ServerRequested")
			x.once("server ended")
			x.await("as many refreshes as the DevTools protocol tells", func(counts map[string]int) bool {
				return counts["server refreshed"] > 0 &&
					counts["server refreshed"] == counts["browser refresh Refreshed"]
			})
			// Whoever logs in again is bound again.
			b.loginBound()
			x.await("a second registration", func(counts map[string]int) bool { return counts["server bound"] == 2 })
			b.wantHeading("I am ann")
		})
	}
}

// TestBoundLink opens a page by a link of another site, after the bound cookie has expired: the user is still logged
// in.
func TestBoundLink(t *testing.T) {
	t.Parallel()
	x := newBoundSite(t, http2)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a class="main" href="%s/me">to the bank</a>`, x.base)
	}))
	defer other.Close()
	b := x.browser(false)
	b.loginBound()
	x.once("browser created Success")
	elsewhere := b
	elsewhere.base = other.URL
	elsewhere.visit("/")
	b.awaitNoBoundCookie(x)
	b.loaded(chromedp.Click(chromedp.CSS("a.main")))
	b.do(chromedp.WaitVisible(chromedp.CSS("h1")))
	b.wantHeading("I am ann")
	x.await("no refusal", func(counts map[string]int) bool { return counts["server refused missing"] == 0 })
}

// awaitNoBoundCookie waits until the browser has dropped the bound cookie, at the end of its life.
func (b tab) awaitNoBoundCookie(x *boundSite) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for {
		cookies := get(b, func(ctx context.Context, _ *chromedp.Target) ([]*network.Cookie, error) {
			r, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{x.base}})
			return r.Cookies, err
		})
		if !slices.ContainsFunc(cookies, func(c *network.Cookie) bool { return c.Name == "__Host-bound" }) {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("the bound cookie stays: %+v", cookies)
		}
		<-time.After(boundLife / 10)
	}
}

// TestBoundExample is the login example with -dbsc, in a browser that is started as it says.
func TestBoundExample(t *testing.T) {
	t.Parallel()
	base, said, _ := serveWith(t, filepath.Join(t.TempDir(), "sessions"), "", "-dbsc")
	var options []chromedp.ExecAllocatorOption
	for _, name := range []string{"enable-features", "ignore-certificate-errors-spki-list"} {
		found := regexp.MustCompile("--" + name + `=(\S+)`).FindStringSubmatch(said)
		if found == nil {
			t.Fatalf("the example doesn't say --%s: %s", name, said)
		}
		options = append(options, chromedp.Flag(name, found[1]))
	}
	b, _ := open(t, base, t.TempDir(), options...)
	b.login("ann", false)
	deadline := time.Now().Add(patience)
	b.visit("/devices")
	for !strings.Contains(b.text("body"), "bound to this device") {
		if time.Now().After(deadline) {
			t.Fatalf("the session is not bound: %s", b.text("body"))
		}
		b.loaded(chromedp.Reload())
	}
	b.visit("/")
	b.wantHeading("Logged in as ann")
	b.logout()
	b.wantHeading("You are not logged in")
}

// TestBoundOutage has the store fail when the browser refreshes: it stays logged in, and nobody has to do anything.
func TestBoundOutage(t *testing.T) {
	t.Parallel()
	x := newBoundSite(t, http1)
	b := x.browser(false)
	b.loginBound()
	x.once("browser created Success")
	x.store.Fail(errors.New("down"))
	b.awaitNoBoundCookie(x)
	if got := b.fetchMe(1); strings.Contains(got[0], "ann") {
		t.Errorf("in the outage: got %q, want an error", got)
	}
	x.once("browser refresh ServerError")
	x.store.Fail(nil)
	deadline := time.Now().Add(patience) // the browser pauses before it tries again
	for b.fetchMe(1)[0] != "I am ann" {
		if time.Now().After(deadline) {
			t.Fatal("after the outage: the browser is not ann again")
		}
		<-time.After(boundLife / 10)
	}
	x.await("no end", func(counts map[string]int) bool {
		return counts["server ended"] == 0 && counts["browser ended ServerRequested"] == 0
	})
}

// TestBoundElevate elevates the session, which retires its ID, while a refresh with that ID is in flight.
func TestBoundElevate(t *testing.T) {
	t.Parallel()
	x := newBoundSite(t, http2)
	b := x.browser(false)
	b.loginBound()
	x.once("browser created Success")
	hold := make(chan struct{})
	x.hold.Store(&hold)
	b.visit("/me") // after it the browser refreshes
	x.once("server holds a refresh")
	post := `fetch("/elevate", {method: "POST"}).then(r => r.text())`
	if got := get(b, chromedp.Evaluate[string](post, chromedp.EvalAwaitPromise)); got != "done" {
		t.Fatalf("Elevate: got %q", got)
	}
	close(hold)
	x.once("browser refresh ServerError")
	stays(time.Now().Add(boundLife+boundSkew), b)
	x.await("refreshes after it", func(counts map[string]int) bool {
		return counts["server refreshed"] > 0 && counts["server ended"] == 0 && counts["server refused missing"] == 0
	})
}

// TestBoundQuota has the browser sign more often than it allows itself: it says so, the session is not served, and
// another login helps.
func TestBoundQuota(t *testing.T) {
	t.Parallel()
	const window = 5 * time.Second
	x := newBoundSite(t, http2, func(o *dbsc.Options) { o.Window = window })
	b := x.browser(true)
	b.loginBound()
	x.once("browser created Success")
	b.visit("/me") // after it the browser refreshes, which it would do again with the same proof until Window is over
	x.once("browser refresh Refreshed")
	signed := time.Now()
	for range 6 {
		get(b, chromedp.Evaluate[int](`fetch("/sign").then(r => r.status)`, chromedp.EvalAwaitPromise))
	}
	x.once("browser created SigningQuotaExceeded")
	<-time.After(time.Until(signed.Add(window)))
	b.awaitNoBoundCookie(x)
	b.visit("/me")
	x.once("server skipped quota_exceeded")
	b.wantHeading("I am nobody")
	b.loginBound()
}
