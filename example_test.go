package session_test

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// newExample returns a Manager for an example: it keeps sessions in memory and works over plain http.
func newExample(c session.Config) *session.Manager {
	c.SecretKey, c.InsecureHTTP = session.NewSecretKey(), true
	if c.Store == nil && c.CookieCodec == nil {
		c.Store = memstore.New(nil)
	}
	c.Logger = slog.New(slog.DiscardHandler)
	m, err := session.New(c)
	if err != nil {
		panic(err)
	}
	return m
}

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

// login returns a session of principal that has been saved, as the login page of a browser would have made it.
func login(m *session.Manager, principal string) *session.Session {
	s, err := m.Load(context.Background(), "")
	if err != nil {
		panic(err)
	}
	s.Login(principal)
	if err := s.Save(context.Background()); err != nil {
		panic(err)
	}
	return s
}

func Example() {
	const views = session.Key[int]("views")

	sessions, err := session.New(session.Config{
		SecretKey:    session.NewSecretKey(), // os.Getenv("SECRET_KEY") in a real program
		Store:        memstore.New(nil),      // without it: files in a private folder
		InsecureHTTP: true,                   // only for development
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
		session.From(r).Login("ann") // in a real program by POST, after checking the password
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

// A template that reads flashes after the page has begun costs a second save. And if a page touches a new session only
// then, its cookie can't be sent any more. Read the flashes first, or render into a buffer.
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
