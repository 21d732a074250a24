package app

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// output collects what the program says and lets a test wait for its address.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	addr chan string
}

var listening = regexp.MustCompile(`open (http://\S+/)`)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if found := listening.FindSubmatch(p); found != nil {
		o.addr <- string(found[1])
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the program as main does, on a free port, and returns its address and a way to stop it.
func start(t *testing.T, args ...string) (base string, out *output, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out = &output{addr: make(chan string, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, "login", append([]string{"-addr", "127.0.0.1:0"}, args...), func(string) string {
			return ""
		}, out, Open)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case base = <-out.addr:
	case err := <-ended:
		cancel()
		t.Fatalf("Run ended with %v; it said: %s", err, out)
	}
	t.Cleanup(stop)
	return base, out, stop
}

// visitor is a browser.
type visitor struct {
	t    *testing.T
	base string
	http.Client
}

func visit(t *testing.T, base string) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, base, http.Client{Jar: jar}}
}

func (v *visitor) read(res *http.Response, err error) (int, string) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	return v.read(v.Get(v.base + path))
}

func (v *visitor) post(path string, form url.Values) (int, string) {
	v.t.Helper()
	return v.read(v.PostForm(v.base+path, form))
}

func (v *visitor) login(name string) {
	v.t.Helper()
	if _, body := v.post("login", url.Values{"username": {name}}); !strings.Contains(body, "Logged in as") {
		v.t.Fatalf("login as %q shows %s", name, body)
	}
}

func (v *visitor) sees(what string) {
	v.t.Helper()
	if _, body := v.get(""); !strings.Contains(body, what) {
		v.t.Errorf("the page lacks %q: %s", what, body)
	}
}

func TestLoginAndLogout(t *testing.T) {
	t.Parallel()
	base, _, _ := start(t, "-store", "memory:")
	v := visit(t, base)
	v.sees("You are not logged in")
	if _, body := v.post("login", url.Values{"username": {" admin "}}); !strings.Contains(body, "Welcome, admin!") {
		t.Errorf("no flash after the login: %s", body)
	}
	v.sees("Logged in as <strong>admin</strong>")
	v.sees("You have been here 3 times")
	if _, body := v.post("logout", nil); !strings.Contains(body, "You are logged out.") ||
		!strings.Contains(body, "You are not logged in") {
		t.Errorf("after the logout: %s", body)
	}
	v.sees("You are not logged in")
}

func TestBadNames(t *testing.T) {
	t.Parallel()
	base, _, _ := start(t, "-store", "memory:")
	v := visit(t, base)
	for name, problem := range map[string]string{
		"":                                "Please enter a name",
		"   ":                             "Please enter a name",
		strings.Repeat("x", maxName+1):    "too long",
		strings.Repeat("x", 100_000):      "Please enter a name", // more than the form may have
		"a\x00b":                          "can&#39;t be shown",
		"\xff\xfe":                        "can&#39;t be shown",
		strings.Repeat("\U0001F36A", 200): "too long",
	} {
		status, body := v.post("login", url.Values{"username": {name}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(body, problem) {
			t.Errorf("a name of %d bytes: got %d, want 422 and %q: %s", len(name), status, problem, body)
		}
	}
	v.sees("You are not logged in")

	v.login(strings.Repeat("\U0001F36A", maxName))
	if _, body := v.post("login", url.Values{"username": {"<script>alert(1)</script>"}}); strings.Contains(body,
		"<script>") {
		t.Errorf("the name is not escaped: %s", body)
	}
}

func TestOtherSitesCannotLogOut(t *testing.T) {
	t.Parallel()
	base, _, _ := start(t, "-store", "memory:")
	v := visit(t, base)
	v.login("ann")
	r, err := http.NewRequestWithContext(t.Context(), "POST", base+"logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, _ := v.read(v.Do(r)); status != http.StatusForbidden {
		t.Errorf("a logout from another site: got %d, want 403", status)
	}
	if status, _ := v.get("logout"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /logout: got %d, want 405", status)
	}
	v.sees("Logged in as")
}

func TestStepUp(t *testing.T) {
	t.Parallel()
	base, _, _ := start(t, "-store", "memory:")
	v := visit(t, base)
	codes := func() string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", base+"codes", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		_, body := v.read(v.Do(r))
		return body
	}
	if body := codes(); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Errorf("nobody sees %s", body)
	}
	v.login("ann")
	if body := codes(); !strings.Contains(body, "Any six digits will do, ann.") {
		t.Errorf("by a password alone: %s", body)
	}
	before := v.Jar.Cookies(parse(t, base))
	for _, code := range []string{"", "12345", "1234567", "12345x"} {
		if status, body := v.post("confirm?next=/codes", url.Values{"code": {code}}); status !=
			http.StatusUnprocessableEntity || !strings.Contains(body, "six digits") {
			t.Errorf("code %q: got %d: %s", code, status, body)
		}
	}
	if _, body := v.post("confirm?next=/codes", url.Values{"code": {"123456"}}); !strings.Contains(body,
		"Your recovery codes") {
		t.Errorf("with a code: %s", body)
	}
	thief := visit(t, base)
	thief.Jar.SetCookies(parse(t, base), before)
	thief.sees("You are not logged in")
}

func TestEndSessions(t *testing.T) {
	t.Parallel()
	base, _, _ := start(t, "-store", "memory:")
	here, there := visit(t, base), visit(t, base)
	here.login("ann")
	there.login("ann")
	here.sees(`href="/devices"`)
	if _, body := here.get("devices"); strings.Count(body, "<li>") != 2 ||
		!strings.Contains(body, "Go-http-client <span>this device</span>") {
		t.Errorf("the page of devices: %s", body)
	}
	if _, body := here.post("devices", url.Values{"others": {"yes"}}); !strings.Contains(body,
		"All other devices are logged out.") {
		t.Errorf("after logging out elsewhere: %s", body)
	}
	there.sees("You are not logged in")
	here.sees("Logged in as")
}

func TestRestartKeepsLogin(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sessions")
	base, out, stop := start(t, "-store", "file:"+dir)
	if !strings.Contains(out.String(), "secret_key") {
		t.Errorf("it does not say where it keeps the key it made: %s", out)
	}
	info, err := os.Stat(filepath.Join(dir, "secret_key"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); runtime.GOOS != "windows" && got != 0o600 {
		t.Errorf("the key's file: got mode %o, want 600", got)
	}
	v := visit(t, base)
	v.login("ann")
	cookies := v.Jar.Cookies(parse(t, base))
	stop()

	base, out, _ = start(t, "-store", "file:"+dir)
	if strings.Contains(out.String(), "made one") {
		t.Errorf("the restart made another key: %s", out)
	}
	v = visit(t, base)
	v.Jar.SetCookies(parse(t, base), cookies)
	v.sees("Logged in as <strong>ann</strong>")
}

func parse(t *testing.T, base string) *url.URL {
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, args := range map[string][]string{
		"choose another port with -addr": {"-addr", taken.Addr().String()},
		"hipflask serve --store URL":     {"-addr", "127.0.0.1:0", "-store", "floppy:"},
		"knows memory: and file:DIR":     {"-addr", "127.0.0.1:0", "-store", "redis://127.0.0.1"},
		"-store: this program":           {"-addr", "127.0.0.1:0", "-store", "file:"},
		"SecretKey has 5 bytes":          {"-addr", "127.0.0.1:0", "-store", "memory:", "-secret-key", "short"},
		"unexpected argument":            {"-addr", "127.0.0.1:0", "extra"},
	} {
		err := Run(t.Context(), "login", args, func(string) string { return "" }, io.Discard, Open)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", args, err, want)
		}
	}
}

// Settings come from the environment, too, where other users don't see them. A key that was given is not written down.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sessions")
	ctx, stop := context.WithCancel(t.Context())
	out := &output{addr: make(chan string, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, "login", []string{"-addr", "127.0.0.1:0"}, func(name string) string {
			return map[string]string{"SECRET_KEY": "Xk4Tq9ZbW7mRv2Ld8NsHy3Gc", "SESSION_STORE": "file:" + dir}[name]
		}, out, Open)
	}()
	select {
	case <-out.addr:
	case err := <-ended:
		t.Fatalf("Run ended with %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("SESSION_STORE was ignored: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "secret_key")); err == nil {
		t.Error("a given key was written to a file")
	}
}

// Behind a proxy with https the cookie is Secure, also on this machine's own address.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	base, _, _ := start(t, "-store", "memory:", "-https")
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.PostForm(base+"login", url.Values{"username": {"ann"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Cookies(); len(got) != 1 || !got[0].Secure || !strings.HasPrefix(got[0].Name, "__Host-") {
		t.Errorf("got cookies %v, want one that is Secure", got)
	}
}
