package browser

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// start serves the example on a fresh store and opens a browser with a fresh profile.
func start(t *testing.T) tab {
	t.Helper()
	base, _ := serve(t, filepath.Join(t.TempDir(), "sessions"), "")
	b, _ := open(t, base, t.TempDir())
	return b
}

func TestLoginReloadLogoutBack(t *testing.T) {
	b := start(t)
	b.visit("/")
	b.wantHeading("You are not logged in")
	b.look("anonymous", 1000, false)
	b.loaded(chromedp.Click(chromedp.CSS("a.main")))
	b.wantHeading("Log in")
	for _, width := range []int64{1000, 360} {
		b.look("login", width, false)
		b.look("login", width, true)
	}
	b.login("admin", false)
	b.wantHeading("Logged in as admin")
	b.wantText("Welcome, admin!")
	b.wantText("You have been here once.")
	b.loaded(chromedp.Reload())
	b.wantText("You have been here 2 times.")
	if got := b.text("body"); strings.Contains(got, "Welcome") {
		t.Errorf("the flash message is shown twice: %q", got)
	}
	if c := b.cookies(); len(c) != 1 || !c[0].HTTPOnly || !c[0].Session || c[0].SameSite != "Lax" {
		t.Errorf("got cookies %+v, want one, HttpOnly, SameSite=Lax, for this run of the browser", c)
	}

	b.logout()
	b.wantHeading("You are not logged in")
	b.wantText("You are logged out.")
	b.loaded(chromedp.NavigateBack())
	b.wantHeading("You are not logged in")
}

func TestWrongInput(t *testing.T) {
	b := start(t)
	submit := func(name string) {
		t.Helper()
		b.visit("/login")
		get(b, chromedp.Evaluate[any](fmt.Sprintf(
			`document.querySelector("form").noValidate = true; document.querySelector("#username").value = %q`, name)))
		b.loaded(chromedp.Click(chromedp.CSS("button.main")))
	}
	submit("")
	b.wantText("Please enter a name.")
	b.look("problem", 1000, false)
	b.look("problem", 360, true)
	submit(strings.Repeat("x", 10_000))
	b.wantText("too long")
	submit("<script>document.title='owned'</script>")
	b.wantHeading("Logged in as <script>document.title='owned'</script>")
	if get(b, chromedp.Title()) == "owned" {
		t.Error("the name was run as a script")
	}
	submit("Zoë \U0001F36A")
	b.wantHeading("Logged in as Zoë \U0001F36A")
}

func TestDoubleClick(t *testing.T) {
	b := start(t)
	b.visit("/login")
	b.do(chromedp.SetValue(chromedp.CSS("#username"), "ann"))
	b.loaded(chromedp.DoubleClick(chromedp.CSS("button.main")))
	b.visit("/")
	b.wantHeading("Logged in as ann")
}

func TestTwoTabs(t *testing.T) {
	one := start(t)
	one.login("ann", false)
	two := one.another()
	two.visit("/")
	two.wantHeading("Logged in as ann")
	two.logout()
	one.loaded(chromedp.Reload())
	one.wantHeading("You are not logged in")
}

// TestParallelFetches is a page that fetches a lot while its user logs in and out: nobody loses the login by it, and
// nobody has it back after the logout.
func TestParallelFetches(t *testing.T) {
	b := start(t)
	b.visit("/")
	b.allowFetch()
	across := func(path, body string) []int {
		t.Helper()
		statuses := get(b, chromedp.Evaluate[[]int](fmt.Sprintf(`(async () => {
			const get = () => fetch("/", {cache: "no-store"}).then(r => r.status);
			const before = Array.from({length: 10}, get);
			const form = fetch(%q, {method: "POST", body: %q,
				headers: {"Content-Type": "application/x-www-form-urlencoded"}}).then(r => r.status);
			const after = Array.from({length: 10}, get);
			return Promise.all([...before, form, ...after]);
		})()`, path, body), chromedp.EvalAwaitPromise))
		for _, s := range statuses {
			if s != 200 {
				t.Errorf("got statuses %v, want 200 everywhere", statuses)
				break
			}
		}
		return statuses
	}
	for range 5 {
		if got := len(across("/login", "username=ann")); got != 21 {
			t.Fatalf("got %d answers, want 21", got)
		}
		b.visit("/")
		b.wantHeading("Logged in as ann")
		across("/logout", "")
		b.visit("/")
		b.wantHeading("You are not logged in")
	}
}

func TestRememberMeOverRestarts(t *testing.T) {
	dir, profile, addr := filepath.Join(t.TempDir(), "sessions"), t.TempDir(), freeAddr(t)
	base, stop := serve(t, dir, addr)
	b, closeBrowser := open(t, base, profile)
	b.login("ann", false)
	closeBrowser()
	b, closeBrowser = open(t, base, profile)
	b.visit("/")
	b.wantHeading("You are not logged in")

	b.login("ann", true)
	b.wantHeading("Logged in as ann")
	stop()
	base, _ = serve(t, dir, addr)
	b.visit("/")
	b.wantHeading("Logged in as ann")
	closeBrowser()
	b, _ = open(t, base, profile)
	b.visit("/")
	b.wantHeading("Logged in as ann")
}
