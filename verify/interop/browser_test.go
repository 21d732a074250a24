package interop

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// tab is a tab of a real browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func newTab(t *testing.T) tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // the tests may run as root, in a container
		chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-component-update", true))
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			options = append(options, chromedp.ExecPath(path))
			break
		}
	}
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		chromedp.Cancel(ctx)
		cancel()
		cancelAllocator()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return tab{t, ctx}
}

// do runs actions, and waits for the page that they lead to.
func (b tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute) // of a slow machine; nothing waits for it to pass
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Steps(actions...)); err != nil {
		b.t.Fatal(err)
	}
}

func (b tab) wants(url, text string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
	body, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil || !strings.Contains(body, text) {
		b.t.Errorf("%s: got %q, %v; want %q", url, body, err, text)
	}
}

// post sends a form as the page's own script would.
func (b tab) post(path, form string) {
	b.t.Helper()
	script := fmt.Sprintf("fetch(%q, {method: 'POST', body: new URLSearchParams(%q)}).then(r => String(r.status))",
		path, form)
	status, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil || status != "200" {
		b.t.Fatalf("POST %s: got %s, %v", path, status, err)
	}
}

// TestTutorial: the application that Flask's quickstart prints and examples/login, in a browser that goes to and fro.
func TestTutorial(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "flask")
	if out, err := exec.Command("go", "build", "-o", program,
		"github.com/hipflask/session/examples/login/flask").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	cmd := exec.Command(program, "-addr", "127.0.0.1:0", "-flask-port", "0", "-python", python)
	// the key that the quickstart prints, without the byte that is no text
	cmd.Env = append(os.Environ(), "SECRET_KEY=_5#y2L\"F4Q8z\n]/")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // so that it stops Flask too
		cmd.Wait()
	})
	flaskAt, goAt, all := "", "", ""
	for lines := bufio.NewScanner(said); goAt == "" && lines.Scan(); {
		all += lines.Text() + "\n"
		if found := regexp.MustCompile(`application is at (http://\S+)/`).FindStringSubmatch(
			lines.Text()); found != nil {
			flaskAt = found[1]
		}
		if found := regexp.MustCompile(`open (http://\S+)/`).FindStringSubmatch(lines.Text()); found != nil {
			goAt = found[1]
		}
	}
	if flaskAt == "" || goAt == "" {
		t.Fatalf("it said %s", all)
	}

	b := newTab(t)
	login := func(at, name, submit string) {
		t.Helper()
		b.do(chromedp.Navigate(at + "/login"))
		if _, err := chromedp.Run(b.ctx, chromedp.SetValue(chromedp.CSS("input[name=username]"), name)); err != nil {
			t.Fatal(err)
		}
		b.do(chromedp.Click(chromedp.CSS(submit)))
	}
	logoutInGo := func() {
		t.Helper()
		b.do(chromedp.Navigate(goAt + "/"))
		b.do(chromedp.Click(chromedp.CSS(`form[action="/logout"] button`)))
	}
	b.wants(flaskAt+"/", "You are not logged in")
	b.wants(goAt+"/", "You are not logged in")
	login(flaskAt, "Zoë", "input[type=submit]")
	b.wants(goAt+"/", "Logged in as Zoë")
	b.wants(flaskAt+"/", "Logged in as Zoë")
	logoutInGo()
	b.wants(flaskAt+"/", "You are not logged in")
	login(goAt, "Bob", "button.main")
	b.wants(flaskAt+"/", "Logged in as Bob")
	b.wants(flaskAt+"/logout", "You are not logged in")
	b.wants(goAt+"/", "You are not logged in")
}

// TestRememberedInBrowser: a logout in Go is final although Flask-Login's remember-me cookie was there, and Flask-Login
// deletes it.
func TestRememberedInBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t, "a-key")
	b := newTab(t)
	b.wants(s.base+"/flask/me", `"user":null`)
	b.post("/flask/login", "username=ann&stay=yes")
	b.wants(s.base+"/go/me", `"user":"ann"`)
	b.post("/go/logout", "")
	b.wants(s.base+"/flask/me", `"user":null`)
	b.wants(s.base+"/go/me", `"user":null`)
	b.wants(s.base+"/flask/me", `"user":null`)
}
