package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// visitor is a browser on a server whose application changes overnight.
type visitor struct {
	t      *testing.T
	app    http.Handler
	client *http.Client
	at     *url.URL
}

func newVisitor(t *testing.T, app http.Handler) *visitor {
	t.Helper()
	v := &visitor{t: t, app: app}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.app.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	v.client = server.Client()
	v.client.Jar, _ = cookiejar.New(nil)
	v.at, _ = url.Parse(server.URL)
	return v
}

func (v *visitor) do(method, path string) (status int, body string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.at.String()+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// cookies are what the browser has.
func (v *visitor) cookies() map[string]string {
	all := map[string]string{}
	for _, c := range v.client.Jar.Cookies(v.at) {
		all[c.Name] = c.Value
	}
	return all
}

// has puts a cookie into the browser.
func (v *visitor) has(name, value string) {
	v.client.Jar.SetCookies(v.at, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

func (v *visitor) want(body string) {
	v.t.Helper()
	if _, got := v.do("GET", "/"); got != body {
		v.t.Errorf("got %q, want %q", got, body)
	}
}

type fixture struct {
	*visitor
	store *sessiontest.FailStore
	value string // of the old cookie
}

// start is the morning after: ann logged in yesterday, and comes with gorilla's cookie.
func start(t *testing.T, old sessions.Store) *fixture {
	t.Helper()
	yesterday := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o, _ := old.Get(r, oldName)
		o.Values["user"], o.Values["visits"] = "ann", 41
		o.AddFlash("Saved.")
		if err := o.Save(r, w); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{visitor: newVisitor(t, yesterday), store: &sessiontest.FailStore{Store: memstore.New(nil)}}
	f.do("POST", "/login")
	f.value = f.cookies()[oldName]
	f.app = newApp(sessiontest.New(t, func(c *session.Config) {
		c.Adopt, c.AdoptCookie, c.Store = adopt(old), oldName, f.store
		c.InsecureHTTP = false
	}))
	return f
}

func stores(t *testing.T) map[string]sessions.Store {
	key := securecookie.GenerateRandomKey(32)
	return map[string]sessions.Store{
		"CookieStore":     sessions.NewCookieStore(key),
		"FilesystemStore": sessions.NewFilesystemStore(t.TempDir(), key),
	}
}

func TestNobodyIsLoggedOut(t *testing.T) {
	t.Parallel()
	for name, old := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, old)
			f.want("Hello ann. This is visit 42. Saved.")
			if len(f.cookies()) != 1 || f.cookies()["__Host-session"] == "" {
				t.Errorf("got %d cookies, want the new one alone", len(f.cookies()))
			}
			f.want("Hello ann. This is visit 43.")
		})
	}
}

func TestLogoutIsFinal(t *testing.T) {
	t.Parallel()
	for name, old := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, old)
			f.want("Hello ann. This is visit 42. Saved.")
			f.do("POST", "/logout")
			f.want("You are not logged in.")
			if name == "CookieStore" {
				return // a copy of its cookie is good until it expires
			}
			f.has(oldName, f.value)
			f.want("You are not logged in.")
		})
	}
}

func TestForgedOldCookie(t *testing.T) {
	t.Parallel()
	for name, old := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, old)
			f.has(oldName, "nonsense")
			f.want("You are not logged in.")
			if len(f.cookies()) != 0 {
				t.Errorf("got %d cookies, want none", len(f.cookies()))
			}
		})
	}
}

// downStore is a store of gorilla's that can't be reached.
type downStore struct {
	sessions.Store
	down bool
}

func (s *downStore) New(r *http.Request, name string) (*sessions.Session, error) {
	if s.down {
		return nil, errors.New("down")
	}
	return s.Store.New(r, name)
}

// Whichever store is out of reach: the old cookie stays, and afterwards the visitor is still logged in.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"old", "new"} {
		for name, old := range stores(t) {
			broken := &downStore{Store: old}
			f := start(t, broken)
			broken.down = which == "old"
			if which == "new" {
				f.store.Fail(errors.New("down"))
			}
			if status, _ := f.do("GET", "/"); status != http.StatusServiceUnavailable ||
				f.cookies()[oldName] != f.value {
				t.Errorf("%s, %s store down: got %d, want 503 and the old cookie left", name, which, status)
			}
			broken.down = false
			f.store.Fail(nil)
			f.want("Hello ann. This is visit 42. Saved.")
		}
	}
}
