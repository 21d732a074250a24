package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// The Handler is outside the router, and inside the middleware that logs, recovers and compresses.
// CrossOriginProtection stops forged requests from other sites.
func ExampleManager_Handler() {
	m := newExample(session.Config{})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "new: %t", session.From(r).IsNew())
	})
	mux.HandleFunc("GET /dark", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Set("theme", "dark")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	app := http.NewCrossOriginProtection().Handler(m.Handler(mux))
	browse(app, "/", "/dark")
	// Output:
	// /: new: true
	// /dark: new: false
}

// A route with side effects behind Preload doesn't run while it is unknown who the client is.
func ExampleManager_Preload() {
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := newExample(session.Config{Store: broken})
	defer m.Close()
	r := httptest.NewRequest("POST", "/pay", nil)
	r.AddCookie(m.Cookie(login(m, "ann")))

	pay := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(session.From(r).Principal(), "pays")
	})
	mux := http.NewServeMux()
	mux.Handle("POST /pay", m.Preload(pay))
	app := m.Handler(mux)

	app.ServeHTTP(httptest.NewRecorder(), r)
	broken.Fail(errors.New("connection refused"))
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// ann pays
	// 503
}

func ExampleFrom() {
	m := newExample(session.Config{})
	defer m.Close()
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if name := r.FormValue("name"); name != "" {
			s.Set("name", name)
		}
		name, ok := s.Get("name")
		fmt.Fprint(w, name, " ", ok)
	})), "/", "/?name=Ann", "/")
	// Output:
	// /: <nil> false
	// /?name=Ann: Ann true
	// /: Ann true
}

// Customers and staff have sessions of their own, with different cookies. Where both Handlers are around a request,
// each Manager gives its own.
func ExampleManager_From() {
	customers := newExample(session.Config{Cookie: session.Cookie{Name: "customer"}})
	defer customers.Close()
	staff := newExample(session.Config{Cookie: session.Cookie{Name: "staff"}})
	defer staff.Close()
	app := customers.Handler(staff.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%q serves %q\n", staff.From(r).Principal(), customers.From(r).Principal())
	})))

	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(customers.Cookie(login(customers, "ann")))
	r.AddCookie(staff.Cookie(login(staff, "ben")))
	app.ServeHTTP(httptest.NewRecorder(), r)
	// Output: "ben" serves "ann"
}

// Open returns a session or an error, for a handler that responds to an outage in its own way.
func ExampleOpen() {
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := newExample(session.Config{Store: broken})
	defer m.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(m.Cookie(login(m, "ann")))
	app := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := session.Open(r)
		if err != nil {
			fmt.Println("hello, whoever you are") // nothing here depends on the session
			return
		}
		fmt.Println("hello", s.Principal())
	}))

	app.ServeHTTP(httptest.NewRecorder(), r)
	broken.Fail(errors.New("connection refused"))
	app.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// hello ann
	// hello, whoever you are
}

// Code that gets only the context of a request finds the session in it.
func ExampleFromContext() {
	greeting := func(ctx context.Context) string {
		if s, ok := session.FromContext(ctx); ok && s.Principal() != "" {
			return "hello " + s.Principal()
		}
		return "hello"
	}

	m := newExample(session.Config{})
	defer m.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(m.Cookie(login(m, "ann")))
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(greeting(r.Context()))
	})).ServeHTTP(httptest.NewRecorder(), r)
	fmt.Println(greeting(context.Background()))
	// Output:
	// hello ann
	// hello
}

// A gRPC interceptor loads the session, and passes it on in the context.
func ExampleNewContext() {
	m := newExample(session.Config{BearerToken: true})
	defer m.Close()
	token := login(m, "ann").Token() // from the call's metadata

	call := func(ctx context.Context) {
		s, ok := session.FromContext(ctx)
		if !ok {
			panic("no session")
		}
		s.Set("calls", 1)
		fmt.Println(s.Principal())
	}

	ctx := context.Background()
	s, err := m.Load(ctx, token)
	if err != nil {
		panic(err)
	}
	call(session.NewContext(ctx, s))
	fmt.Println(s.Save(ctx))
	// Output:
	// ann
	// <nil>
}

// Error sends the usual response to an error.
func ExampleManager_Error() {
	broken := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := newExample(session.Config{Store: broken})
	defer m.Close()
	broken.Fail(errors.New("connection refused"))
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Set("order", 7)
		if err := s.Save(r.Context()); err != nil {
			m.Error(w, r, err)
			return
		}
		fmt.Fprint(w, "ordered")
	})), "/")
	// Output: /: Your session can't be reached at the moment. Please try again in a few seconds.
}
