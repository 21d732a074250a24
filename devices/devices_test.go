package devices_test

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/devices"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// device is a browser.
type device struct {
	*testing.T
	base, agent string
	http.Client
}

func (d *device) do(r *http.Request, err error) (int, string) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
	r.Header.Set("User-Agent", d.agent)
	res, err := d.Do(r)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		d.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func (d *device) get(path string) (int, string) {
	d.Helper()
	return d.do(http.NewRequestWithContext(d.Context(), "GET", d.base+path, nil))
}

func (d *device) post(path string, form url.Values, header ...string) (int, string) {
	d.Helper()
	r, err := http.NewRequestWithContext(d.Context(), "POST", d.base+path, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return d.do(r, err)
}

func (d *device) user() string {
	d.Helper()
	_, body := d.get("/")
	return body
}

const windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"

// bound is dbsc.Bound, by its name.
const bound session.PublicAttribute[bool] = "github.com/hipflask/session/dbsc"

// start serves an application with the page below two prefixes, and returns what makes its browsers.
func start(t *testing.T, options *devices.Options, config ...func(*session.Config)) func(user, agent string) *device {
	t.Helper()
	sessions := sessiontest.New(t, config...)
	mux := http.NewServeMux()
	mux.Handle("/devices", devices.New(sessions, options))
	mux.Handle("/a/devices/", http.StripPrefix("/a/devices", devices.New(sessions, options)))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, session.From(r).Principal())
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Login(r.FormValue("user"))
		s.SetLabel(devices.Label(r))
		if r.FormValue("bound") != "" {
			bound.Set(s, true)
		}
	})
	server := httptest.NewServer(sessions.Handler(mux))
	t.Cleanup(server.Close)
	return func(user, agent string) *device {
		t.Helper()
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := &device{t, server.URL, agent, http.Client{Jar: jar}}
		if user != "" {
			d.post("/login", url.Values{"user": {user}})
		}
		return d
	}
}

var (
	row    = regexp.MustCompile(`(?s)<li>.*?</li>`)
	handle = regexp.MustCompile(`name="handle" value="([^"]+)"`)
)

// rows returns what the page shows of each session.
func (d *device) rows() []string {
	d.Helper()
	_, body := d.get("/devices")
	return row.FindAllString(body, -1)
}

func TestPage(t *testing.T) {
	t.Parallel()
	login := start(t, nil)
	here := login("ann", windows)
	there := login("ann", "curl/8.0")
	there.post("/login", url.Values{"user": {"ann"}, "bound": {"yes"}})
	login("bob", windows)

	rows := here.rows()
	if len(rows) != 2 {
		t.Fatalf("got %d sessions, want ann's two: %s", len(rows), rows)
	}
	if r := rows[0]; !strings.Contains(r, "Firefox on Windows <span>this device</span>") ||
		strings.Contains(r, "bound") ||
		!strings.Contains(r, "First seen") || !strings.Contains(r, "Last seen") ||
		strings.Count(r, `<time datetime="2`) != 2 {
		t.Errorf("this device: %s", r)
	}
	if r := rows[1]; !strings.Contains(r, "curl") || strings.Contains(r, "this device") ||
		!strings.Contains(r, "bound to that device") {
		t.Errorf("the other device: %s", r)
	}
	if r := there.rows()[0]; !strings.Contains(r, "bound to this device") {
		t.Errorf("a bound session's own row: %s", r)
	}
}

func TestEndOne(t *testing.T) {
	t.Parallel()
	login := start(t, nil)
	for _, path := range []string{"/devices", "/a/devices/"} {
		here, there, bob := login("ann", windows), login("ann", windows), login("bob", windows)
		bobs := handle.FindStringSubmatch(bob.rows()[0])[1]
		if status, body := here.post(path, url.Values{"handle": {bobs}}); status != 200 ||
			!strings.Contains(body, "was logged out already") {
			t.Errorf("ending another user's session: got %d: %s", status, body)
		}
		if got := bob.user(); got != "bob" {
			t.Errorf("bob is %q", got)
		}
		theirs := handle.FindStringSubmatch(there.rows()[0])[1]
		if status, body := here.post(path, url.Values{"handle": {theirs}}); status != 200 ||
			!strings.Contains(body, "That device is logged out.") {
			t.Errorf("ending another session: got %d: %s", status, body)
		}
		if got := there.user() + here.user(); got != "ann" {
			t.Errorf("logged in afterwards: %q, want ann here alone", got)
		}
		own := handle.FindStringSubmatch(here.rows()[0])[1]
		if status, body := here.post(path, url.Values{"handle": {own}}); status != 200 || body != "" {
			t.Errorf("ending this session: got %d %q, want the home page of nobody", status, body)
		}
	}
}

func TestEndOthers(t *testing.T) {
	t.Parallel()
	login := start(t, nil)
	here, there, third, bob := login("ann", windows), login("ann", windows), login("ann", windows),
		login("bob", windows)
	u, err := url.Parse(here.base)
	if err != nil {
		t.Fatal(err)
	}
	copied := here.Jar.Cookies(u)
	if status, body := here.post("/devices", url.Values{"others": {"yes"}}); status != 200 ||
		!strings.Contains(body, "All other devices are logged out.") {
		t.Errorf("got %d: %s", status, body)
	}
	if got := here.user() + there.user() + third.user() + bob.user(); got != "annbob" {
		t.Errorf("logged in afterwards: %q, want ann here and bob", got)
	}
	thief := login("", windows)
	thief.Jar.SetCookies(u, copied)
	if got := thief.user(); got != "" {
		t.Errorf("a copy of this browser's earlier cookie is %q", got)
	}
	if rows := here.rows(); len(rows) != 1 {
		t.Errorf("got %d sessions, want one", len(rows))
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	login := start(t, nil)
	here, there := login("ann", windows), login("ann", windows)
	form := url.Values{"others": {"yes"}}
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"}} {
		if status, _ := here.post("/devices", form, header...); status != http.StatusForbidden {
			t.Errorf("a form of another site, %q: got %d, want 403", header, status)
		}
	}
	here.get("/devices?others=yes&handle=" + handle.FindStringSubmatch(there.rows()[0])[1])
	if status, _ := here.post("/devices?others=yes", nil); status != http.StatusBadRequest {
		t.Errorf("an empty form: got %d, want 400", status)
	}
	if status, _ := here.do(http.NewRequestWithContext(t.Context(), "DELETE", here.base+"/devices",
		nil)); status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: got %d, want 405", status)
	}
	if got := there.user(); got != "ann" {
		t.Error("the other session has ended")
	}
	nobody := login("", windows)
	if status, body := nobody.get("/devices"); status != http.StatusUnauthorized ||
		!strings.Contains(body, "You are not logged in.") {
		t.Errorf("nobody: got %d: %s", status, body)
	}
	if status, _ := nobody.post("/devices", form); status != http.StatusUnauthorized {
		t.Errorf("a form of nobody: got %d, want 401", status)
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	here := start(t, nil, func(c *session.Config) { c.Store = broken })("ann", windows)
	broken.Fail(errors.New("down"))
	if status, _ := here.get("/devices"); status != http.StatusServiceUnavailable {
		t.Errorf("the page: got %d, want 503", status)
	}
	if status, _ := here.post("/devices", url.Values{"others": {"yes"}}); status != http.StatusServiceUnavailable {
		t.Errorf("the form: got %d, want 503", status)
	}
}

// A store that lists nothing leaves this session, which can be ended.
func TestNoList(t *testing.T) {
	t.Parallel()
	here := start(t, nil, func(c *session.Config) {
		c.Store = struct{ store.Store }{memstore.New(nil)}
	})("ann", windows)
	_, body := here.get("/devices")
	if !strings.Contains(body, "Other devices can&#39;t be listed here.") || strings.Contains(body, `name="others"`) {
		t.Errorf("the page: %s", body)
	}
	here.post("/devices", url.Values{"handle": {handle.FindStringSubmatch(body)[1]}})
	if got := here.user(); got != "" {
		t.Errorf("logged in after the logout: %q", got)
	}
}

// A page of a user with very many sessions has the ones that were used last.
func TestManySessions(t *testing.T) {
	t.Parallel()
	kept := memstore.New(nil)
	here := start(t, nil, func(c *session.Config) { c.Store = kept })("ann", windows)
	now := time.Now()
	for i := range 350 {
		seen := now.Add(-time.Duration(i+1) * time.Minute)
		if err := kept.Create(t.Context(), store.Record{Key: fmt.Sprint("key-number-", i),
			Handle: fmt.Sprint("handle", i), Version: 1, Principal: "ann",
			Label: fmt.Sprintf("no %d.", i), Data: []byte("{}"), CreatedAt: seen,
			LastSeenAt: seen, ExpiresAt: now.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	_, body := here.get("/devices")
	if got := len(row.FindAllString(body, -1)); got != 100 {
		t.Errorf("got %d rows, want 100", got)
	}
	for _, want := range []string{"this device", "no 0.", "no 98.", "251 more"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestOwnTexts(t *testing.T) {
	t.Parallel()
	login := start(t, &devices.Options{AfterLogout: "/devices", Texts: devices.Texts{
		Language: "de", Title: "Deine Geräte", This: "dieses Gerät & <b>", Nobody: "Niemand ist angemeldet.",
		Time: func(t time.Time) string { return t.UTC().Format("2.1.2006") },
	}})
	here := login("ann", windows)
	_, body := here.get("/devices")
	for _, want := range []string{`lang="de"`, "<h1>Deine Geräte</h1>", "dieses Gerät &amp; &lt;b&gt;",
		time.Now().UTC().Format("2.1.2006"), "Log out"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q: %s", want, body)
		}
	}
	if _, body := here.post("/devices", url.Values{"handle": {handle.FindStringSubmatch(body)[1]}}); !strings.Contains(
		body, "Niemand ist angemeldet.") {
		t.Errorf("after the logout: %s", body)
	}
}

func TestOwnTemplate(t *testing.T) {
	t.Parallel()
	own := template.Must(template.New("own").Parse(
		`{{.Notice}}|{{range .Devices}}{{.Label}},{{.Handle}},{{.This}},{{.Bound}};{{end}}`))
	login := start(t, &devices.Options{Template: own})
	here := login("ann", windows)
	login("ann", "")
	if _, body := here.get("/devices?done=one"); !regexp.MustCompile(
		`^That device is logged out\.\|Firefox on Windows,\S+,true,false;` +
			`Unknown browser,\S+,false,false;$`).MatchString(body) {
		t.Errorf("got %s", body)
	}
}

// What a browser claims to be is text.
func TestHostileLabel(t *testing.T) {
	t.Parallel()
	login := start(t, nil)
	d := login("ann", "<script>alert(1)</script>/1.0")
	if _, body := d.get("/devices"); strings.Contains(body, "<script") {
		t.Errorf("the label is not escaped: %s", body)
	}
}
