package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	hipstore "github.com/hipflask/session/store/memstore"
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

// brokenStore is scs's memory store, which can be made to fail.
type brokenStore struct {
	*memstore.MemStore
	down bool
}

func (s *brokenStore) Find(token string) ([]byte, bool, error) {
	if s.down {
		return nil, false, errors.New("down")
	}
	return s.MemStore.Find(token)
}

type fixture struct {
	*visitor
	old   *scs.SessionManager
	scs   *brokenStore
	store *sessiontest.FailStore
	token string // of the old session
}

// start is the morning after: ann logged in yesterday, and comes with scs's cookie.
func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{old: scs.New(), scs: &brokenStore{MemStore: memstore.NewWithCleanupInterval(0)}, store: &sessiontest.FailStore{Store: hipstore.New(nil)}}
	f.old.Store = f.scs
	yesterday := f.old.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.old.Put(r.Context(), "user", "ann")
		f.old.Put(r.Context(), "theme", "dark")
		f.old.Put(r.Context(), "visits", 41)
	}))
	f.visitor = &visitor{t: t, app: yesterday, cookies: map[string]string{}}
	f.do("POST", "/login")
	f.token = f.cookies["session"]
	sessions := sessiontest.New(t, func(c *session.Config) {
		c.Adopt, c.Store = adopt(f.old), f.store
		c.InsecureHTTP = false // its cookie is __Host-session, scs's is session
	})
	f.app = newApp(sessions, f.old)
	return f
}

func TestNobodyIsLoggedOut(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.want("Hello ann. This is visit 42, and your theme is dark.")
	if len(f.cookies) != 1 || f.cookies["__Host-session"] == "" {
		t.Errorf("got %d cookies, want __Host-session alone", len(f.cookies))
	}
	f.want("Hello ann. This is visit 43, and your theme is dark.")
}

func TestLogoutIsFinal(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.want("Hello ann. This is visit 42, and your theme is dark.")
	f.do("POST", "/logout")
	f.want("You are not logged in.")
	f.cookies["session"] = f.token // a copy of the old cookie
	f.want("You are not logged in.")
}

func TestUnknownOldCookie(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.cookies["session"] = "nonsense"
	f.want("You are not logged in.")
	if len(f.cookies) != 0 {
		t.Errorf("got %d cookies, want none", len(f.cookies))
	}
}

func TestExpiredOldSession(t *testing.T) {
	t.Parallel()
	f := start(t)
	ctx, err := f.old.Load(context.Background(), f.token)
	if err != nil {
		t.Fatal(err)
	}
	f.old.SetDeadline(ctx, time.Now().Add(-time.Minute))
	if _, _, err := f.old.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	f.want("You are not logged in.")
}

// Whichever store is out of reach: the old cookie stays, and afterwards the visitor is still logged in.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"old", "new"} {
		f := start(t)
		f.scs.down = which == "old"
		if which == "new" {
			f.store.Fail(errors.New("down"))
		}
		if w := f.do("GET", "/"); w.Code != http.StatusServiceUnavailable || f.cookies["session"] != f.token {
			t.Errorf("%s store down: got %d, want 503 and the old cookie left", which, w.Code)
		}
		f.scs.down = false
		f.store.Fail(nil)
		f.want("Hello ann. This is visit 42, and your theme is dark.")
	}
}
