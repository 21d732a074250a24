package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	hipstore "github.com/hipflask/session/store/memstore"
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
	f := &fixture{old: scs.New(), scs: &brokenStore{MemStore: memstore.NewWithCleanupInterval(0)},
		store: &sessiontest.FailStore{Store: hipstore.New(nil)}}
	f.old.Store = f.scs
	yesterday := f.old.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.old.Put(r.Context(), "user", "ann")
		f.old.Put(r.Context(), "theme", "dark")
		f.old.Put(r.Context(), "visits", 41)
	}))
	f.visitor = newVisitor(t, yesterday)
	f.do("POST", "/login")
	f.token = f.cookies()["session"]
	sessions := sessiontest.New(t, func(c *session.Config) {
		c.Adopt, c.AdoptCookie, c.Store = adopt(f.old), f.old.Cookie.Name, f.store
		c.InsecureHTTP = false // its cookie is __Host-session, scs's is session
	})
	f.app = newApp(sessions, f.old)
	return f
}

func TestNobodyIsLoggedOut(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.want("Hello ann. This is visit 42, and your theme is dark.")
	if len(f.cookies()) != 1 || f.cookies()["__Host-session"] == "" {
		t.Errorf("got %d cookies, want __Host-session alone", len(f.cookies()))
	}
	f.want("Hello ann. This is visit 43, and your theme is dark.")
}

func TestLogoutIsFinal(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.want("Hello ann. This is visit 42, and your theme is dark.")
	f.do("POST", "/logout")
	f.want("You are not logged in.")
	f.has("session", f.token) // a copy of the old cookie
	f.want("You are not logged in.")
}

func TestUnknownOldCookie(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.has("session", "nonsense")
	f.want("You are not logged in.")
	if len(f.cookies()) != 0 {
		t.Errorf("got %d cookies, want none", len(f.cookies()))
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
		if status, _ := f.do("GET", "/"); status != http.StatusServiceUnavailable || f.cookies()["session"] != f.token {
			t.Errorf("%s store down: got %d, want 503 and the old cookie left", which, status)
		}
		f.scs.down = false
		f.store.Fail(nil)
		f.want("Hello ann. This is visit 42, and your theme is dark.")
	}
}

// Over plain http both cookies are named "session" by default: New refuses that, and with a name of one's own it works.
func TestSameName(t *testing.T) {
	t.Parallel()
	old := scs.New()
	config := session.Config{SecretKey: session.NewSecretKey(), Store: hipstore.New(nil), InsecureHTTP: true,
		Adopt: adopt(old), AdoptCookie: old.Cookie.Name}
	if _, err := session.New(config); err == nil || !strings.Contains(err.Error(), "Cookie.Name") {
		t.Errorf("got %v, want an error that names Cookie.Name", err)
	}
	config.Cookie.Name = "app"
	m, err := session.New(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}
