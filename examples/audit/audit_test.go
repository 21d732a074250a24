package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// logged is what the logger got.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// shop is the application behind a server.
type shop struct {
	*testing.T
	*app
	file string
	log  *logged
	url  string
	end  func()
}

func open(t *testing.T, file string, st store.Store) *shop {
	t.Helper()
	log := &logged{}
	audit, err := openAudit(t.Context(), file, slog.New(slog.NewJSONHandler(log, nil)), 1000, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newApp(session.Config{SecretKey: session.NewSecretKey(), InsecureHTTP: true, Store: st}, audit)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	s := &shop{T: t, app: a, file: file, log: log, url: server.URL}
	s.end = sync.OnceFunc(func() {
		server.Close()
		a.acting.Close()
		a.own.Close()
		if err := audit.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.end)
	return s
}

func start(t *testing.T) *shop {
	return open(t, filepath.Join(t.TempDir(), "audit.db"), memstore.New(nil))
}

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	safari  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
		"Version/18.5 Safari/605.1.15"
)

type browser struct {
	s     *shop
	http  *http.Client
	agent string
}

func (s *shop) browser(agent string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	return &browser{s, &http.Client{Jar: jar}, agent}
}

func (b *browser) do(method, path string, form ...string) (status int, body string) {
	b.s.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r, err := http.NewRequestWithContext(context.Background(), method, b.s.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		b.s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", b.agent)
	res, err := b.http.Do(r)
	if err != nil {
		b.s.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.s.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (b *browser) login(user string) *browser {
	b.s.Helper()
	if status, body := b.do("POST", "/login", "user", user, "password", "correct horse"); status != 200 {
		b.s.Fatalf("login: got %d %s", status, body)
	}
	return b
}

// table ends the application and returns the entries about a principal, the first one first.
func (s *shop) table(principal string) []entry {
	s.Helper()
	s.end()
	return read(s.T, s.file, principal)
}

func read(t *testing.T, file, principal string) []entry {
	t.Helper()
	a, err := openAudit(t.Context(), file, slog.New(slog.DiscardHandler), 1, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	list, err := a.entries(t.Context(), principal, 1000)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

func (e entry) short() string {
	return fmt.Sprintf("%s %s: %s by %q", e.Event, e.Reason, e.Principal, e.By)
}

// wants checks the entries in the table and those in the log.
func (s *shop) wants(principal string, want ...string) []entry {
	s.Helper()
	list := s.table(principal)
	var got, inLog []string
	for _, e := range list {
		got = append(got, e.short())
		if age := time.Since(e.Time); age < -time.Minute || age > time.Hour {
			s.Errorf("%s: time %v", e.short(), e.Time)
		}
	}
	if !slices.Equal(got, want) {
		s.Errorf("the table has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for line := range strings.Lines(s.log.text.String()) {
		var e struct{ Msg, Event, Reason, Principal, By string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.Fatal(err)
		}
		if e.Msg == "audit" && (principal == "" || e.Principal == principal || e.By == principal) {
			inLog = append(inLog, entry{Event: e.Event, Reason: e.Reason, Principal: e.Principal, By: e.By}.short())
		}
	}
	if !slices.Equal(inLog, want) {
		s.Errorf("the log has\n%s\nwant\n%s", strings.Join(inLog, "\n"), strings.Join(want, "\n"))
	}
	return list
}

func TestLifeOfALogin(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(firefox)
	b.do("POST", "/login", "user", "carl", "password", "wrong")
	b.login("carl")
	b.do("POST", "/sell")
	b.do("POST", "/confirm", "password", "wrong")
	b.do("POST", "/confirm", "password", "correct horse")
	b.do("POST", "/logout")
	list := s.wants("carl", `failed login : carl by ""`, `login : carl by ""`, `renewed : carl by ""`,
		`failed login : carl by ""`,
		`elevated : carl by ""`, `logout : carl by ""`)
	for _, e := range list {
		if e.Address != "127.0.0.1" || e.UserAgent != firefox {
			t.Errorf("%s: address %q, User-Agent %q", e.Event, e.Address, e.UserAgent)
		}
		if e.Event != "failed login" && (e.Handle != list[1].Handle || e.Handle == "" ||
			!strings.Contains(e.Label, "Firefox")) {
			t.Errorf("%s: handle %q, label %q", e.Event, e.Handle, e.Label)
		}
	}
}

// Somebody may have entered the password as the name.
func TestUnknownNameIsNotLogged(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.browser(firefox).do("POST", "/login", "user", "hunter2", "password", "")
	s.wants("", `failed login :  by ""`)
	if strings.Contains(s.log.text.String(), "hunter2") {
		t.Error("the log has the name")
	}
}

func TestRevocationNamesWhoDidIt(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.browser(safari).login("carl")
	ann := s.browser(firefox).login("ann")
	if status, body := ann.do("POST", "/revoke", "user", "carl"); status != 200 || body != "1 sessions ended.\n" {
		t.Errorf("revoke: got %d %s", status, body)
	}
	s.browser(safari).login("carl")
	if n, err := s.own.RevokeAll(by(t.Context(), "nightly job"), "carl"); n != 1 || err != nil {
		t.Errorf("RevokeAll: got %d, %v", n, err)
	}
	list := s.wants("carl", `login : carl by ""`, `revoked : carl by "ann"`, `login : carl by ""`,
		`revoked : carl by "nightly job"`)
	if e := list[1]; e.UserAgent != firefox || !strings.Contains(e.Label, "Safari") || e.Handle != list[0].Handle {
		t.Errorf("got %+v: want ann's User-Agent, and carl's label and handle", e)
	}
}

func TestActingNamesBoth(t *testing.T) {
	t.Parallel()
	s := start(t)
	ann := s.browser(firefox).login("ann")
	if _, body := ann.do("POST", "/act", "user", "carl"); !strings.Contains(body, "You act for carl.") {
		t.Errorf("got %s", body)
	}
	ann.do("POST", "/act/end")
	s.wants("carl", `acting login : carl by "ann"`, `acting logout : carl by "ann"`)
}

func TestEviction(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "audit.db"), memstore.New(&memstore.Options{MaxSessions: 1}))
	s.browser(firefox).login("carl")
	s.browser(firefox).login("ann")
	s.wants("carl", `login : carl by ""`, `evicted : carl by ""`)
}

func TestRejectedCookies(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(firefox)
	site, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	b.http.Jar.SetCookies(site, []*http.Cookie{{Name: "session", Value: "made-by-hand"}})
	b.do("GET", "/")
	list := s.wants("", `rejected malformed:  by ""`)
	if len(list) == 1 && list[0].Address != "127.0.0.1" {
		t.Errorf("address %q", list[0].Address)
	}
}

func TestRejectedCookiesAreLimited(t *testing.T) {
	t.Parallel()
	s := start(t)
	now, admitted := time.Now(), 0
	for range 100 {
		if skipped, ok := s.audit.admit(now); ok {
			if admitted++; skipped != 0 {
				t.Errorf("after %d: %d skipped", admitted, skipped)
			}
		}
	}
	if admitted != maxRejected {
		t.Errorf("admitted %d, want %d", admitted, maxRejected)
	}
	now = now.Add(time.Minute)
	if skipped, ok := s.audit.admit(now); !ok || skipped != 100-maxRejected {
		t.Errorf("in the next minute: got %v, %d skipped", ok, skipped)
	}
	for range maxRejected + 9 {
		s.audit.admit(now)
	}
	list := s.table("")
	if len(list) != 1 || list[0].More != 10 {
		t.Errorf("at the end: got %+v, want one entry of 10 that were left out", list)
	}
}

// outage takes the table away, and returns what brings it back.
func outage(t *testing.T, a *auditLog) (end func()) {
	t.Helper()
	exec := func(statement string) {
		if _, err := a.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec("ALTER TABLE audit RENAME TO gone")
	return func() { exec("ALTER TABLE gone RENAME TO audit") }
}

func TestOutageOfTheTable(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]bool{"the table comes back": true, "it is closed meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "audit.db")
			log := &logged{}
			a, err := openAudit(t.Context(), file, slog.New(slog.NewJSONHandler(log, nil)), 4, time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			end := outage(t, a)
			for range 10 {
				a.failedLogin(t.Context(), "carl")
			}
			if back {
				end()
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.text.String(), `"event":"failed login"`); n != 10 {
				t.Errorf("the log has %d entries, want all 10", n)
			}
			if !back {
				if !strings.Contains(log.text.String(), `only this log has","lost":10`) {
					t.Errorf("the log doesn't say that 10 are lost: %s", log.text.String())
				}
				return
			}
			var written, lost int64
			for _, e := range read(t, file, "") {
				if e.Event == "lost" {
					lost += e.More
				} else {
					written++
				}
			}
			if written+lost != 10 || lost < 5 || written < 4 {
				t.Errorf("%d entries and %d lost, want 10 in sum and 4 or 5 that waited", written, lost)
			}
		})
	}
}

func TestNewDevice(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.db")
	var notices []string
	for _, agent := range []string{firefox, firefox, safari, firefox, safari} {
		s := open(t, file, memstore.New(nil))
		s.notify = func(user, label, address string) { notices = append(notices, user+" "+label+" "+address) }
		s.browser(agent).login("carl")
		s.end()
	}
	if len(notices) != 1 || !strings.HasPrefix(notices[0], "carl Safari") ||
		!strings.HasSuffix(notices[0], " 127.0.0.1") {
		t.Errorf("got notices %q, want one of Safari", notices)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := start(t)
	carl := s.browser(safari).login("carl")
	if status, _ := carl.do("GET", "/audit"); status != http.StatusForbidden {
		t.Errorf("carl: got %d, want 403", status)
	}
	s.end()
	s = open(t, s.file, memstore.New(nil))
	if status, body := s.browser(firefox).login("ann").do("GET", "/audit?user=carl"); status != 200 ||
		!strings.Contains(body, "<td>login<td><td>carl") {
		t.Errorf("ann: got %d %s", status, body)
	}
}
