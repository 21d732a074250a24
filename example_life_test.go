package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/hipflask/session"
)

// Overlapping requests of one visitor all count. The function may run again, so it does nothing but compute.
func ExampleKey_Update() {
	const likes = session.Key[map[string]int]("likes")

	m := newExample(session.Config{})
	defer m.Close()
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all := likes.Update(session.From(r), func(l map[string]int) map[string]int {
			if l == nil {
				l = map[string]int{}
			}
			l[r.URL.Path]++
			return l
		})
		fmt.Fprint(w, all)
	})), "/tea", "/milk", "/tea")
	// Output:
	// /tea: map[/tea:1]
	// /milk: map[/milk:1 /tea:1]
	// /tea: map[/milk:1 /tea:2]
}

// Login gives a new ID and keeps the values, such as a basket that was filled before. Logout ends the session; what is
// set after it belongs to a new one.
func ExampleSession_Login() {
	const basket = session.Key[[]string]("basket")

	m := newExample(session.Config{})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		fmt.Fprintf(w, "%q has %v, flashes %v", s.Principal(), basket.Or(s, nil), s.Flashes())
	})
	mux.HandleFunc("/buy", func(w http.ResponseWriter, r *http.Request) {
		basket.Set(session.From(r), []string{"tea"})
		fmt.Fprint(w, "bought")
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { // by POST in a real program
		s := session.From(r)
		s.Login("ann")
		s.SetPersistent(r.FormValue("remember") != "")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { // by POST, too
		s := session.From(r)
		s.Logout()
		s.Flash("Bye.")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	browse(m.Handler(mux), "/buy", "/login?remember=1", "/logout")
	// Output:
	// /buy: bought
	// /login?remember=1: "ann" has [tea], flashes []
	// /logout: "" has [], flashes [{message Bye.}]
}

// When rights grow without a login, such as after a second factor, Renew gives the session a new ID.
func ExampleSession_Renew() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s, _ := m.Load(ctx, "")
	s.Login("ann")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}
	token, handle := s.Token(), s.Info().Handle

	s.Set("second factor", true)
	s.Renew()
	fmt.Println(s.Save(ctx), s.Token() != token, s.Info().Handle == handle)
	// Output: <nil> true true
}

// A connection that lives long reads its session again before it acts, and so notices a logout.
func ExampleSession_Reload() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s, _ := m.Load(ctx, "")
	s.Login("ann")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}

	socket, _ := m.Load(ctx, s.Token()) // what the handler of a WebSocket has
	fmt.Println(socket.Reload(ctx), socket.Principal())
	socket.Set("typing", true)
	fmt.Println(socket.Save(ctx))

	s.Logout()
	fmt.Println(s.Save(ctx))
	fmt.Println(errors.Is(socket.Reload(ctx), session.ErrEnded))
	// Output:
	// <nil> ann
	// <nil>
	// <nil>
	// true
}

// Open returns a session or an error, for a handler that wants to answer an outage in its own way.
func ExampleOpen() {
	m := newExample(session.Config{})
	defer m.Close()
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := session.Open(r)
		if err != nil {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "We can't tell who you are at the moment.", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "new: %t", s.IsNew())
	})), "/")
	// Output: /: new: true
}
