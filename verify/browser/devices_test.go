package browser

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// claims lets the browser say that it is another one.
func (b tab) claims(agent string) {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetUserAgentOverride,
			emulation.SetUserAgentOverrideParams{UserAgent: agent})
		return err
	}))
}

// TestDevices is a user who looks at the own devices and ends them, by mouse and by keyboard. Its pictures are in docs.
func TestDevices(t *testing.T) {
	base, _ := serve(t, filepath.Join(t.TempDir(), "sessions"), "")
	here, _ := open(t, base, t.TempDir())
	phone, _ := open(t, base, t.TempDir())
	tablet := visitor(t, base, "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "+
		"like Gecko) Version/18.0 Mobile/15E148 Safari/604.1")
	phone.claims("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0")
	phone.login("ann", true)
	tablet.login("ann")
	here.login("ann", true)

	here.loaded(chromedp.Click(chromedp.CSS(`a[href="/devices"]`)))
	here.wantHeading("Your devices")
	for _, want := range []string{"on Linux this device", "Firefox on Android", "Safari on iPad", "First seen",
		"Last seen"} {
		here.wantText(want)
	}
	for _, width := range []int64{1000, 320} {
		here.look("devices", width, false)
		here.look("devices", width, true)
		if wide := get(here, chromedp.Evaluate[int]("document.documentElement.scrollWidth")); wide > int(width) {
			t.Errorf("at %d pixels the page is %d wide", width, wide)
		}
	}
	if got, want := get(here, chromedp.Evaluate[string]("getComputedStyle(document.body).backgroundColor")),
		"rgb(27, 25, 23)"; got != want {
		t.Errorf("in the dark the ground is %s, want %s: the page's style is not applied", got, want)
	}

	// The first row is this device's: the second Tab reaches the button of another, and Enter presses it.
	here.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\t"))
	if got := get(here, chromedp.Evaluate[string]("document.activeElement.closest('li').innerText")); got == "" {
		t.Error("the Tab key reaches no button of a row")
	}
	here.loaded(chromedp.KeyEvent("\r"))
	here.wantText("That device is logged out.")
	here.loaded(chromedp.Click(`//button[contains(., "everywhere else")]`))
	here.wantText("All other devices are logged out.")
	phone.visit("/")
	phone.wantHeading("You are not logged in")
	if tablet.loggedIn() {
		t.Error("the tablet is still logged in")
	}

	here.loaded(chromedp.Click(chromedp.CSS("li button")))
	here.wantHeading("You are not logged in")
	here.visit("/devices")
	here.wantText("You are not logged in.")
}

// TestStepUp is a user whose page needs more than a password.
func TestStepUp(t *testing.T) {
	b := start(t)
	b.login("ann", false)
	b.loaded(chromedp.Click(chromedp.CSS(`a[href="/codes"]`)))
	b.wantHeading("Confirm that it's you")
	b.look("confirm", 320, true)
	submit := func(code string) {
		t.Helper()
		b.do(chromedp.SetValue(chromedp.CSS("#code"), code))
		b.loaded(chromedp.Click(chromedp.CSS("button.main")))
	}
	submit("wrong")
	b.wantText("Please enter six digits.")
	submit("123456")
	b.wantHeading("Your recovery codes")
	b.loaded(chromedp.Reload())
	b.wantHeading("Your recovery codes")
	b.logout()
	b.visit("/codes")
	b.wantHeading("Log in")
}

// client is a program that claims to be a browser.
type client struct {
	*testing.T
	base, agent string
	http.Client
}

func visitor(t *testing.T, base, agent string) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, base, agent, http.Client{Jar: jar}}
}

func (c *client) do(method, path, form string) string {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), method, c.base+path, strings.NewReader(form))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("User-Agent", c.agent)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	return string(body)
}

func (c *client) login(name string) { c.Helper(); c.do("POST", "/login", "username="+name) }

func (c *client) loggedIn() bool {
	c.Helper()
	return strings.Contains(c.do("GET", "/", ""), "Logged in as")
}
