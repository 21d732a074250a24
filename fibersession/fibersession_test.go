package fibersession_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gofiber/fiber/v3/middleware/cache"
	"github.com/gofiber/fiber/v3/middleware/compress"
	"github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/hipflask/session"
	"github.com/hipflask/session/fibersession"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

const (
	patience = 20 * time.Second
	visits   = session.Key[int]("visits")
)

var errDown = errors.New("the test's store is down")

// browser visits an application that listens on a port.
type browser struct {
	t     *testing.T
	url   *url.URL
	store *sessiontest.FailStore
	m     *session.Manager
	http.Client
}

// newBrowser starts an application and returns a client that keeps cookies.
func newBrowser(t *testing.T, build func(*fiber.App, *session.Manager, *sessiontest.FailStore),
	options ...func(*session.Config)) *browser {
	t.Helper()
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, append(options, func(c *session.Config) {
		c.Store, c.Logger = store, slog.New(slog.DiscardHandler)
	})...)
	app := fiber.New()
	build(app, m, store)
	return &browser{t, serve(t, app), store, m, newClient(t)}
}

func newClient(t *testing.T) http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return http.Client{Jar: jar, Timeout: patience}
}

func serve(t *testing.T, app *fiber.App) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	started := make(chan struct{})
	app.Hooks().OnListen(func(fiber.ListenData) error {
		close(started)
		return nil
	})
	go func() { ended <- app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true}) }()
	<-started
	t.Cleanup(func() {
		l.Close() // app.Shutdown races with the contexts of net/http handlers (fasthttp v1.69.0, Server.done)
		if err := <-ended; err != nil {
			t.Errorf("Listener: %v", err)
		}
	})
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

func (b *browser) do(method, path string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url.String()+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(body)
}

func (b *browser) want(path string, status int, body string) *http.Response {
	b.t.Helper()
	res, got := b.do("GET", path)
	if res.StatusCode != status || got != body {
		b.t.Errorf("%s: got %d %q, want %d %q", path, res.StatusCode, got, status, body)
	}
	return res
}

// unavailable checks that the answer is ErrorHandler's and nothing else.
func (b *browser) unavailable(path string) *http.Response {
	b.t.Helper()
	res, body := b.do("GET", path)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" ||
		!strings.HasPrefix(body, "Your session can't be reached") {
		b.t.Errorf("%s: got %d %q, want 503 with Retry-After and its text alone", path, res.StatusCode, body)
	}
	if res.Header["Set-Cookie"] != nil {
		b.t.Errorf("%s: a failed answer sets a cookie", path)
	}
	return res
}

func (b *browser) cookie() string {
	for _, c := range b.Jar.Cookies(b.url) {
		if c.Name == "session" {
			return c.Value
		}
	}
	return ""
}

func (b *browser) stored(want int) {
	b.t.Helper()
	s, err := b.m.Load(b.t.Context(), b.cookie())
	if err != nil {
		b.t.Fatal(err)
	}
	if got := visits.Or(s, 0); got != want {
		b.t.Errorf("got %d visits stored, want %d", got, want)
	}
}

func (b *browser) sessions() (n int) {
	for range b.m.All(b.t.Context()) {
		n++
	}
	return n
}

func count(c fiber.Ctx) error {
	s := fibersession.From(c)
	n := visits.Update(s, func(n int) int { return n + 1 })
	return c.SendString(fmt.Sprintf("%s %d", s.Principal(), n))
}

func TestLoginAndLogout(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(m))
		app.Get("/count", count)
		app.Get("/plain", func(c fiber.Ctx) error { return c.SendString("plain") })
		app.Post("/login/:name", func(c fiber.Ctx) error {
			fibersession.From(c).Login(c.Params("name"))
			return c.SendStatus(fiber.StatusNoContent)
		})
		app.Post("/logout", func(c fiber.Ctx) error {
			fibersession.From(c).Logout()
			return c.SendStatus(fiber.StatusNoContent)
		})
	})
	if res := b.want("/plain", 200, "plain"); res.Header["Set-Cookie"] != nil || res.Header["Vary"] != nil {
		t.Errorf("a request that does not look at its session: got headers %v", res.Header)
	}
	if res, _ := b.do("GET", "/nothing"); res.StatusCode != 404 || b.sessions() != 0 {
		t.Errorf("a request without a route: got %d, %d sessions, want 404 and none", res.StatusCode, b.sessions())
	}
	res := b.want("/count", 200, " 1")
	if !slices.Equal(res.Header["Vary"], []string{"Cookie"}) ||
		!slices.Equal(res.Header["Cache-Control"], []string{"no-store"}) {
		t.Errorf("got Vary %q and Cache-Control %q, want Cookie and no-store", res.Header["Vary"],
			res.Header["Cache-Control"])
	}
	b.want("/count", 200, " 2")
	before := b.cookie()
	b.do("POST", "/login/ann")
	if b.cookie() == before {
		t.Error("the login gave no new cookie")
	}
	b.want("/count", 200, "ann 3")
	b.do("POST", "/logout")
	if b.cookie() != "" || b.sessions() != 0 {
		t.Errorf("after the logout: got %d sessions, want none and no cookie", b.sessions())
	}
	b.want("/count", 200, " 1")
}

// What Fiber's handlers set stays beside what the Handler sets, several values each.
func TestHeaders(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(func(c fiber.Ctx) error {
			c.Append("Vary", "Origin")
			c.Cookie(&fiber.Cookie{Name: "zero", Value: "0"})
			return c.Next()
		}, fibersession.New(m))
		app.Get("/", func(c fiber.Ctx) error {
			c.Append("Vary", "Accept")
			c.Cookie(&fiber.Cookie{Name: "one", Value: "1"})
			c.Cookie(&fiber.Cookie{Name: "two", Value: "2"})
			c.Cookie(&fiber.Cookie{Name: "session", Value: "theirs"})
			c.Set("Cache-Control", "private, no-store")
			c.Set("X-Other", "kept")
			return count(c)
		})
	})
	res := b.want("/", 200, " 1")
	names := []string{}
	for _, c := range res.Cookies() {
		names = append(names, c.Name)
		if c.Value == "theirs" {
			t.Error("a second cookie of the session's name is sent")
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"one", "session", "two", "zero"}) {
		t.Errorf("got cookies %q, want one, session, two and zero", names)
	}
	varies := strings.Split(strings.Join(res.Header["Vary"], ", "), ", ")
	slices.Sort(varies)
	if !slices.Equal(varies, []string{"Accept", "Cookie", "Origin"}) {
		t.Errorf("got Vary %q, want Accept, Cookie and Origin", varies)
	}
	if got := res.Header["Cache-Control"]; !slices.Equal(got, []string{"private, no-store"}) ||
		res.Header.Get("X-Other") != "kept" {
		t.Errorf("got Cache-Control %q and X-Other %q, want the handler's", got, res.Header.Get("X-Other"))
	}
}

func TestErrorsAndPanics(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(recover.New(), fibersession.New(m))
		app.Get("/count", count)
		app.Get("/error", func(c fiber.Ctx) error {
			visits.Set(fibersession.From(c), 10)
			return fiber.NewError(fiber.StatusTeapot, "no coffee")
		})
		app.Get("/panic", func(c fiber.Ctx) error {
			visits.Set(fibersession.From(c), 20)
			panic("half way")
		})
	})
	if b.want("/error", 418, "no coffee"); b.cookie() == "" {
		t.Fatal("the answer to an error has no cookie")
	}
	b.stored(10)
	b.want("/panic", 500, "half way")
	b.stored(10)
}

// A cache inside of sessions sees the response before it is complete: it must not give one user's page to another, nor
// a first visitor's page, whose cookie it doesn't have, to the next.
func TestCacheInside(t *testing.T) {
	t.Parallel()
	runs := atomic.Int64{}
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(m))
		app.Post("/login/:name", func(c fiber.Ctx) error {
			fibersession.From(c).Login(c.Params("name"))
			return nil
		})
		app.Use(cache.New())
		app.Get("/account", func(c fiber.Ctx) error {
			return c.SendString("account of " + fibersession.From(c).Principal())
		})
		app.Get("/own", func(c fiber.Ctx) error {
			c.Set("Cache-Control", "public, max-age=60")
			return c.SendString(fibersession.From(c).Principal())
		})
		app.Get("/count", count)
		app.Get("/plain", func(c fiber.Ctx) error {
			runs.Add(1)
			return c.SendString("plain")
		})
	})
	visitor := func(name string) *browser {
		v := *b
		v.Client = newClient(t)
		if name != "" {
			v.do("POST", "/login/"+name)
		}
		return &v
	}
	ann, ben := visitor("ann"), visitor("ben")
	for range 2 {
		ann.want("/account", 200, "account of ann")
		ben.want("/account", 200, "account of ben")
		res := visitor("").want("/account", 200, "account of ")
		if got := res.Header["Cache-Control"]; strings.Contains(strings.Join(got, ","), "private") {
			t.Errorf("got Cache-Control %q, want none of ours for a page without a cookie", got)
		}
		ann.want("/own", 200, "ann")
		ben.want("/own", 200, "ben")
	}
	for range 2 {
		v := visitor("")
		v.want("/count", 200, " 1")
		v.want("/count", 200, " 2")
		if v.cookie() == "" {
			t.Error("a visitor got the page of another one, without a cookie")
		}
		v.want("/plain", 200, "plain")
	}
	if got := runs.Load(); got != 1 {
		t.Errorf("the page without a session was made %d times, want once", got)
	}
}

// Fiber's ErrorHandler may flash a message and redirect, in a new session as well.
func TestErrorHandler(t *testing.T) {
	t.Parallel()
	store := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store, c.Logger = store, slog.New(slog.DiscardHandler) })
	errBroken := errors.New("broken")
	app := fiber.New(fiber.Config{ErrorHandler: func(c fiber.Ctx, err error) error {
		if err == errBroken {
			return err // of the error handler itself: Fiber says 500
		}
		fibersession.From(c).Flash("sorry: " + err.Error())
		visits.Update(fibersession.From(c), func(n int) int { return n + 1 })
		return c.Redirect().Status(fiber.StatusSeeOther).To("/flashes")
	}})
	outside := make(chan error, 1)
	app.Use(func(c fiber.Ctx) error {
		err := c.Next()
		outside <- err
		return err
	}, fibersession.New(m))
	app.Get("/error", func(c fiber.Ctx) error {
		visits.Set(fibersession.From(c), 10)
		return errDown
	})
	app.Get("/untouched", func(c fiber.Ctx) error { return errDown })
	app.Get("/broken", func(c fiber.Ctx) error { return errBroken })
	app.Get("/flashes", func(c fiber.Ctx) error {
		return c.SendString(fmt.Sprint(fibersession.From(c).Flashes()))
	})
	url := serve(t, app)
	for path, want := range map[string]int{"/error": 11, "/untouched": 1, "/no-route": 1} {
		b := &browser{t, url, store, m, newClient(t)}
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		res, _ := b.do("GET", path)
		if res.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: got %d, want the error handler's redirect", path, res.StatusCode)
		}
		if err := <-outside; err != nil {
			t.Errorf("%s: around New: got %v, want nil, since the error is answered", path, err)
		}
		b.stored(want)
		if _, got := b.do("GET", "/flashes"); !strings.Contains(got, "sorry: ") {
			t.Errorf("%s: got flashes %s, want the error handler's", path, got)
		}
		<-outside
	}
	b := &browser{t, url, store, m, newClient(t)}
	if res, _ := b.do("GET", "/broken"); res.StatusCode != http.StatusInternalServerError {
		t.Errorf("an error of the error handler: got %d, want 500", res.StatusCode)
	}
	<-outside
	store.Fail(errDown)
	b.unavailable("/error")
	<-outside
}

func TestOutage(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, store *sessiontest.FailStore) {
		app.Use(func(c fiber.Ctx) error {
			c.Set("Access-Control-Allow-Origin", "https://app.example")
			return c.Next()
		})
		app.Use(compress.New(), fibersession.New(m))
		app.Get("/count", count)
		app.Get("/save", func(c fiber.Ctx) error {
			visits.Set(fibersession.From(c), 10)
			store.Fail(errDown)
			c.Set("X-Secret", "of the handler")
			c.Cookie(&fiber.Cookie{Name: "other", Value: "of the handler"})
			return c.Status(fiber.StatusAccepted).JSON(fiber.Map{"saved": true})
		})
		app.Get("/save-stream", func(c fiber.Ctx) error {
			visits.Set(fibersession.From(c), 10)
			store.Fail(errDown)
			return c.SendStreamWriter(func(w *bufio.Writer) { fmt.Fprint(w, "of the handler") })
		})
		app.Get("/save-error", func(c fiber.Ctx) error {
			visits.Set(fibersession.From(c), 10)
			store.Fail(errDown)
			return fiber.ErrTeapot
		})
	})
	b.want("/count", 200, " 1")
	for _, path := range []string{"/save", "/save-stream", "/save-error", "/count"} {
		res := b.unavailable(path)
		if res.Header.Get("X-Secret") != "" {
			t.Errorf("%s: a header of the answer that was replaced is left", path)
		}
		if res.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%s: the header that stood before is gone", path)
		}
		if path != "/save-error" {
			b.store.Fail(nil)
		}
	}
	b.store.Fail(nil)
	b.want("/count", 200, " 2")
}

// A stream begins when the handlers have returned; what it changes is stored by Save.
func TestStream(t *testing.T) {
	t.Parallel()
	turn := make(chan struct{})
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(m))
		app.Get("/events", func(c fiber.Ctx) error {
			s := fibersession.From(c)
			visits.Set(s, 1)
			c.Set("Content-Type", "text/event-stream")
			return c.SendStreamWriter(func(w *bufio.Writer) {
				for n := 1; n < 4; n++ {
					fmt.Fprintf(w, "data: %d\n", n)
					w.Flush()
					<-turn
					visits.Set(s, n+1)
					if err := s.Save(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		})
		app.Get("/logout", func(c fiber.Ctx) error {
			fibersession.From(c).Logout()
			return nil
		})
	})
	res, err := b.Get(b.url.String() + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for n := 1; n < 4; n++ {
		if got, err := lines.ReadString('\n'); err != nil || got != fmt.Sprintf("data: %d\n", n) {
			t.Fatalf("got %q, %v, want event %d", got, err, n)
		}
		b.stored(n)
		turn <- struct{}{}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Errorf("the stream ends with %v, want EOF", err)
	}
	b.stored(4)
}

// Fiber's texts are its buffers, which other users' requests overwrite. Sessions that goroutines save after the
// handlers, and events that are kept, must still name their own user.
func TestUsersAfterTheirRequests(t *testing.T) {
	t.Parallel()
	const users = 100
	var mu sync.Mutex
	var logins []session.Event
	hold, saved := make(chan struct{}), sync.WaitGroup{}
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(m))
		app.Post("/login/:name/:key", func(c fiber.Ctx) error {
			fibersession.From(c).Login(c.Params("name"))
			s, err := m.Load(c.Context(), "") // of a job that goes on
			if err != nil {
				return err
			}
			s.Login(c.Params("name"))
			s.SetLabel(c.Params("name"))
			s.Flash(c.Params("name"))
			s.Set(c.Params("key"), c.Params("name"))
			saved.Go(func() {
				<-hold
				if err := s.Save(context.Background()); err != nil {
					t.Error(err)
				}
			})
			return nil
		})
	}, func(c *session.Config) {
		c.OnEvent = func(_ context.Context, e session.Event) {
			mu.Lock()
			defer mu.Unlock()
			logins = append(logins, e)
		}
	})
	var requests sync.WaitGroup
	for i := range users {
		requests.Go(func() {
			client := newClient(t)
			res, err := client.Post(fmt.Sprintf("%s/login/user-%03d/key-%03d", b.url, i, i), "", nil)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
		})
	}
	requests.Wait()
	close(hold)
	saved.Wait()
	named := map[string]int{}
	for _, e := range logins {
		named[e.Principal]++
	}
	for i := range users {
		name := fmt.Sprintf("user-%03d", i)
		if named[name] != 2 {
			t.Errorf("got %d login events of %s, want 2", named[name], name)
		}
		labels := []string{}
		for info, err := range b.m.Sessions(t.Context(), name) {
			if err != nil {
				t.Fatal(err)
			}
			labels = append(labels, info.Label)
		}
		slices.Sort(labels)
		if !slices.Equal(labels, []string{"", name}) {
			t.Errorf("got sessions of %s with the labels %q, want two, of which one has the name", name, labels)
		}
	}
}

// Fiber uses its buffers again for other requests: a session must not hold on to them.
func TestSessionOutlivesRequest(t *testing.T) {
	t.Parallel()
	kept := make(chan *session.Session, 1)
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(m))
		app.Get("/count", count)
		app.Get("/keep", func(c fiber.Ctx) error {
			s := fibersession.From(c)
			s.SetLabel(c.Get("User-Agent"))
			kept <- s
			return nil
		})
	})
	b.want("/count", 200, " 1")
	b.do("GET", "/keep")
	s := <-kept
	for range 20 {
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.url.String()+"/other", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", "session="+strings.Repeat("x", 43)) // into the same place of the same buffer
		res, err := b.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if s.Token() != b.cookie() {
		t.Error("the session's token has become another text")
	}
	visits.Set(s, 9)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.stored(9)
}

func TestAdoptAndErrorHandlerGetTheRequest(t *testing.T) {
	t.Parallel()
	seen := func(r *http.Request) string {
		return fmt.Sprint(r.Method, " ", r.URL, " ", r.RequestURI, " ", r.Header["X-Many"], " ", r.Header.Get("Cookie"),
			" ", r.Host != "", r.RemoteAddr != "")
	}
	var adopted, failed string
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(m))
		app.Get("/count", count)
	}, func(c *session.Config) {
		c.Adopt = func(r *http.Request, s *session.Session) error {
			adopted = seen(r)
			s.Login("adopted")
			return nil
		}
		c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			failed = seen(r)
			w.Header().Set("X-Why", "outage")
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "sorry")
		}
	})
	get := func() (int, string, string) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.url.String()+"/count?a=b%20c", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["X-Many"] = []string{"1", "2"}
		r.Header.Set("Cookie", "old=1")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body), res.Header.Get("X-Why")
	}
	const want = "GET /count?a=b%20c /count?a=b%20c [1 2] old=1 true true"
	if status, body, _ := get(); status != 200 || body != "adopted 1" || adopted != want {
		t.Errorf("Adopt: got %d %q for %q, want adopted 1 for %q", status, body, adopted, want)
	}
	b.store.Fail(errDown)
	if status, body, why := get(); status != 502 || body != "sorry" || why != "outage" || failed != want {
		t.Errorf("ErrorHandler: got %d %q %q for %q, want its answer for %q", status, body, why, failed, want)
	}
}

// Two Managers around a handler: each has its cookie. A second New of one Manager does nothing.
func TestNested(t *testing.T) {
	t.Parallel()
	outer := sessiontest.New(t, func(c *session.Config) { c.Cookie.Name = "outer" })
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(outer), func(c fiber.Ctx) error {
			visits.Update(fibersession.From(c), func(n int) int { return n + 10 })
			return c.Next()
		}, fibersession.New(m), fibersession.New(m))
		app.Get("/count", count)
	})
	b.want("/count", 200, " 1")
	b.want("/count", 200, " 2")
	b.stored(2)
	for _, c := range b.Jar.Cookies(b.url) {
		if c.Name != "outer" {
			continue
		}
		s, err := outer.Load(t.Context(), c.Value)
		if err != nil || visits.Or(s, 0) != 20 {
			t.Errorf("the outer Manager's session: got %v, want 20 visits", err)
		}
		return
	}
	t.Error("the outer Manager sent no cookie")
}

func TestFromWithoutNew(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, func(app *fiber.App, _ *session.Manager, _ *sessiontest.FailStore) {
		app.Use(recover.New())
		app.Get("/count", count)
	})
	if _, body := b.do("GET", "/count"); !strings.Contains(body, "From without New") {
		t.Errorf("got %q, want what is missing", body)
	}
}

func TestParallelRequestsKeepAllWrites(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.Use(fibersession.New(m))
		app.Get("/count", count)
	})
	b.want("/count", 200, " 1")
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			res, err := b.Get(b.url.String() + "/count")
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
		})
	}
	all.Wait()
	b.stored(17)
}

// net/http handlers within Fiber need no more than Fiber's own bridge, as docs/middleware.md shows.
func TestFibersOwnBridge(t *testing.T) {
	t.Parallel()
	turn := make(chan struct{})
	b := newBrowser(t, func(app *fiber.App, m *session.Manager, _ *sessiontest.FailStore) {
		app.All("/handler",
			adaptor.HTTPHandler(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				visits.Update(session.From(r), func(n int) int { return n + 1 })
				w.Header().Add("Vary", "Accept")
				fmt.Fprintln(w, "first")
				http.NewResponseController(w).Flush()
				<-turn
				fmt.Fprintln(w, "second")
			}))))
		// As middleware it runs the handler when everything is over.
		app.Use(adaptor.HTTPMiddleware(m.Handler))
		app.Get("/middleware", func(c fiber.Ctx) error {
			_, ok := session.FromContext(c.Context())
			return c.SendString(fmt.Sprint(ok))
		})
	})
	res, err := b.Get(b.url.String() + "/handler")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if got, err := lines.ReadString('\n'); got != "first\n" || err != nil {
		t.Fatalf("got %q, %v, want the first line at once", got, err)
	}
	b.stored(1)
	close(turn)
	if got, err := lines.ReadString('\n'); got != "second\n" || err != nil {
		t.Errorf("got %q, %v, want the second line", got, err)
	}
	slices.Sort(res.Header["Vary"])
	if got := res.Header["Vary"]; !slices.Equal(got, []string{"Accept", "Cookie"}) {
		t.Errorf("got Vary %q, want Accept and Cookie", got)
	}
	b.want("/middleware", 200, "false")
}

// Cookies whose name only looks like ours are refused, as net/http refuses them, and beside ours they change nothing.
func TestRawCookieHeader(t *testing.T) {
	t.Parallel()
	m := sessiontest.New(t, func(c *session.Config) { c.InsecureHTTP = false })
	login := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
		s.Login("ann")
	})
	cookie, err := login.Cookie("__Host-session")
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New()
	app.Use(fibersession.New(m))
	app.Get("/", func(c fiber.Ctx) error { return c.SendString("[" + fibersession.From(c).Principal() + "]") })
	at := serve(t, app)
	for line, want := range map[string]string{
		"__Host-session=X": "[ann]", "a=b; __Host-session=X": "[ann]", "__Host-session=X; a=b": "[ann]",
		"a=b;__Host-session=X;c=d": "[ann]",
		`__Host-session="X"`:       "[ann]", "a; __Host-session=X": "[ann]", "=evil; __Host-session=X": "[ann]",
		"=__Host-session=X": "[]", "__Host-session =X": "[]", "__Host-session= X": "[]", "__Host-session\t=X": "[]",
		"__Host-session=\tX":     "[]",
		"a=b; =__Host-session=X": "[]", "a=b; __Host-session =X": "[]", "a=b; __Host-session= X": "[]",
		"= __Host-session=X": "[]",
		"__HOST-session=X":   "[]", "\u00a0__Host-session=X": "[]", "__Host-session\u00a0=X": "[]",
		"__Host-session": "[]",
	} {
		conn, err := net.Dial("tcp", at.Host)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: %s\r\nConnection: close\r\n\r\n",
			strings.ReplaceAll(line, "X", cookie.Value))
		body, err := io.ReadAll(conn)
		conn.Close()
		_, got, _ := strings.Cut(string(body), "\r\n\r\n")
		if err != nil || got != want && !strings.HasPrefix(string(body), "HTTP/1.1 400") {
			t.Errorf("%q: got %q, %v, want %s", line, got, err, want)
		}
	}
}
