package session_test

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
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
