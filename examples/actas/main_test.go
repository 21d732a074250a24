package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// record is what the application logs.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// start returns the application in a bubble, in which hours pass at once.
func start(t *testing.T, test func(t *testing.T, a *app, log *record)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &record{}
		a, err := newApp(session.Config{
			SecretKey: session.NewSecretKey(), InsecureHTTP: true, Store: memstore.New(nil), MaxSessions: 1,
		}, slog.New(slog.NewJSONHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer a.own.Close()
		defer a.acting.Close()
		test(t, a, log)
	})
}

var origin = &url.URL{Scheme: "http", Host: "example.com", Path: "/"}

// browser follows redirects.
type browser struct {
	*testing.T
	app http.Handler
	jar http.CookieJar
}

func newBrowser(t *testing.T, app http.Handler) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, app, jar}
}

func (b *browser) do(method, path string, form url.Values) (status int, body string) {
	b.Helper()
	for range 5 {
		r := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", "text/html")
		for _, c := range b.jar.Cookies(origin) {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		b.app.ServeHTTP(w, r)
		b.jar.SetCookies(origin, w.Result().Cookies())
		if w.Code != http.StatusSeeOther {
			return w.Code, w.Body.String()
		}
		method, path, form = "GET", w.Header().Get("Location"), nil
	}
	b.Fatalf("%s is an endless redirect", path)
	return 0, ""
}

func (b *browser) get(path string) string { b.Helper(); _, body := b.do("GET", path, nil); return body }

func (b *browser) post(path string, form ...string) (status int, body string) {
	b.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	return b.do("POST", path, values)
}

// acts logs ann in, who begins to act for carl.
func acts(t *testing.T, a *app) *browser {
	t.Helper()
	b := newBrowser(t, a)
	b.post("/login", "name", "ann")
	if _, body := b.post("/act", "customer", "carl"); !strings.Contains(body, "You are ann, and act as carl.") {
		t.Fatalf("ann doesn't act: %s", body)
	}
	return b
}

func (b *browser) wants(what string) {
	b.Helper()
	if body := b.get("/"); !strings.Contains(body, what) {
		b.Errorf("the page lacks %q: %s", what, body)
	}
}

// count returns how many sessions of a user a Manager lists.
func count(t *testing.T, m *session.Manager, user string) (n int) {
	t.Helper()
	for _, err := range m.Sessions(t.Context(), user) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// drop deletes the browser's cookie.
func (b *browser) drop(name string) {
	b.jar.SetCookies(origin, []*http.Cookie{{Name: name, Path: "/", MaxAge: -1}})
}

func (b *browser) cookie(name string) *http.Cookie {
	b.Helper()
	for _, c := range b.jar.Cookies(origin) {
		if c.Name == name {
			return c
		}
	}
	b.Fatalf("there is no cookie %q among %v", name, b.jar.Cookies(origin))
	return nil
}

func TestCookieOfItsOwn(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		b := acts(t, a)
		if b.cookie("session").Value == b.cookie("acting").Value {
			t.Error("the two sessions have one cookie")
		}
		b.post("/act/end")
		b.wants("Shopping as ann")
	})
}

func TestNamesItsActor(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		acts(t, a)
		for i, err := range a.acting.Sessions(t.Context(), "carl") {
			if by, ok := actor.Of(i); err != nil || !ok || by.Name != "ann" {
				t.Errorf("the acting session's actor: got %v, %v, %v; want ann", by, ok, err)
			}
		}
	})
}

// However active and fresh the actor is, after an hour it ends.
func TestLivesForAnHour(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		b := acts(t, a)
		for range 5 {
			time.Sleep(10 * time.Minute)
			b.post("/confirm", "name", "ann")
			b.wants("act as carl")
		}
		time.Sleep(10*time.Minute + time.Second)
		b.post("/confirm", "name", "ann")
		b.wants("Shopping as ann")
	})
}

func TestCountsForItsActorAlone(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		b := acts(t, a)
		copied := b.cookie("acting")

		thief := newBrowser(t, a)
		thief.jar.SetCookies(origin, []*http.Cookie{copied})
		if body := thief.get("/"); strings.Contains(body, "carl") {
			t.Errorf("a copy of the acting cookie alone: %s", body)
		}
		b.wants("Shopping as ann") // the copy has ended it for both

		b = acts(t, a)
		other := newBrowser(t, a)
		other.post("/login", "name", "bob")
		other.jar.SetCookies(origin, []*http.Cookie{b.cookie("acting")})
		other.wants("Shopping as bob")
	})
}

func TestCountsWhileFresh(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		b := acts(t, a)
		time.Sleep(10 * time.Minute)
		b.wants("act as carl")
		time.Sleep(freshFor - 10*time.Minute)
		if body := b.get("/"); !strings.Contains(body, "Confirm") {
			t.Errorf("with a login of %v ago: %s", freshFor, body)
		}
		if status, _ := b.post("/note", "note", "stale"); status != http.StatusUnauthorized {
			t.Errorf("a change with a login of %v ago: got %d, want 401", freshFor, status)
		}
		b.post("/confirm", "name", "carl")
		if body := b.get("/"); !strings.Contains(body, "Confirm") {
			t.Errorf("after a confirmation of somebody else: %s", body)
		}
		if _, body := b.post("/confirm", "name", "ann"); !strings.Contains(body, "act as carl") ||
			strings.Contains(body, "stale") {
			t.Errorf("after the confirmation: %s", body)
		}
	})
}

func TestEndsWithItsActor(t *testing.T) {
	for name, end := range map[string]func(a *app, b *browser){
		"logout": func(_ *app, b *browser) { b.post("/logout") },
		"revoke": func(a *app, b *browser) {
			if n, err := a.own.RevokeAll(b.Context(), "ann"); n != 1 || err != nil {
				b.Errorf("RevokeAll: got %d, %v; want 1", n, err)
			}
		},
		"new login": func(_ *app, b *browser) { b.post("/login", "name", "ann") },
		"cookie":    func(_ *app, b *browser) { b.drop("session") },
	} {
		t.Run(name, func(t *testing.T) {
			start(t, func(t *testing.T, a *app, _ *record) {
				b := acts(t, a)
				copied := b.cookie("acting")
				end(a, b)
				if body := b.get("/"); strings.Contains(body, "carl") {
					t.Errorf("afterwards: %s", body)
				}
				if n := count(t, a.acting, "carl"); n != 0 {
					t.Errorf("%d acting sessions are left in the store", n)
				}
				b.post("/login", "name", "ann")
				b.jar.SetCookies(origin, []*http.Cookie{copied})
				b.wants("Shopping as ann")
			})
		})
	}
}

// A later login of the same person doesn't bring back what an earlier one began.
func TestLaterLogin(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		b := acts(t, a)
		copied := b.cookie("acting")
		if _, err := a.own.RevokeAll(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		b.drop("acting")
		b.post("/login", "name", "ann")
		b.jar.SetCookies(origin, []*http.Cookie{copied})
		b.wants("Shopping as ann")
	})
}

func TestValuesNeverMix(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		carl := newBrowser(t, a)
		carl.post("/login", "name", "carl")
		carl.post("/note", "note", "by carl")
		b := acts(t, a)
		b.wants("Shopping as carl; note: </p>")
		b.post("/note", "note", "by ann for carl")
		b.wants("note: by ann for carl")
		carl.wants("note: by carl<")
		b.post("/act/end")
		b.wants("Shopping as ann; note: </p>")
		b.post("/note", "note", "by ann")
		b.post("/act", "customer", "carl")
		b.wants("Shopping as carl; note: </p>")
	})
}

// The customer's list, limit (of one session, here) and RevokeAll don't see the acting session, nor do those of the
// acting Manager see the customer's.
func TestCustomerDoesNotSeeIt(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		carl := newBrowser(t, a)
		carl.post("/login", "name", "carl")
		b := acts(t, a)
		carl.wants("Shopping as carl")
		b.wants("act as carl")
		if own, acting := count(t, a.own, "carl"), count(t, a.acting, "carl"); own != 1 || acting != 1 {
			t.Errorf("carl has %d own sessions and %d acting ones, want 1 and 1", own, acting)
		}
		if n, err := a.own.RevokeAll(t.Context(), "carl"); n != 1 || err != nil {
			t.Errorf("RevokeAll: got %d, %v; want carl's own one", n, err)
		}
		b.wants("act as carl")
		carl.post("/login", "name", "carl")
		if n, err := a.acting.RevokeAll(t.Context(), "carl"); n != 1 || err != nil {
			t.Errorf("RevokeAll of the acting: got %d, %v; want 1", n, err)
		}
		carl.wants("Shopping as carl")
		b.wants("Shopping as ann")
	})
}

func TestEventsNameBoth(t *testing.T) {
	start(t, func(t *testing.T, a *app, log *record) {
		b := acts(t, a)
		b.post("/act/end")
		seen := map[string]bool{}
		for line := range strings.Lines(log.text.String()) {
			var e struct{ Msg, Event, Customer, Actor string }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Msg != "acting session" {
				continue
			}
			if e.Customer != "carl" || e.Actor != "ann" {
				t.Errorf("an event names customer %q and actor %q: %s", e.Customer, e.Actor, line)
			}
			seen[e.Event] = true
		}
		if !seen["login"] || !seen["logout"] {
			t.Errorf("got events %v, want login and logout", seen)
		}
	})
}

func TestWhoMayAct(t *testing.T) {
	start(t, func(t *testing.T, a *app, _ *record) {
		b := newBrowser(t, a)
		for _, c := range [][2]string{{"", "carl"}, {"carl", "dora"}, {"ann", "bob"}, {"ann", ""}} {
			if c[0] != "" {
				b.post("/login", "name", c[0])
			}
			if status, _ := b.post("/act", "customer", c[1]); status != http.StatusForbidden {
				t.Errorf("%q acts for %q: got %d, want 403", c[0], c[1], status)
			}
		}
		time.Sleep(freshFor)
		if _, body := b.post("/act", "customer", "carl"); !strings.Contains(body, "Confirm") {
			t.Errorf("ann begins with a login of %v ago: %s", freshFor, body)
		}
		if n := count(t, a.acting, "carl"); n != 0 {
			t.Errorf("that has begun %d acting sessions", n)
		}
		b.post("/confirm", "name", "ann")
		b.post("/act", "customer", "carl")
		b.wants("act as carl")
		if status, _ := b.post("/password"); status != http.StatusForbidden {
			t.Errorf("ann changes carl's password: got %d, want 403", status)
		}
	})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	a, err := newApp(session.Config{SecretKey: session.NewSecretKey(), InsecureHTTP: true, Store: store},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.own.Close()
	defer a.acting.Close()
	b := acts(t, a)
	store.Fail(http.ErrServerClosed)
	if status, _ := b.do("GET", "/", nil); status != http.StatusServiceUnavailable {
		t.Errorf("in an outage: got %d, want 503", status)
	}
	store.Fail(nil)
	b.wants("act as carl")
}
