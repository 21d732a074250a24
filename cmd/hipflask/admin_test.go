package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// start runs a command that serves until the test ends, and returns the address that it prints, and what it says.
func start(t *testing.T, env map[string]string, args ...string) (address string, said *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	said = &bytes.Buffer{}
	a := &app{in: strings.NewReader(""), out: in, errs: said, env: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, args, a)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("%q: got exit code %d, want 0: %s", args, code, said)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, found, ok := strings.Cut(lines.Text(), "open "); ok {
			go io.Copy(io.Discard, out)
			return found, said
		}
	}
	t.Fatalf("%q prints no address", args)
	return "", nil
}

func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	res, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestAdminNeedsToken(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sessions")
	if err := seed([]string{"file:" + dir, "ann-phone", "ann", "phone", "2h", "5m"}); err != nil {
		t.Fatal(err)
	}
	address, said := start(t, map[string]string{"SESSION_STORE": "file:" + dir}, "admin", "--addr", "127.0.0.1:0")
	if said.Len() > 0 {
		t.Errorf("it says %q, want nothing", said)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	token := u.Query().Get("token")
	root := "http://" + u.Host + "/"
	for _, path := range []string{"", "?token=", "?token=" + token + "x", "?token=" + strings.ToUpper(token),
		"style.css", "end?handle=ann-phone&user=ann"} {
		if status, body := get(t, browser(t), root+path); status != http.StatusForbidden ||
			strings.Contains(body, "ann") {
			t.Errorf("%q: got %d, want 403: %s", path, status, body)
		}
	}
	guess := browser(t)
	guess.Jar.SetCookies(u, []*http.Cookie{{Name: "hipflask-admin-" + u.Port(), Value: token}})
	if status, _ := get(t, guess, root); status != http.StatusForbidden {
		t.Errorf("the token as a cookie: got %d, want 403", status)
	}

	b := browser(t)
	status, body := get(t, b, address)
	if status != 200 || !strings.Contains(body, "ann") || !strings.Contains(body, "Sessions in file:"+dir) {
		t.Fatalf("with the token: got %d: %s", status, body)
	}
	if strings.Contains(body, token) {
		t.Error("the page shows the token")
	}
	if status, body := get(t, browser(t), address); status != http.StatusForbidden || strings.Contains(body, "ann") {
		t.Errorf("the token in a second browser: got %d, want 403: %s", status, body)
	}
	if status, _ := get(t, b, address); status != 200 {
		t.Errorf("the address again in the first browser: got %d, want 200", status)
	}
	res, err := b.PostForm(root+"end", url.Values{"user": {"ann"}, "handle": {"ann-phone"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Request.URL.String(); got != root+"?ended=1" {
		t.Errorf("after ending a session: got %q, want the list", got)
	}
}

func TestAdminWarnsOfOtherMachines(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sessions")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	address, said := start(t, nil, "admin", "--addr", ":0", "--store", "file:"+dir)
	_, port, _ := strings.Cut(strings.TrimPrefix(address, "http://["), "]:")
	port, _, _ = strings.Cut(port, "/")
	get(t, browser(t), "http://127.0.0.1:"+port+"/") // an answer: what it has to say is said
	if !strings.Contains(said.String(), "other machines can reach this page") {
		t.Errorf("it says %q, want a warning", said)
	}
}

// What a stranger does first: serve, log in, look, end.
func TestServe(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sessions")
	env := map[string]string{"SESSION_STORE": "file:" + dir}
	address, said := start(t, env, "serve", "--addr", "127.0.0.1:0")
	if want := "hipflask ls --store file:" + dir; !strings.Contains(said.String(), want) {
		t.Errorf("it says %q, want %q", said, want)
	}
	b := browser(t)
	if _, err := b.PostForm(address+"login", url.Values{"username": {"ann"}}); err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, b, address); !strings.Contains(body, "Logged in as") {
		t.Fatalf("after the login: %s", body)
	}
	command := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		a := &app{out: &out, errs: &errs, env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
		if code := run(t.Context(), args, a); code != exitOK {
			t.Errorf("%q: got exit code %d: %s", args, code, &errs)
		}
		return out.String()
	}
	if got := command("ls"); !strings.Contains(got, "  ann  ") {
		t.Errorf("ls: got %q, want ann's session", got)
	}
	if got := command("revoke", "--principal", "ann"); got != "1 session ended\n" {
		t.Errorf("revoke: got %q", got)
	}
	if _, body := get(t, b, address); !strings.Contains(body, "You are not logged in") {
		t.Errorf("after the end: %s", body)
	}
}
