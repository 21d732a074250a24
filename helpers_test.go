package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// secret is a SecretKey for tests that need the same one twice.
const secret = "xW7kq2ZsT9vBn4Lr8YdMc3Hg"

// spyStore notes every call and can be made to fail by operation.
type spyStore struct {
	store.Store

	mu    sync.Mutex
	calls []string // names of operations
	keys  []string // every key that a caller used

	before func(op string) error // instead of the call
	after  func(op string) error // after a call that was made: its answer is lost
}

func newSpy() *spyStore { return &spyStore{Store: memstore.New(nil)} }

func (s *spyStore) note(op, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.keys = append(s.calls, op), append(s.keys, key)
	if s.before == nil {
		return nil
	}
	return s.before(op)
}

func (s *spyStore) lost(op string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after == nil || err != nil {
		return err
	}
	return s.after(op)
}

// fail makes the operations fail: before they do anything, or after they did it. Nil functions end that.
func (s *spyStore) fail(before, after func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// took returns the operations since the last call of took.
func (s *spyStore) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *spyStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := s.note("load", key); err != nil {
		return store.Record{}, err
	}
	r, err := s.Store.Load(ctx, key)
	if err := s.lost("load", err); err != nil {
		return store.Record{}, err
	}
	return r, nil
}

func (s *spyStore) Create(ctx context.Context, r store.Record) error {
	if err := s.note("create", r.Key); err != nil {
		return err
	}
	return s.lost("create", s.Store.Create(ctx, r))
}

func (s *spyStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	if err := s.note("replace", r.Key); err != nil {
		return err
	}
	return s.lost("replace", s.Store.Replace(ctx, r, version))
}

func (s *spyStore) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if err := s.note("touch", key); err != nil {
		return err
	}
	return s.lost("touch", s.Store.Touch(ctx, key, version, seen, expires))
}

func (s *spyStore) Delete(ctx context.Context, key string) error {
	if err := s.note("delete", key); err != nil {
		return err
	}
	return s.lost("delete", s.Store.Delete(ctx, key))
}

var errDown = errors.New("the test's store is down")

// down fails the named operations, all if none is named.
func down(ops ...string) func(string) error {
	return func(op string) error {
		if len(ops) == 0 || slices.Contains(ops, op) {
			return errDown
		}
		return nil
	}
}

// downAfter lets n calls pass and fails all that follow.
func downAfter(n int) func(string) error {
	return func(string) error {
		if n--; n < 0 {
			return errDown
		}
		return nil
	}
}

// eventLog is an OnEvent that remembers.
type eventLog struct {
	mu     sync.Mutex
	events []session.Event
}

func (l *eventLog) add(_ context.Context, e session.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// took returns what happened since the last call of took, a rejection with its reason.
func (l *eventLog) took() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := []string{}
	for _, e := range l.events {
		kind := string(e.Kind)
		if e.Reason != "" {
			kind += " " + string(e.Reason)
		}
		kinds = append(kinds, kind)
	}
	l.events = nil
	return kinds
}

// bench is a Manager with a watched store, the default cookie, and a silent log.
type bench struct {
	*session.Manager
	store  *spyStore
	events *eventLog
	name   string // of the cookie
}

const hostCookie = "__Host-session"

func newBench(t testing.TB, options ...func(*session.Config)) *bench {
	t.Helper()
	b := &bench{store: newSpy(), events: &eventLog{}, name: hostCookie}
	b.Manager = sessiontest.New(t, func(c *session.Config) {
		c.SecretKey, c.InsecureHTTP = secret, false
		c.Store, c.OnEvent, c.Logger = b.store, b.events.add, slog.New(slog.DiscardHandler)
		for _, o := range options {
			o(c)
		}
		if c.Cookie.Name != "" {
			b.name = c.Cookie.Name
		}
	})
	return b
}

// encrypted is an option of newBench.
func encrypted(c *session.Config) { c.Store, c.CookieCodec = nil, session.EncryptedCookie }

// logTo is an option of newBench.
func logTo(w io.Writer) func(*session.Config) {
	return func(c *session.Config) { c.Logger = slog.New(slog.NewTextHandler(w, nil)) }
}

var discardLog = log.New(io.Discard, "", 0)

var epoch = time.Unix(0, 0)

// get serves one request with a Cookie header, none if that is empty.
func (b *bench) get(t testing.TB, cookies string, handler http.HandlerFunc) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	return b.serve(t, r, handler)
}

func (b *bench) serve(t testing.TB, r *http.Request, handler http.HandlerFunc) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	b.Handler(handler).ServeHTTP(w, r)
	return w.Result()
}

// cookie stores a session and returns its cookie as a client sends it: NAME=VALUE.
func (b *bench) cookie(t testing.TB, fill func(*session.Session)) string {
	t.Helper()
	s, err := b.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	fill(s)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := b.Cookie(s)
	if c == nil {
		t.Fatal("the session has no cookie")
	}
	b.store.took()
	b.events.took()
	return c.Name + "=" + c.Value
}

// value is the part of a cookie that cookie returned.
func value(cookie string) string {
	_, v, _ := strings.Cut(cookie, "=")
	return v
}

func body(t testing.TB, res *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// sets returns the response's Set-Cookie lines, with the values of those that set one replaced by VALUE.
func sets(res *http.Response) []string {
	var lines []string
	for _, c := range res.Cookies() {
		if c.Value != "" {
			c.Raw = strings.Replace(c.Raw, "="+c.Value, "=VALUE", 1)
		}
		lines = append(lines, c.Raw)
	}
	return lines
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func setPlain(s *session.Session) { s.Set("color", "green") }

// servers returns several Managers of one application: one key, one store, plain http.
func servers(t testing.TB, n int, options ...func(*session.Config)) []*session.Manager {
	t.Helper()
	shared := memstore.New(nil)
	list := make([]*session.Manager, n)
	for i := range list {
		c := session.Config{SecretKey: secret, Store: shared, InsecureHTTP: true, Logger: slog.New(slog.DiscardHandler),
			SweepInterval: -1} // a bubble's years are short, but full of minutes
		for _, o := range options {
			o(&c)
		}
		m, err := session.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		list[i] = m
	}
	return list
}

func server(t testing.TB, options ...func(*session.Config)) *session.Manager {
	t.Helper()
	return servers(t, 1, options...)[0]
}

// A visitor is a browser with one cookie, which it takes from answers.
type visitor struct {
	t      testing.TB
	mu     sync.Mutex
	cookie *http.Cookie // nil: none
}

func newVisitor(t testing.TB) *visitor { return &visitor{t: t} }

// copy is the same browser's cookie in other hands, or in a request that is already under way.
func (c *visitor) copy() *visitor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &visitor{t: c.t, cookie: c.cookie}
}

// value is the cookie's, "" without one.
func (c *visitor) value() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cookie == nil {
		return ""
	}
	return c.cookie.Value
}

// request returns one with the visitor's cookie.
func (c *visitor) request() *http.Request {
	r := httptest.NewRequestWithContext(c.t.Context(), "GET", "/", nil)
	if sent := c.copy().cookie; sent != nil {
		r.AddCookie(sent)
	}
	return r
}

// A visit is a request of a visitor, which can be held up in its handler.
type visit struct {
	c       *visitor
	r       *http.Request
	w       *httptest.ResponseRecorder
	out     http.ResponseWriter // the handler's
	entered chan struct{}
	resumed chan struct{}
	ended   chan struct{}
	enter   sync.Once
	resume  sync.Once
	thrown  any // what the Handler panicked with
}

// start sends a request with the visitor's cookie. It returns when the handler pauses or has ended.
func (c *visitor) start(m *session.Manager, handle func(v *visit, s *session.Session)) *visit {
	v := &visit{c: c, w: httptest.NewRecorder(),
		entered: make(chan struct{}), resumed: make(chan struct{}), ended: make(chan struct{})}
	r := c.request()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.r, v.out = r, w
		handle(v, session.From(r))
	}))
	go func() {
		defer close(v.ended)
		defer v.enter.Do(func() { close(v.entered) })
		defer func() { v.thrown = recover() }()
		h.ServeHTTP(v.w, r)
	}()
	<-v.entered
	return v
}

// pause is called by the handler: start returns, and the handler goes on when finish is called.
func (v *visit) pause() {
	v.enter.Do(func() { close(v.entered) })
	<-v.resumed
}

// finish lets the handler go on and gives its answer to the visitor.
func (v *visit) finish() *http.Response {
	v.resume.Do(func() { close(v.resumed) })
	<-v.ended
	res := v.w.Result()
	for _, cookie := range res.Cookies() {
		v.c.mu.Lock()
		v.c.cookie = cookie
		if cookie.MaxAge < 0 {
			v.c.cookie = nil
		}
		v.c.mu.Unlock()
	}
	return res
}

// try is a request from beginning to end.
func (c *visitor) try(m *session.Manager, handle func(s *session.Session)) *http.Response {
	c.t.Helper()
	v := c.start(m, func(_ *visit, s *session.Session) { handle(s) })
	res := v.finish()
	if v.thrown != nil {
		c.t.Errorf("got a panic: %v", v.thrown)
	}
	return res
}

// do is a request that has to work.
func (c *visitor) do(m *session.Manager, handle func(s *session.Session)) *http.Response {
	c.t.Helper()
	res := c.try(m, handle)
	if res.StatusCode != http.StatusOK {
		c.t.Errorf("got status %d, want 200: %s", res.StatusCode, body(c.t, res))
	}
	return res
}

// sees returns what a request of the visitor finds: the principal and all values.
func (c *visitor) sees(m *session.Manager) (all string) {
	c.t.Helper()
	c.copy().do(m, func(s *session.Session) { all = contents(s) })
	return all
}

// contents prints a session, such as "ann: [color=green visits=3]".
func contents(s *session.Session) string {
	values := []string{}
	for _, k := range s.Keys() {
		v, _ := s.Get(k)
		values = append(values, fmt.Sprintf("%s=%v", k, v))
	}
	return s.Principal() + ": " + fmt.Sprint(values)
}

// nothing is what contents prints of an empty session.
const nothing = ": []"

// want reports unless each server shows the visitor these contents.
func (c *visitor) want(ms []*session.Manager, what, want string) {
	c.t.Helper()
	for _, m := range ms {
		if got := c.sees(m); got != want {
			c.t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
}

// overlap sends n requests that have all read the session before any goes on, and lets them go on at once.
func (c *visitor) overlap(ms []*session.Manager, n int, handle func(i int, s *session.Session)) []*http.Response {
	visits := make([]*visit, n)
	for i := range visits {
		visits[i] = c.start(ms[i%len(ms)], func(v *visit, s *session.Session) {
			v.pause()
			handle(i, s)
		})
	}
	answers := make([]*http.Response, n)
	var wg sync.WaitGroup
	for i, v := range visits {
		wg.Go(func() { answers[i] = v.finish() })
	}
	wg.Wait()
	return answers
}

// silent reports if an answer sets a cookie.
func silent(t testing.TB, what string, res *http.Response) {
	t.Helper()
	if lines := res.Header.Values("Set-Cookie"); len(lines) != 0 {
		t.Errorf("%s: got %d Set-Cookie, want none", what, len(lines))
	}
}

// is reports unless err is the wanted one.
func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func check[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// count returns how often kind is in a list of events.
func count(events []string, kind string) (n int) {
	for _, e := range events {
		if e == kind {
			n++
		}
	}
	return n
}

// wire talks to a server of net/http by one of its protocols.
type wire struct {
	*http.Client
	protocol string
	url      string
}

// eachProtocol starts a server of handler for HTTP/1.1, HTTP/2, and HTTP/2 without TLS, and runs test with each.
func eachProtocol(t *testing.T, handler http.Handler, test func(*testing.T, *wire)) {
	t.Helper()
	for _, name := range []string{"HTTP1", "HTTP2", "h2c"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewUnstartedServer(handler)
			srv.Config.ErrorLog = discardLog
			c := &wire{protocol: "HTTP/2.0"}
			switch name {
			case "HTTP1":
				c.protocol = "HTTP/1.1"
				srv.Start()
			case "HTTP2":
				srv.EnableHTTP2 = true
				srv.StartTLS()
			case "h2c":
				srv.Config.Protocols = new(http.Protocols)
				srv.Config.Protocols.SetUnencryptedHTTP2(true)
				srv.Start()
				srv.Client().Transport.(*http.Transport).Protocols = srv.Config.Protocols
			}
			t.Cleanup(srv.Close)
			c.Client, c.url = srv.Client(), srv.URL
			test(t, c)
		})
	}
}

func (c *wire) request(t *testing.T, method, path, cookie string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

func (c *wire) do(t *testing.T, r *http.Request) *http.Response {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.Proto != c.protocol {
		t.Fatalf("got %s, want %s", res.Proto, c.protocol)
	}
	return res
}

func (c *wire) get(t *testing.T, path, cookie string) *http.Response {
	t.Helper()
	return c.do(t, c.request(t, "GET", path, cookie))
}

// soon is what Retry-After says: "soon" within the bounds that this package has, "" if it is not there.
func soon(h http.Header) string {
	switch n, err := strconv.Atoi(h.Get("Retry-After")); {
	case h.Get("Retry-After") == "":
		return ""
	case err == nil && n >= 3 && n <= 7:
		return "soon"
	}
	return h.Get("Retry-After")
}
