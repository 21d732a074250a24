package sessiontest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// greet is a handler under test.
func greet(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	s.Set("greeted", true)
	fmt.Fprintf(w, "hello %s", s.Principal())
}

func serve(m *session.Manager, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(greet)).ServeHTTP(w, r)
	return w.Result()
}

func TestRequest(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]func(*session.Config){
		"cookie":           func(*session.Config) {},
		"bearer token":     func(c *session.Config) { c.BearerToken = true },
		"encrypted cookie": func(c *session.Config) { c.CookieCodec = session.EncryptedCookie },
	} {
		m := sessiontest.New(t, option)
		plain := httptest.NewRequest("GET", "/", nil)
		r := sessiontest.Request(t, m, plain, func(s *session.Session) { s.Login("ann") })
		w := httptest.NewRecorder()
		m.Handler(http.HandlerFunc(greet)).ServeHTTP(w, r)
		if got, want := w.Body.String(), "hello ann"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if len(plain.Header) > 0 {
			t.Errorf("%s: the request that was passed has changed: %v", name, plain.Header)
		}
		for _, fill := range []func(*session.Session){nil, func(s *session.Session) { s.Get("nothing") }} {
			if r := sessiontest.Request(t, m, plain, fill); len(r.Header) > 0 {
				t.Errorf("%s: nothing was filled in, but the request comes with %v", name, r.Header)
			}
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	res := serve(m, httptest.NewRequest("GET", "/", nil))
	if v, _ := sessiontest.Read(t, m, res).Get("greeted"); v != true {
		t.Errorf("got greeted=%v, want true", v)
	}
}

// failure catches what Read says about an answer without a session.
type failure struct {
	testing.TB
	said string
}

func (f *failure) Helper() {}
func (f *failure) Fatal(args ...any) {
	f.said = fmt.Sprint(args...)
	panic(f)
}

func TestReadWithoutSession(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	for name, cookies := range map[string][]string{"no cookie": nil, "a deletion": {"session=; Max-Age=0"}, "another's": {"session=x"}} {
		f := &failure{TB: t}
		func() {
			defer func() { recover() }()
			sessiontest.Read(f, m, &http.Response{Header: http.Header{"Set-Cookie": cookies}})
		}()
		if f.said == "" {
			t.Errorf("%s: Read did not fail the test", name)
		}
	}
}

func TestFailStore(t *testing.T) {
	t.Parallel()
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = broken })
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Login("ann") })

	broken.Fail(errors.New("connection refused"))
	if res := serve(m, r); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("in an outage: got status %d, want 503", res.StatusCode)
	}
	if _, err := m.RevokeAll(t.Context(), "ann"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("RevokeAll in an outage: got %v, want ErrUnavailable", err)
	}
	broken.Fail(nil)
	if res := serve(m, r); res.StatusCode != http.StatusOK {
		t.Errorf("after the outage: got status %d, want 200", res.StatusCode)
	}
	if n, err := m.RevokeAll(t.Context(), "ann"); n != 1 || err != nil {
		t.Errorf("RevokeAll after the outage: got %d, %v; want 1", n, err)
	}
}

// unwrapping is a wrapper that changes nothing.
type unwrapping struct{ store.Store }

func (u unwrapping) Unwrap() store.Store { return u.Store }

// FailStore passes on what its Store can do, also through a wrapper, and fails in that as well.
func TestFailStoreForwards(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Store{
		"a store":                  memstore.New(&memstore.Options{MaxSessions: 1}),
		"a wrapper":                unwrapping{memstore.New(&memstore.Options{MaxSessions: 1})},
		"a wrapper without Unwrap": struct{ store.Store }{memstore.New(&memstore.Options{MaxSessions: 1})},
	} {
		_, able := store.As[store.Lister](s)
		f := &sessiontest.FailStore{Store: s}
		evicted := 0
		cancel := f.OnEvict(func(store.Record) { evicted++ })
		for i, left := range []time.Duration{time.Hour, time.Hour, 0} {
			rec := store.Record{Key: fmt.Sprint(i), Version: 1, ExpiresAt: time.Now().Add(left)}
			if err := f.Create(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		n, err := f.Sweep(t.Context(), 10)
		if want := map[bool]int{true: 1}[able]; n != want || err != nil {
			t.Errorf("%s: Sweep: got %d, %v; want %d", name, n, err, want)
		}
		if want := map[bool]int{true: 2}[able]; evicted != want {
			t.Errorf("%s: got %d calls of OnEvict's function, want %d", name, evicted, want)
		}
		for _, err := range f.All(t.Context()) {
			if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "give it Unwrap") {
				t.Errorf("%s: All: got %v, want ErrUnsupported with advice", name, err)
			}
		}
		broken := errors.New("broken")
		f.Fail(broken)
		if _, err := f.Sweep(t.Context(), 10); err != broken {
			t.Errorf("%s: Sweep in an outage: got %v, want %v", name, err, broken)
		}
	}
}
