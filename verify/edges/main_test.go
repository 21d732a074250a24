package edges

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// patience bounds what a test waits for; none waits until it is over.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter, gin.DefaultErrorWriter = io.Discard, io.Discard
	log.SetOutput(io.Discard) // recoverers and servers report the panics that these tests cause
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

const visits = session.Key[int]("visits")

var protocols = []string{"HTTP/1.1", "HTTP/2", "h2c"}

var errDown = errors.New("the test's store is down")

// setup is a Manager whose store can be made to fail, and what it reported.
type setup struct {
	*session.Manager
	t     testing.TB
	store *sessiontest.FailStore

	mu     sync.Mutex
	events []session.Event
}

func newSetup(t testing.TB) *setup {
	s := &setup{t: t, store: &sessiontest.FailStore{Store: memstore.New(nil)}}
	s.Manager = sessiontest.New(t, func(c *session.Config) {
		c.Store = s.store
		c.OnEvent = func(_ context.Context, e session.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}
	})
	return s
}

// saw reports whether there was an event of that kind.
func (s *setup) saw(kind session.EventKind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// stored returns how many sessions the store has.
func (s *setup) stored() (n int) {
	s.t.Helper()
	for _, err := range s.All(s.t.Context()) {
		if err != nil {
			s.t.Fatal(err)
		}
		n++
	}
	return n
}

// newServer serves h over one of the protocols.
func newServer(t testing.TB, protocol string, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	switch protocol {
	case "HTTP/1.1":
		srv.Start()
	case "HTTP/2":
		srv.EnableHTTP2 = true
		srv.StartTLS()
	case "h2c":
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		transport := srv.Client().Transport.(*http.Transport)
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Fatalf("no protocol %q", protocol)
	}
	t.Cleanup(srv.Close)
	return srv
}

// visitor is a browser: it keeps cookies and follows no redirects.
type visitor struct {
	t   testing.TB
	url string
	http.Client
}

func visit(t testing.TB, protocol string, h http.Handler) *visitor {
	t.Helper()
	srv := newServer(t, protocol, h)
	return &visitor{t: t, url: srv.URL, Client: newClient(t, srv)}
}

func newClient(t testing.TB, srv *httptest.Server) http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *srv.Client()
	c.Jar, c.Timeout = jar, patience
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// response is an answer that was read whole, or as far as it went.
type response struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (v *visitor) do(method, path string) response {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.send(r)
}

func (v *visitor) send(r *http.Request) response {
	v.t.Helper()
	res, err := v.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return response{res, string(body), err}
}

func (v *visitor) get(path string) response {
	v.t.Helper()
	return v.do("GET", path)
}

// want checks status and body of an answer that came whole.
func (v *visitor) want(r response, status int, body string) {
	v.t.Helper()
	if r.err != nil || r.StatusCode != status || r.body != body {
		v.t.Errorf("%s %s: got %d %q, %v, want %d %q", r.Request.Method, r.Request.URL.Path, r.StatusCode,
			r.body, r.err, status, body)
	}
}

// cookie returns the session's cookie as the browser has it, "" for none.
func (v *visitor) cookie() string {
	v.t.Helper()
	u, err := url.Parse(v.url)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range v.Jar.Cookies(u) {
		if c.Name == "session" {
			return c.Value
		}
	}
	return ""
}

// session returns the session that the browser's cookie names.
func (v *visitor) session(s *setup) *session.Session {
	v.t.Helper()
	loaded, err := s.Load(v.t.Context(), v.cookie())
	if err != nil || v.cookie() == "" {
		v.t.Fatalf("the browser's cookie names no session: %v", err)
	}
	return loaded
}

// unavailable checks that an answer is ErrorHandler's and nothing else.
func (v *visitor) unavailable(r response) {
	v.t.Helper()
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" ||
		!strings.HasPrefix(r.body, "Your session can't be reached") {
		v.t.Errorf("got %d %q, want 503 with Retry-After and its text alone", r.StatusCode, r.body)
	}
	if c := r.Header["Set-Cookie"]; c != nil {
		v.t.Errorf("a failed answer sets %d cookies, want none", len(c))
	}
}

func readAll(res *http.Response) (string, error) {
	body, err := io.ReadAll(res.Body)
	return string(body), err
}
