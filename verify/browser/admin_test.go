package browser

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/hipflask/session"
	"github.com/hipflask/session/admin"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

var (
	someNames = strings.Fields("ann ben carla dimitri elif fatima george hana ivan jun kofi lena maria " +
		"noor olga pavel quinn rosa sven tara uma viktor")
	someLabels = strings.Split("Firefox on Windows,Chrome on Windows,Safari on macOS,Safari on iPhone,Chrome "+
		"on Android,Firefox on Linux,Edge on Windows", ",")
)

// crowd stores sessions of all ages: two thirds of them are logged in.
func crowd(t *testing.T, s store.Store, n int) {
	t.Helper()
	random, now := rand.New(rand.NewPCG(1, 2)), time.Now()
	for i := range n {
		age := min(time.Duration(random.ExpFloat64()*float64(96*time.Hour)), 29*24*time.Hour)
		idle := time.Duration(random.Float64() * random.Float64() * random.Float64() * float64(min(age, 23*time.Hour)))
		r := store.Record{
			Key: fmt.Sprint("key-of-the-crowd-", i), Handle: fmt.Sprintf("%016x", random.Uint64()), Version: 1,
			Label: someLabels[random.IntN(len(someLabels))], Data: []byte(`{"private":"tea"}`),
			CreatedAt: now.Add(-age), LastSeenAt: now.Add(-idle - time.Second), ExpiresAt: now.Add(24*time.Hour - idle),
		}
		if random.IntN(3) > 0 {
			r.Principal = fmt.Sprintf("%s.%04d", someNames[random.IntN(len(someNames))], random.IntN(3000))
		}
		if err := s.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// shop is an application with its admin page, which only the administrator may see, and a crowd of visitors.
func shop(t *testing.T, n int) string {
	t.Helper()
	kept := memstore.New(nil)
	crowd(t, kept, n)
	sessions, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: kept, InsecureHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessions.Close() })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<h1>Hello %s</h1><p><a href='/'>next</a>", session.From(r).Principal())
	})
	mux.HandleFunc("GET /login/{name}", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Login(r.PathValue("name"))
		session.From(r).SetLabel("Chrome on Linux")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	page := http.StripPrefix("/admin/sessions", admin.New(sessions, nil))
	mux.HandleFunc("/admin/sessions/", func(w http.ResponseWriter, r *http.Request) {
		if session.From(r).Principal() != "root" {
			http.Error(w, "administrators only", http.StatusForbidden)
			return
		}
		page.ServeHTTP(w, r)
	})
	server := httptest.NewServer(sessions.Handler(mux))
	t.Cleanup(server.Close)
	return server.URL
}

// TestAdmin is a day of an administrator: among 100,000 sessions find the one, and end it.
func TestAdmin(t *testing.T) {
	base := shop(t, 100_000)
	user, _ := open(t, base, t.TempDir())
	user.visit("/login/zoe")
	user.wantHeading("Hello zoe")

	b, _ := open(t, base, t.TempDir())
	b.visit("/admin/sessions/")
	b.wantText("administrators only")
	b.visit("/login/root")
	b.visit("/admin/sessions/")
	b.wantHeading("Sessions")
	b.wantText("100,002")
	b.look("admin", 1100, false)
	b.look("admin", 1100, true)
	b.look("admin", 360, true)
	b.do(chromedp.EmulateViewport(1100, 700))
	b.loaded(chromedp.Click(chromedp.CSS("a[rel=next]")))
	b.wantText("continued")

	find := func(text string) {
		t.Helper()
		b.do(chromedp.SetValue(chromedp.CSS("#q"), text))
		b.loaded(chromedp.Click(chromedp.CSS(".search button")))
	}
	find("nobody has this")
	b.wantText("Nothing has “nobody has this”")
	find("zoe")
	b.wantText("1 with “zoe”")
	b.look("admin-found", 360, false)
	b.loaded(chromedp.Click(chromedp.CSS("td.act a")))
	b.wantHeading("End this session?")
	b.look("admin-end", 1100, false)
	b.look("admin-end", 360, true)
	user.loaded(chromedp.Click(chromedp.CSS("a")))
	user.wantHeading("Hello zoe") // nothing has happened yet
	b.loaded(chromedp.Click(chromedp.CSS("button.alarm")))
	b.wantText("1 session ended.")
	user.loaded(chromedp.Click(chromedp.CSS("a")))
	user.wantHeading("Hello")

	user.visit("/login/zoe")
	second, _ := open(t, base, t.TempDir())
	second.visit("/login/zoe")
	b.visit("/admin/sessions/")
	b.do(chromedp.SetValue(chromedp.CSS("#user"), "zoe"))
	b.loaded(chromedp.Click(chromedp.CSS("form[aria-label=Users] button")))
	b.wantHeading("Sessions of zoe")
	b.look("admin-user", 1100, true)
	b.loaded(chromedp.Click(chromedp.CSS("a.alarm")))
	b.wantHeading("End all sessions of zoe?")
	b.look("admin-end-all", 1100, false)
	b.loaded(chromedp.Click(chromedp.CSS("button.alarm")))
	b.wantText("2 sessions ended.")
	for _, each := range []tab{user, second} {
		each.loaded(chromedp.Click(chromedp.CSS("a")))
		each.wantHeading("Hello")
	}
}
