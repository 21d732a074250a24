package sessiontest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// t stands for the argument of a test, which an example doesn't have.
var t testing.TB = exampleTB{}

type exampleTB struct{ testing.TB }

func (exampleTB) Helper()                  {}
func (exampleTB) Cleanup(func())           {}
func (exampleTB) Context() context.Context { return context.Background() }
func (exampleTB) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }

func (exampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// app is the application under test of these examples.
var app = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	s.Set("greeted", true)
	fmt.Fprint(w, "hello ", s.Principal())
})

// A test of an API without cookies. In a test, t is its argument.
func ExampleNew() {
	m := sessiontest.New(t, func(c *session.Config) { c.BearerToken = true })
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Login("ann") })
	w := httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: hello ann
}

// The request of somebody who is logged in.
func ExampleRequest() {
	const color = session.Key[string]("color")

	m := sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) {
		s.Login("ann")
		color.Set(s, "green")
	})
	w := httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: hello ann
}

// What has the handler put into the session?
func ExampleRead() {
	m := sessiontest.New(t)
	w := httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	s := sessiontest.Read(t, m, w.Result())
	fmt.Println(s.Get("greeted"))
	// Output: true true
}

// What does the application do in an outage?
func ExampleFailStore() {
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = broken })
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), func(s *session.Session) { s.Login("ann") })

	broken.Fail(errors.New("connection refused"))
	w := httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Retry-After") != "")

	broken.Fail(nil)
	w = httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 503 true
	// 200
}

// A table of requests: who comes, and what the application leaves in the session.
func Example_table() {
	m := sessiontest.New(t)
	logout := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if s.Principal() == "" {
			s.Flash("You were not logged in.")
			return
		}
		s.Logout()
		s.Flash("Goodbye.")
	})
	for _, test := range []struct {
		name  string
		fill  func(*session.Session)
		flash string
	}{
		{"nobody", nil, "You were not logged in."},
		{"somebody", sessiontest.LoggedIn("ann", time.Hour), "Goodbye."},
	} {
		r := sessiontest.Request(t, m, httptest.NewRequest("POST", "/logout", nil), test.fill)
		w := httptest.NewRecorder()
		m.Handler(logout).ServeHTTP(w, r)
		s := sessiontest.Read(t, m, w.Result(), r)
		sessiontest.WantLogin(t, s, "")
		sessiontest.WantFlashes(t, s, test.flash)
		fmt.Println(test.name, "ok")
	}
	// Output:
	// nobody ok
	// somebody ok
}

// A request that only changes a session sets no cookie: its own cookie names the session.
func ExampleRead_change() {
	m := sessiontest.New(t)
	r := sessiontest.Request(t, m, httptest.NewRequest("GET", "/", nil), sessiontest.LoggedIn("ann", 0))
	w := httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, r)
	s := sessiontest.Read(t, m, w.Result(), r)
	fmt.Println(s.Get("greeted"))
	// Output: true true
}

// A full disk fails the request. A reply that is lost after the write does not, as long as a read tells that it was
// done.
func ExampleFailStore_LoseWrites() {
	flaky := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := sessiontest.New(t, func(c *session.Config) { c.Store = flaky })
	flaky.FailWrites(errors.New("disk full"))
	w := httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println("full disk:", w.Code)

	flaky.LoseWrites(errors.New("connection reset"))
	w = httptest.NewRecorder()
	m.Handler(app).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println("lost reply:", w.Code)
	// Output:
	// full disk: 503
	// lost reply: 200
}
