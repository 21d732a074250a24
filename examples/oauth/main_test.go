package main

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// fake is a provider that lets everybody in, as often as they ask, and counts that.
type fake struct {
	*httptest.Server
	codes     sync.Map // code to challenge
	exchanged atomic.Int32
}

func newFake(t *testing.T) *fake {
	f := &fake{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		code := session.NewSecretKey()
		f.codes.Store(code, r.FormValue("code_challenge"))
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?"+
			url.Values{"code": {code}, "state": {r.FormValue("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		challenge, ok := f.codes.Load(r.FormValue("code"))
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if !ok || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) ||
			r.FormValue("client_secret") != "secret" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.exchanged.Add(1)
		fmt.Fprint(w, `{"access_token":"token"}`)
	})
	mux.HandleFunc("GET /user", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"login":"ann"}`)
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// start returns the application's address, and a client that follows no redirects by itself.
func start(t *testing.T, f *fake, store *sessiontest.FailStore) (*url.URL, *http.Client) {
	t.Helper()
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	h = newApp(sessiontest.New(t, func(c *session.Config) { c.Store = store }), provider{
		authorizeURL: f.URL + "/authorize", tokenURL: f.URL + "/token", userURL: f.URL + "/user",
		callbackURL: srv.URL + "/callback", clientID: "id", secret: "secret",
	})
	base, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return base, newClient(t)
}

func newClient(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func get(t *testing.T, c *http.Client, u string) (status int, location, body string) {
	t.Helper()
	res, err := c.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), string(b)
}

// begin goes as far as the provider's redirect back, and returns where it leads.
func begin(t *testing.T, c *http.Client, base *url.URL) string {
	t.Helper()
	_, authorize, _ := get(t, c, base.String()+"/login")
	_, callback, _ := get(t, c, authorize)
	return callback
}

func TestLogin(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	base, c := start(t, f, &sessiontest.FailStore{Store: memstore.New(nil)})
	callback := begin(t, c, base)
	before := c.Jar.Cookies(base)[0].Value
	if status, to, body := get(t, c, callback); status != http.StatusSeeOther || to != "/" {
		t.Fatalf("got %d to %q: %s", status, to, body)
	}
	if _, _, body := get(t, c, base.String()+"/"); body != "Hello ann" {
		t.Errorf("got %q, want Hello ann", body)
	}
	if c.Jar.Cookies(base)[0].Value == before {
		t.Error("the login gave no new session ID")
	}
	if status, _, _ := get(t, c, callback); status != http.StatusBadRequest {
		t.Errorf("the same callback again: got %d, want 400", status)
	}
}

func TestOneWinner(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	base, c := start(t, f, &sessiontest.FailStore{Store: memstore.New(nil)})
	callback := begin(t, c, base)
	var all sync.WaitGroup
	var winners atomic.Int32
	for range 20 {
		all.Go(func() {
			res, err := c.Get(callback)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode == http.StatusSeeOther {
				winners.Add(1)
			}
		})
	}
	all.Wait()
	if winners.Load() != 1 || f.exchanged.Load() != 1 {
		t.Errorf("got %d winners and %d codes spent, want 1 and 1", winners.Load(), f.exchanged.Load())
	}
	if _, _, body := get(t, c, base.String()+"/"); body != "Hello ann" {
		t.Errorf("got %q, want Hello ann", body)
	}
}

// Somebody else's code, sent to a victim's browser, logs nobody in, and does not spoil the victim's own attempt.
func TestOtherState(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	base, victim := start(t, f, &sessiontest.FailStore{Store: memstore.New(nil)})
	foreign := begin(t, newClient(t), base)
	own := begin(t, victim, base)
	for _, callback := range []string{foreign, base.String() + "/callback", base.String() + "/callback?state=&code=x"} {
		if status, _, _ := get(t, victim, callback); status != http.StatusBadRequest {
			t.Errorf("got %d, want 400", status)
		}
		if status, _, _ := get(t, newClient(t), callback); status != http.StatusBadRequest {
			t.Errorf("without a session: got %d, want 400", status)
		}
	}
	if f.exchanged.Load() != 0 {
		t.Error("a code was spent")
	}
	if status, _, _ := get(t, victim, own); status != http.StatusSeeOther {
		t.Errorf("the own attempt: got %d, want 303", status)
	}
}

// A login that has begun in another tab goes on; of many that were never finished the newest are kept.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	base, c := start(t, f, &sessiontest.FailStore{Store: memstore.New(nil)})
	var tabs []string
	for range maxAttempts + 1 {
		tabs = append(tabs, begin(t, c, base))
	}
	for i, callback := range tabs {
		want := http.StatusSeeOther
		if i == 0 {
			want = http.StatusBadRequest // the oldest
		}
		if status, _, body := get(t, c, callback); status != want {
			t.Errorf("tab %d: got %d %q, want %d", i, status, body, want)
		}
	}
}

func TestOutageSpendsNoCode(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	base, c := start(t, f, store)
	callback := begin(t, c, base)
	store.Fail(errors.New("down"))
	if status, _, _ := get(t, c, callback); status != http.StatusServiceUnavailable || f.exchanged.Load() != 0 {
		t.Errorf("got %d and %d codes spent, want 503 and none", status, f.exchanged.Load())
	}
	store.Fail(nil)
	if status, _, _ := get(t, c, callback); status != http.StatusSeeOther {
		t.Errorf("afterwards: got %d, want 303", status)
	}
}
