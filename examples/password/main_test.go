package main

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

type browser struct {
	t   *testing.T
	url string
	http.Client
}

func newBrowser(t *testing.T, srv *httptest.Server) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, srv.URL, http.Client{Jar: jar}}
}

func (b *browser) read(res *http.Response, err error) string {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(body)
}

func (b *browser) post(path string, form url.Values) string {
	b.t.Helper()
	return b.read(b.PostForm(b.url+path, form))
}

func (b *browser) login(password string) bool {
	b.t.Helper()
	return strings.Contains(b.post("/login", url.Values{"name": {"ann"}, "password": {password}}), "Logged in as ann")
}

func (b *browser) change(old, new string) string {
	b.t.Helper()
	return b.post("/password", url.Values{"old": {old}, "new": {new}})
}

func (b *browser) loggedIn() bool {
	b.t.Helper()
	return strings.Contains(b.read(b.Get(b.url+"/")), "Logged in as ann")
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func start(t *testing.T, store *sessiontest.FailStore) *httptest.Server {
	t.Helper()
	srv, _ := startWith(t, store)
	return srv
}

func startWith(t *testing.T, store *sessiontest.FailStore) (*httptest.Server, *session.Manager) {
	t.Helper()
	sessions := sessiontest.New(t, func(c *session.Config) { c.Store = store })
	a := newApp(sessions, 10)
	if err := a.users.set("ann", "correct horse"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	return srv, sessions
}

func TestChangeLogsOutOthers(t *testing.T) {
	t.Parallel()
	srv := start(t, &sessiontest.FailStore{Store: memstore.New(nil)})
	here, there, third := newBrowser(t, srv), newBrowser(t, srv), newBrowser(t, srv)
	for _, b := range []*browser{here, there, third} {
		if b.login("wrong") {
			t.Error("a wrong password logs in")
		}
		if !b.login("correct horse") {
			t.Fatal("the right password does not log in")
		}
	}
	if body := here.change("wrong", "battery staple"); !strings.Contains(body, "is wrong") || !there.loggedIn() {
		t.Errorf("a change with a wrong password: %s", body)
	}
	before := here.Jar.Cookies(parse(t, srv.URL))
	if body := here.change("correct horse", "battery staple"); !strings.Contains(body,
		"2 other devices are logged out") {
		t.Errorf("after the change: %s", body)
	}
	if !here.loggedIn() || there.loggedIn() || third.loggedIn() {
		t.Error("want this browser logged in and the others not")
	}
	thief := newBrowser(t, srv)
	thief.Jar.SetCookies(parse(t, srv.URL), before)
	if thief.loggedIn() {
		t.Error("a copy of this browser's cookie from before the change is logged in")
	}
	if there.login("correct horse") || !there.login("battery staple") {
		t.Error("want the new password to hold, and the old one not")
	}
}

// Whoever logged in long ago has to enter the password again first.
func TestConfirmFirst(t *testing.T) {
	t.Parallel()
	srv, sessions := startWith(t, &sessiontest.FailStore{Store: memstore.New(nil)})
	b := newBrowser(t, srv)
	old := sessiontest.Request(t, sessions, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
		s.LoginWith("ann", session.Auth{Time: time.Now().Add(-freshFor), Methods: []string{"pwd"}, Level: 1})
	})
	b.Jar.SetCookies(parse(t, srv.URL), old.Cookies())
	if !b.loggedIn() {
		t.Fatal("the old login is not there")
	}
	if body := b.change("correct horse", "battery staple"); strings.Contains(body, "is changed") {
		t.Errorf("a change without a confirmation: %s", body)
	}
	page := func() string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/password", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		return b.read(b.Do(r))
	}
	if body := page(); !strings.Contains(body, "enter your password again") {
		t.Errorf("the page of the change: %s", body)
	}
	if body := b.post("/confirm?next=/password&why=fresh", url.Values{"password": {"wrong"}}); !strings.Contains(body,
		"The password is wrong.") {
		t.Errorf("a wrong password: %s", body)
	}
	before := b.Jar.Cookies(parse(t, srv.URL))
	if body := b.post("/confirm?next=/password&why=fresh",
		url.Values{"password": {"correct horse"}}); !strings.Contains(body, "new password") {
		t.Errorf("after the confirmation: %s", body)
	}
	thief := newBrowser(t, srv)
	thief.Jar.SetCookies(parse(t, srv.URL), before)
	if thief.loggedIn() {
		t.Error("a copy of the cookie from before the confirmation is logged in")
	}
	if body := b.change("correct horse", "battery staple"); !strings.Contains(body, "is changed") {
		t.Errorf("a change after the confirmation: %s", body)
	}
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	srv := start(t, store)
	b := newBrowser(t, srv)
	b.login("correct horse")
	store.Fail(errors.New("down"))
	if body := b.change("correct horse", "battery staple"); strings.Contains(body, "is changed") {
		t.Errorf("in an outage: %s", body)
	}
	store.Fail(nil)
	if !b.loggedIn() || !newBrowser(t, srv).login("correct horse") {
		t.Error("want the login and the old password as they were")
	}
}
