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
	for name, cookies := range map[string][]string{"no cookie": nil, "a deletion": {"session=; Max-Age=0"},
		"another's": {"session=x"}} {
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

// Read finds the session of a response that sets no cookie, by the request's own.
func TestReadAfterAChange(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]func(*session.Config){
		"cookie": func(*session.Config) {}, "bearer token": func(c *session.Config) { c.BearerToken = true },
	} {
		m := sessiontest.New(t, option)
		r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
			s.Login("ann")
		})
		r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
		res := serve(m, r)
		if len(res.Cookies()) != 0 {
			t.Fatalf("%s: the response sets a cookie", name)
		}
		s := sessiontest.Read(t, m, res, r)
		if v, _ := s.Get("greeted"); v != true || s.Principal() != "ann" {
			t.Errorf("%s: got greeted=%v of %q, want true of ann", name, v, s.Principal())
		}
		res.Request = r // as a client's
		sessiontest.WantLogin(t, sessiontest.Read(t, m, res), "ann")
	}
}

// said returns what a helper says to the test.
func said(t *testing.T, call func(testing.TB)) string {
	f := &failure{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		call(f)
	}()
	return f.said
}

func (f *failure) Errorf(format string, args ...any) { f.said = fmt.Sprintf(format, args...) }
func (f *failure) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// After a logout there is no session, though the request had one; an outage is said to be one.
func TestReadFails(t *testing.T) {
	t.Parallel()
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = broken })
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Login("ann") })
	same := serve(m, r)
	broken.Fail(errors.New("the cable is cut"))
	if got := said(t, func(f testing.TB) { sessiontest.Read(f, m, same, r) }); !strings.Contains(got,
		"the cable is cut") {
		t.Errorf("in an outage Read said %q", got)
	}
	broken.Fail(nil)
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		session.From(r).Logout()
	})).ServeHTTP(w, r)
	if got := said(t, func(f testing.TB) { sessiontest.Read(f, m, w.Result(), r) }); !strings.Contains(got,
		"live session") {
		t.Errorf("after a logout Read said %q", got)
	}
	if got := said(t, func(f testing.TB) { sessiontest.Read(f, m, same) }); !strings.Contains(got, "pass the request") {
		t.Errorf("without the request Read said %q", got)
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t)
	fresh := func() *session.Session {
		s, err := m.Load(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		s.Login("ann")
		s.Flash("Saved.")
		s.Flash("No mail.", "error")
		return s
	}
	for _, c := range []struct {
		call func(testing.TB)
		want string
	}{
		{func(t testing.TB) { sessiontest.WantLogin(t, fresh(), "ann") }, ""},
		{func(t testing.TB) { sessiontest.WantLogin(t, fresh(), "") }, `got principal "ann", want ""`},
		{func(t testing.TB) { sessiontest.WantFlashes(t, fresh(), "Saved.", "No mail.") }, ""},
		{func(t testing.TB) { sessiontest.WantFlashes(t, fresh(), "No mail.", "Saved.") },
			`got flash messages ["Saved." "No mail."]`},
		{func(t testing.TB) { sessiontest.WantFlashes(t, fresh()) }, `want []`},
	} {
		if got := said(t, c.call); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestLoggedIn(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t, func(c *session.Config) { c.Lifetime = time.Hour })
	for ago, want := range map[time.Duration]string{0: "ann", -time.Hour: "ann", 59 * time.Minute: "ann",
		61 * time.Minute: ""} {
		r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), sessiontest.LoggedIn("ann", ago))
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			sessiontest.WantLogin(t, s, want)
			if since := time.Since(s.Auth().Time); want != "" &&
				(since < max(ago, 0)-time.Second || since > max(ago, 0)+time.Minute) {
				t.Errorf("%v: the login was %v ago", ago, since)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
}

// Writes fail while reads go on, and writes that are lost have been done.
func TestFailWrites(t *testing.T) {
	t.Parallel()
	f := &sessiontest.FailStore{Store: memstore.New(nil)}
	down := errors.New("down")
	rec := func(key string) store.Record {
		return store.Record{Key: key, Version: 1, ExpiresAt: time.Now().Add(time.Hour)}
	}
	has := func(key string) bool {
		_, err := f.Load(t.Context(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Load failed: %v", err)
		}
		return err == nil
	}
	f.FailWrites(down)
	if err := f.Create(t.Context(), rec("a")); !errors.Is(err, down) || has("a") {
		t.Errorf("FailWrites: Create returned %v, and the record is there %v", err, has("a"))
	}
	f.LoseWrites(down)
	if err := f.Create(t.Context(), rec("a")); !errors.Is(err, down) || !has("a") {
		t.Errorf("LoseWrites: Create returned %v, and the record is there %v", err, has("a"))
	}
	if err := f.Create(t.Context(), rec("a")); !errors.Is(err, store.ErrExists) {
		t.Errorf("LoseWrites: a second Create returned %v, want ErrExists", err)
	}
	for name, err := range map[string]error{
		"Touch":   f.Touch(t.Context(), "a", 1, time.Now(), time.Now().Add(time.Hour)),
		"Replace": f.Replace(t.Context(), rec("a"), 1),
	} {
		if !errors.Is(err, down) {
			t.Errorf("LoseWrites: %s returned %v", name, err)
		}
	}
	if err := f.Delete(t.Context(), "a"); !errors.Is(err, down) || has("a") {
		t.Errorf("LoseWrites: Delete returned %v, and the record is there %v", err, has("a"))
	}
	if _, err := f.Sweep(t.Context(), 1); !errors.Is(err, down) {
		t.Errorf("LoseWrites: Sweep returned %v", err)
	}
	f.LoseWrites(nil)
	if err := f.Create(t.Context(), rec("b")); err != nil {
		t.Error(err)
	}
}
