package dbsc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hipflask/session"
	"github.com/hipflask/session/dbsc"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

const (
	life   = 5 * time.Minute // the defaults
	skew   = 30 * time.Second
	window = time.Minute

	elevation = 10 * time.Minute

	sessionCookie = "__Host-session"
	boundCookie   = "__Host-bound"
)

// site is an application with a Server, as a browser meets it.
type site struct {
	http.Handler
	sessions *session.Manager
	device   *dbsc.Server
	store    *spyStore
	failing  *sessiontest.FailStore

	mu     sync.Mutex
	events []string
	during func(dbsc.Event) // called within OnEvent, once
}

// spyStore counts operations.
type spyStore struct {
	store.Store
	mu      sync.Mutex
	ops     []string
	replace func() // called before the next Replace
}

func (s *spyStore) Unwrap() store.Store { return s.Store }

func (s *spyStore) note(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops = append(s.ops, op)
}

func (s *spyStore) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}

func (s *spyStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.note("load")
	return s.Store.Load(ctx, key)
}

func (s *spyStore) Create(ctx context.Context, r store.Record) error {
	s.note("create")
	return s.Store.Create(ctx, r)
}

func (s *spyStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	s.note("replace")
	s.mu.Lock()
	before := s.replace
	s.replace = nil
	s.mu.Unlock()
	if before != nil {
		before()
	}
	return s.Store.Replace(ctx, r, version)
}

func (s *spyStore) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	s.note("touch")
	return s.Store.Touch(ctx, key, version, seen, expires)
}

// settings are what newSite is given to change.
type settings struct {
	session session.Config
	device  dbsc.Options
}

func newSite(t testing.TB, change ...func(*settings)) *site {
	t.Helper()
	x := &site{failing: &sessiontest.FailStore{Store: memstore.New(nil)}}
	x.store = &spyStore{Store: x.failing}
	c := settings{session: session.Config{
		SecretKey: session.NewSecretKey(), Store: x.store, Logger: slog.New(slog.DiscardHandler), SweepInterval: -1,
	}}
	c.device.OnEvent = func(_ context.Context, e dbsc.Event) {
		x.mu.Lock()
		during := x.during
		x.during = nil
		x.events = append(x.events, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, e.Reason, e.Principal)))
		x.mu.Unlock()
		if during != nil {
			during(e)
		}
	}
	for _, f := range change {
		f(&c)
	}
	sessions, err := session.New(c.session)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessions.Close() })
	device, err := dbsc.New(sessions, c.device)
	if err != nil {
		t.Fatal(err)
	}
	x.sessions, x.device = sessions, device
	mux := http.NewServeMux()
	mux.Handle("/dbsc/", device)
	mux.Handle("GET /strict", device.Require(http.HandlerFunc(whoami)))
	mux.HandleFunc("GET /me", whoami)
	mux.HandleFunc("GET /static", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "static") })
	mux.HandleFunc("POST /{do}", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		switch r.PathValue("do") {
		case "login":
			s.Login("ann")
		case "federated": // a login at another system, an hour ago
			s.LoginWith("ann", session.Auth{Time: time.Now().Add(-time.Hour)})
		case "elevate":
			s.Elevate(session.Auth{Level: 2, Methods: []string{"otp"}, Until: time.Now().Add(elevation)})
		case "logout":
			s.Logout()
		case "renew":
			s.Renew()
		case "clear":
			s.Clear()
		case "set":
			s.Set("color", "green")
		}
		io.WriteString(w, "done")
	})
	x.Handler = sessions.Handler(device.Middleware(mux))
	return x
}

func whoami(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "hello %s", session.From(r).Principal())
}

// took returns the events since the last call of took.
func (x *site) took() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	events := x.events
	x.events = nil
	return events
}

// browser is a browser with a key, of which every step is a call.
type browser struct {
	t       testing.TB
	site    http.Handler
	cookies map[string]string
	key     crypto.Signer
	id      string // of its device bound session
}

func newBrowser(t testing.TB, site http.Handler) *browser {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, site: site, cookies: map[string]string{}, key: key}
}

// thief is a browser with another key and a copy of all cookies.
func (b *browser) thief() *browser {
	c := newBrowser(b.t, b.site)
	for name, value := range b.cookies {
		c.cookies[name] = value
	}
	c.id = b.id
	return c
}

// send makes a request. header are names and values, in turns.
func (b *browser) send(method, path string, header ...string) *http.Response {
	b.t.Helper()
	r := httptest.NewRequest(method, "https://example.com"+path, nil)
	for pair := range slices.Chunk(header, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(b.cookies))) { // so that longer names come first
		r.AddCookie(&http.Cookie{Name: name, Value: b.cookies[name]})
	}
	w := httptest.NewRecorder()
	b.site.ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
	}
	return res
}

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// get returns the text of a page.
func (b *browser) get(path string) string {
	b.t.Helper()
	return body(b.t, b.send("GET", path))
}

// wants checks who the browser is.
func (b *browser) wants(when, want string) {
	b.t.Helper()
	if got := b.get("/me"); got != "hello "+want {
		b.t.Errorf("%s: got %q, want %q", when, got, "hello "+want)
	}
}

// parameter returns the value of a parameter, or of a string without a name, in a structured field.
func parameter(field, name string) string {
	_, rest, _ := strings.Cut(field, name+`"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// login logs in and returns the challenge of the registration that is offered.
func (b *browser) login() string {
	b.t.Helper()
	res := b.send("POST", "/login")
	return parameter(res.Header.Get("Secure-Session-Registration"), "challenge=")
}

// signed returns a proof with the given header and claims.
func signed(t testing.TB, algorithm jose.SignatureAlgorithm, key any, typ string, withKey bool, payload string) string {
	t.Helper()
	o := (&jose.SignerOptions{EmbedJWK: withKey}).WithType(jose.ContentType(typ))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claims(challenge string) string {
	text, _ := json.Marshal(map[string]string{"jti": challenge})
	return string(text)
}

// proof signs a challenge.
func (b *browser) proof(challenge string, withKey bool) string {
	b.t.Helper()
	return signed(b.t, jose.ES256, b.key, "dbsc+jwt", withKey, claims(challenge))
}

// register sends the key.
func (b *browser) register(challenge string) *http.Response {
	b.t.Helper()
	res := b.send("POST", "/dbsc/register", "Secure-Session-Response", b.proof(challenge, true))
	if res.StatusCode == http.StatusOK {
		var got struct {
			ID string `json:"session_identifier"`
		}
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.ID == "" {
			b.t.Fatalf("registration: got %v and identifier %q", err, got.ID)
		}
		b.id = got.ID
	}
	return res
}

// bind logs in and registers.
func (b *browser) bind() {
	b.t.Helper()
	if res := b.register(b.login()); res.StatusCode != http.StatusOK {
		b.t.Fatalf("registration: got %s: %s", res.Status, body(b.t, res))
	}
}

// challenge makes the first request of a refresh.
func (b *browser) challenge() string {
	b.t.Helper()
	res := b.send("POST", "/dbsc/refresh", "Sec-Secure-Session-Id", b.id)
	field := res.Header.Get("Secure-Session-Challenge")
	if res.StatusCode != http.StatusForbidden || parameter(field, "id=") != b.id {
		b.t.Fatalf("first request of a refresh: got %s and challenge %q", res.Status, field)
	}
	return parameter(field, "")
}

// answer makes the second one.
func (b *browser) answer(proof string) *http.Response {
	b.t.Helper()
	return b.send("POST", "/dbsc/refresh", "Sec-Secure-Session-Id", b.id, "Secure-Session-Response", proof)
}

func (b *browser) refresh() *http.Response {
	b.t.Helper()
	return b.answer(b.proof(b.challenge(), false))
}

// wantsStatus checks a response, and whether it set a bound cookie.
func wantsStatus(t testing.TB, what string, res *http.Response, status int, cookie bool) {
	t.Helper()
	got := slices.ContainsFunc(res.Cookies(), func(c *http.Cookie) bool {
		return c.Name == boundCookie && c.MaxAge > 0
	})
	if res.StatusCode != status || got != cookie {
		t.Errorf("%s: got status %d and a bound cookie: %v; want %d, %v", what, res.StatusCode, got, status, cookie)
	}
}

// wantsEnd checks that the browser is told to forget its key.
func wantsEnd(t testing.TB, what string, res *http.Response) {
	t.Helper()
	text := body(t, res)
	if res.StatusCode != http.StatusOK || !strings.Contains(text, `"continue":false`) {
		t.Errorf("%s: got %s %s, want continue: false", what, res.Status, text)
	}
	wantsStatus(t, what, res, http.StatusOK, false)
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
