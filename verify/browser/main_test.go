package browser

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// patience bounds what one step in the browser may take on a slow machine; nothing waits for it to pass.
const patience = time.Minute

// program is the login example, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hipflask-browser")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "login")
	build := exec.Command("go", "build", "-o", path, "github.com/hipflask/session/examples/login")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the login example: %v: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	// Tests that run in parallel wait for cookies to expire most of the time.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

var address = regexp.MustCompile(`open (https?://\S+)/`)

// serve starts the login example as a process of its own. An empty addr is a free port.
func serve(t *testing.T, dir, addr string) (base string, stop func()) {
	t.Helper()
	base, _, stop = serveWith(t, dir, addr)
	return base, stop
}

// serveWith starts it with more arguments, and returns what it said as well.
func serveWith(t *testing.T, dir, addr string, more ...string) (base, said string, stop func()) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	cmd := exec.Command(path, append([]string{"-addr", addr, "-store", "file:" + dir}, more...)...)
	cmd.Env = append(os.Environ(), "SECRET_KEY=")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	t.Cleanup(stop)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said += lines.Text() + "\n"
		if found := address.FindStringSubmatch(lines.Text()); found != nil {
			return found[1], said, stop
		}
	}
	t.Fatalf("the login example ended; it said: %s", said)
	return "", "", nil
}

// tab is one tab of a browser.
type tab struct {
	*testing.T
	ctx  context.Context
	base string
}

// open starts a browser with the given profile folder and returns a tab, and what closes the browser, as a person does.
func open(t *testing.T, base, profile string, more ...chromedp.ExecAllocatorOption) (tab, func()) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // the tests may run as root, in a container
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WindowSize(1000, 800),
	)
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			options = append(options, chromedp.ExecPath(path))
			break
		}
	}
	options = append(options, more...)
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	closeBrowser := sync.OnceFunc(func() {
		chromedp.Cancel(ctx) // waits, so that the cookies are on the disk
		cancel()
		cancelAllocator()
	})
	t.Cleanup(closeBrowser)
	return tab{t, ctx, base}, closeBrowser
}

// another opens a second tab of the same browser.
func (b tab) another() tab {
	b.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.Cleanup(cancel)
	return tab{b.T, ctx, b.base}
}

type action = chromedp.Action[chromedp.Void]

// get runs one action, within patience.
func get[T any](b tab, a chromedp.Action[T]) T {
	b.Helper()
	if err := chromedp.Do(b.ctx); err != nil { // the first one makes the tab, and must not be bounded
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, a)
	if err != nil {
		html, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML"))
		b.Fatalf("%v; the page is %s", err, html)
	}
	return result
}

func (b tab) do(actions ...action) { b.Helper(); get(b, chromedp.Steps(actions...)) }

func (b tab) visit(path string) { b.Helper(); b.do(chromedp.Navigate(b.base + path)) }

// loaded runs what loads another page, and waits for that.
func (b tab) loaded(a action) {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.RunResponse(ctx, a)
		return err
	}))
}

// text is what a person can read of the first element that the selector finds.
func (b tab) text(selector string) string {
	b.Helper()
	return get(b, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector)))
}

func (b tab) wantHeading(want string) {
	b.Helper()
	if got := b.text("h1"); got != want {
		b.Errorf("got heading %q, want %q; the page says %q", got, want, b.text("body"))
	}
}

func (b tab) wantText(want string) {
	b.Helper()
	if got := b.text("body"); !strings.Contains(got, want) {
		b.Errorf("got page %q, want one with %q", got, want)
	}
}

// login fills the form and sends it.
func (b tab) login(name string, remember bool) {
	b.Helper()
	b.visit("/login")
	b.do(chromedp.SetValue(chromedp.CSS("#username"), name))
	if remember {
		b.do(chromedp.Click(chromedp.CSS("input[name=remember]")))
	}
	b.loaded(chromedp.Click(chromedp.CSS("button.main")))
}

func (b tab) logout() {
	b.Helper()
	b.visit("/")
	b.loaded(chromedp.Click(chromedp.CSS(`form[action="/logout"] button`)))
}

// cookies returns what the browser keeps for the page.
func (b tab) cookies() []*network.Cookie {
	b.Helper()
	return get(b, func(ctx context.Context, _ *chromedp.Target) ([]*network.Cookie, error) {
		r, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{})
		return r.Cookies, err
	})
}

// allowFetch switches off the pages' Content-Security-Policy, under which no script can fetch anything.
func (b tab) allowFetch() {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
		return err
	}), chromedp.Reload())
}

// look sets the window's width and the colours, and keeps a picture as test output (go test -artifacts).
func (b tab) look(name string, width int64, dark bool) {
	b.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	media := emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	b.do(chromedp.EmulateViewport(width, 700), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media)
		return err
	}))
	picture := get(b, chromedp.FullScreenshot(100))
	path := filepath.Join(b.ArtifactDir(), fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
	if err := os.WriteFile(path, picture, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Logf("screenshot: %s", path)
}

// freeAddr is a port that a server can have again after a restart.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
