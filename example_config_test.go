package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

func ExampleNew() {
	sessions, err := session.New(session.Config{
		SecretKey:   session.NewSecretKey(), // os.Getenv("SECRET_KEY") in a real program
		Store:       memstore.New(nil),
		IdleTimeout: 30 * time.Minute,
		Lifetime:    12 * time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()

	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { session.From(r).Set("color", "green") })
	w := httptest.NewRecorder()
	sessions.Handler(app).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
	for _, c := range w.Result().Cookies() {
		fmt.Println(c.Name, c.Secure, c.HttpOnly, c.SameSite == http.SameSiteLaxMode)
	}
	// Output: __Host-session true true true
}

// New names all problems of a configuration at once.
func ExampleNew_problems() {
	_, err := session.New(session.Config{
		SecretKey:   "changeme",
		IdleTimeout: 48 * time.Hour,
		Lifetime:    24 * time.Hour,
		Cookie:      session.Cookie{Name: "__Host-shop", Path: "/shop"},
	})
	fmt.Println(err)
	// Output:
	// session: SecretKey has 8 bytes, at least 16 are needed; make one with session.NewSecretKey
	// session: IdleTimeout 48h0m0s is longer than Lifetime 24h0m0s; shorten it, or leave it zero
	// session: Cookie.Name "__Host-shop" allows no Domain and no Path but "/"; use the prefix __Secure-
}

// Make a secret key once, and keep it where all servers find it.
func ExampleNewSecretKey() {
	fmt.Println(len(session.NewSecretKey()))
	// Output: 43
}

// After a change of the secret key, sessions live on as long as the old key is a fallback.
func ExampleConfig_secretKeyFallbacks() {
	ctx := context.Background()
	sessions := memstore.New(nil)
	oldKey, newKey := session.NewSecretKey(), session.NewSecretKey()

	before, err := session.New(session.Config{SecretKey: oldKey, Store: sessions})
	if err != nil {
		panic(err)
	}
	defer before.Close()
	token := login(before, "ann").Token()

	after, err := session.New(session.Config{SecretKey: newKey, SecretKeyFallbacks: []string{oldKey}, Store: sessions})
	if err != nil {
		panic(err)
	}
	defer after.Close()
	s, err := after.Load(ctx, token)
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Principal())
	// Output: ann
}

// Cookies for all hosts of a domain can't have the prefix __Host-.
func ExampleCookie() {
	sessions, err := session.New(session.Config{
		SecretKey: session.NewSecretKey(),
		Store:     memstore.New(nil),
		Cookie:    session.Cookie{Domain: "example.com", SameSite: http.SameSiteStrictMode, Persistent: true},
	})
	if err != nil {
		panic(err)
	}
	defer sessions.Close()
	c := sessions.Cookie(login(sessions, "ann"))
	fmt.Println(c.Name, c.Domain, time.Duration(c.MaxAge)*time.Second)
	// Output: __Secure-session example.com 720h0m0s
}

// The whole session is in the cookie, so no server has to keep it.
func ExampleEncryptedCookie() {
	const views = session.Key[int]("views")

	m := newExample(session.Config{CookieCodec: session.EncryptedCookie})
	defer m.Close()
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, views.Update(session.From(r), func(n int) int { return n + 1 }))
	})), "/", "/")
	// Output:
	// /: 1
	// /: 2
}

// An API without cookies: the client gets the token in the response to its login, and sends it with each request.
func ExampleConfig_bearerToken() {
	m := newExample(session.Config{BearerToken: true})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Login("ann")
		fmt.Fprint(w, s.Token())
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, session.From(r).Principal())
	})
	api := m.Handler(mux)

	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest("POST", "/login", nil))
	token := w.Body.String()

	r := httptest.NewRequest("GET", "/me", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w = httptest.NewRecorder()
	api.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: ann
}

// Adopt takes over the login of an older system: its cookie names the user.
func ExampleConfig_adopt() {
	m := newExample(session.Config{Adopt: func(r *http.Request, s *session.Session) error {
		if old, err := r.Cookie("old_session"); err == nil && old.Value == "signed by the old system for ann" {
			s.Login("ann")
		}
		return nil
	}})
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(session.From(r).Principal())
	}))

	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "old_session", Value: "signed by the old system for ann"})
	h.ServeHTTP(httptest.NewRecorder(), r)
	// Output: ann
}

// OnEvent sees logins and logouts, and why a cookie was refused. All of an event may go into logs.
func ExampleConfig_onEvent() {
	m := newExample(session.Config{OnEvent: func(ctx context.Context, e session.Event) {
		fmt.Printf("%s %q %q\n", e.Kind, e.Principal, string(e.Reason))
	}})
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { session.From(r) }))

	s := login(m, "ann")
	s.Logout()
	if err := s.Save(context.Background()); err != nil {
		panic(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: "forged"})
	h.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// login "ann" ""
	// logout "ann" ""
	// rejected "" "malformed"
}

// ErrorHandler gives an outage the look of the site. The store of this example can be made to fail.
func ExampleConfig_errorHandler() {
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := newExample(session.Config{
		Store: broken,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			w.Header().Set("Cache-Control", "no-store")
			if errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrUncertain) {
				w.Header().Set("Retry-After", "10")
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, "We will be back in a moment.")
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "Something went wrong.")
		},
	})
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Set("color", "green")
		fmt.Fprint(w, "Your color is green.") // not sent if that can't be saved
	}))

	broken.Fail(errors.New("connection refused"))
	browse(h, "/")
	broken.Fail(nil)
	browse(h, "/")
	// Output:
	// /: We will be back in a moment.
	// /: Your color is green.
}
