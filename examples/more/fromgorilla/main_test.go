package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// visitor keeps cookies, without a server.
type visitor struct {
	t       *testing.T
	app     http.Handler
	cookies map[string]string
}

func (v *visitor) do(method, path string) *httptest.ResponseRecorder {
	v.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	v.app.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		} else {
			v.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (v *visitor) want(body string) {
	v.t.Helper()
	if got := v.do("GET", "/").Body.String(); got != body {
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
	f := &fixture{visitor: &visitor{t: t, app: yesterday, cookies: map[string]string{}}, store: &sessiontest.FailStore{Store: memstore.New(nil)}}
	f.do("POST", "/login")
	f.value = f.cookies[oldName]
	f.app = newApp(sessiontest.New(t, func(c *session.Config) { c.Adopt, c.Store = adopt(old), f.store }))
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
			if len(f.cookies) != 1 || f.cookies["session"] == "" {
				t.Errorf("got %d cookies, want the new one alone", len(f.cookies))
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
			f.cookies[oldName] = f.value
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
			f.cookies[oldName] = "nonsense"
			f.want("You are not logged in.")
			if len(f.cookies) != 0 {
				t.Errorf("got %d cookies, want none", len(f.cookies))
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
			if w := f.do("GET", "/"); w.Code != http.StatusServiceUnavailable || f.cookies[oldName] != f.value {
				t.Errorf("%s, %s store down: got %d, want 503 and the old cookie left", name, which, w.Code)
			}
			broken.down = false
			f.store.Fail(nil)
			f.want("Hello ann. This is visit 42. Saved.")
		}
	}
}
