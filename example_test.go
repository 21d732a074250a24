package session_test

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// browse serves h and prints what a browser with a cookie jar gets for each path.
func browse(h http.Handler, paths ...string) {
	server := httptest.NewServer(h)
	defer server.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err)
	}
	client := http.Client{Jar: jar}
	for _, path := range paths {
		res, err := client.Get(server.URL + path)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			panic(err)
		}
		res.Body.Close()
		fmt.Printf("%s: %s\n", path, strings.TrimSpace(string(body)))
	}
}

func newExample(c session.Config) *session.Manager {
	c.SecretKey, c.InsecureHTTP = session.NewSecretKey(), true // the examples' server has no TLS
	if c.CookieCodec == nil {
		c.Store = memstore.New(nil)
	}
	m, err := session.New(c)
	if err != nil {
		panic(err)
	}
	return m
}

const views = session.Key[int]("views")

func Example() {
	sessions, err := session.New(session.Config{
		SecretKey:    session.NewSecretKey(), // os.Getenv("SECRET_KEY") in a real program
		Store:        memstore.New(nil),      // leave it out for files
		InsecureHTTP: true,                   // for development alone
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		n := views.Update(s, func(n int) int { return n + 1 })
		fmt.Fprintf(w, "%q, view %d", s.Principal(), n)
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Login("ann") // after checking a password, in a POST
		fmt.Fprint(w, "hello")
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Logout()
		fmt.Fprint(w, "goodbye")
	})
	browse(sessions.Handler(mux), "/", "/", "/login", "/", "/logout", "/")
	// Output:
	// /: "", view 1
	// /: "", view 2
	// /login: hello
	// /: "ann", view 3
	// /logout: goodbye
	// /: "", view 1
}

func ExampleNew() {
	_, err := session.New(session.Config{
		SecretKey:   "changeme",
		IdleTimeout: 48 * 3600e9,
		Lifetime:    24 * 3600e9,
		Cookie:      session.Cookie{Name: "__Host-shop", Path: "/shop"},
	})
	fmt.Println(err)
	// Output:
	// session: SecretKey has 8 bytes, at least 16 are needed; make one with session.NewSecretKey
	// session: IdleTimeout 48h0m0s is longer than Lifetime 24h0m0s; shorten it, or leave it zero
	// session: Cookie.Name "__Host-shop" allows no Domain and no Path but "/"; use the prefix __Secure-
}

func ExampleKey() {
	type address struct{ Street, City string }
	const shipTo = session.Key[address]("ship_to")

	m := newExample(session.Config{})
	defer m.Close()
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if a, ok := shipTo.Get(s); ok {
			fmt.Fprint(w, a.City)
			return
		}
		shipTo.Set(s, address{"Quay 1", "Hamburg"})
		fmt.Fprint(w, "set")
	})), "/", "/")
	// Output:
	// /: set
	// /: Hamburg
}

// Of any number of requests that take a one-time value, exactly one gets it.
func ExampleKey_Take() {
	const state = session.Key[string]("oauth_state")

	m := newExample(session.Config{})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/start", func(w http.ResponseWriter, r *http.Request) {
		state.Set(session.From(r), "xyz")
		fmt.Fprint(w, "redirected to the provider")
	})
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		want, ok, err := state.Take(r.Context(), session.From(r))
		if err != nil {
			m.Error(w, r, err)
			return
		}
		fmt.Fprint(w, ok && want == r.FormValue("state"))
	})
	browse(m.Handler(mux), "/start", "/callback?state=xyz", "/callback?state=xyz")
	// Output:
	// /start: redirected to the provider
	// /callback?state=xyz: true
	// /callback?state=xyz: false
}

func ExampleSession_Flash() {
	m := newExample(session.Config{})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/save", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Flash("Saved.")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, f := range session.From(r).Flashes() {
			fmt.Fprintf(w, "%s: %s", f.Category, f.Message)
		}
	})
	browse(m.Handler(mux), "/save", "/")
	// Output:
	// /save: message: Saved.
	// /:
}

// A template that reads flashes after the page has begun costs a second save. And a page that touches a new session only
// then is too late: its cookie can't be sent any more. Read them first, or render into a buffer.
func Example_incorrect() {
	m := newExample(session.Config{})
	defer m.Close()
	page := template.Must(template.New("").Parse(`<h1>Hello</h1>{{range .Flashes}}<p>{{.Message}}</p>{{end}}`))
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if err := page.Execute(w, s); err != nil { // incorrect: Flashes changes s after the first byte
			panic(err)
		}
		s.Set("seen", true) // incorrect: a new session needs a cookie, which can't be sent any more
		fmt.Fprint(w, " ", s.Save(r.Context()))
	}))
	browse(h, "/")
	// Output:
	// /: <h1>Hello</h1> session: too late for a new cookie: the response's header has been sent
}

func ExampleManager_Load() {
	m := newExample(session.Config{BearerToken: true})
	defer m.Close()
	ctx := context.Background()

	s, err := m.Load(ctx, "") // a new session
	if err != nil {
		panic(err)
	}
	s.Login("ann")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}
	token := s.Token() // for the client to keep

	again, err := m.Load(ctx, token)
	fmt.Println(again.Principal(), err)
	_, err = m.Load(ctx, "forged")
	fmt.Println(err)
	// Output:
	// ann <nil>
	// session: the session has ended
}

// "Log out everywhere" after a change of password.
func ExampleSession_RevokeOthers() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	devices := make([]*session.Session, 3)
	for i := range devices {
		devices[i], _ = m.Load(ctx, "")
		devices[i].Login("ann")
		if err := devices[i].Save(ctx); err != nil {
			panic(err)
		}
	}
	n, err := devices[0].RevokeOthers(ctx)
	fmt.Println(n, err)
	fmt.Println(devices[0].Reload(ctx), "/", devices[1].Reload(ctx))
	// Output:
	// 2 <nil>
	// <nil> / session: the session has ended
}

func ExampleManager_Sessions() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s, _ := m.Load(ctx, "")
	s.Login("ann")
	s.SetLabel("Firefox on Windows")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}
	for info, err := range m.Sessions(ctx, "ann") {
		fmt.Println(info.Label, err)
		fmt.Println(m.Revoke(ctx, "ann", info.Handle))
	}
	fmt.Println(s.Reload(ctx))
	// Output:
	// Firefox on Windows <nil>
	// <nil>
	// session: the session has ended
}

func ExampleEncryptedCookie() {
	m := newExample(session.Config{CookieCodec: session.EncryptedCookie})
	defer m.Close()
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, views.Update(session.From(r), func(n int) int { return n + 1 }))
	})), "/", "/")
	// Output:
	// /: 1
	// /: 2
}

// Taking over the login of an older system: its cookie names the user.
func ExampleConfig_adopt() {
	m := newExample(session.Config{Adopt: func(r *http.Request, s *session.Session) error {
		if old, err := r.Cookie("old_session"); err == nil && old.Value == "signed by the old system for ann" {
			s.Login("ann")
		}
		return nil
	}})
	defer m.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "old_session", Value: "signed by the old system for ann"})
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(session.From(r).Principal())
	})).ServeHTTP(httptest.NewRecorder(), r)
	// Output: ann
}

// A route with side effects behind Preload does not run when it is unknown who is asking.
func ExampleManager_Preload() {
	m := newExample(session.Config{})
	defer m.Close()
	pay := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(os.Stdout, "paid") })
	h := m.Handler(m.Preload(pay))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/pay", nil))
	// Output: paid
}
