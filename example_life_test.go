package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/hipflask/session"
)

// Login gives the session a new ID and keeps its values, such as a basket that was filled before.
func ExampleSession_Login() {
	const basket = session.Key[[]string]("basket")

	m := newExample(session.Config{})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		fmt.Fprintf(w, "%q has %v", s.Principal(), basket.Or(s, nil))
	})
	mux.HandleFunc("/buy", func(w http.ResponseWriter, r *http.Request) {
		basket.Set(session.From(r), []string{"tea"})
		fmt.Fprint(w, "bought")
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { // by POST in a real program
		s := session.From(r)
		s.Login("ann") // after checking the password
		s.SetLabel(r.UserAgent())
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	browse(m.Handler(mux), "/buy", "/login")
	// Output:
	// /buy: bought
	// /login: "ann" has [tea]
}

// Logout ends the session. What is set after it belongs to a new one.
func ExampleSession_Logout() {
	m := newExample(session.Config{})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		fmt.Fprintf(w, "%q, values %v, flashes %v", s.Principal(), s.Len(), s.Flashes())
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { // by POST in a real program
		s := session.From(r)
		s.Login("ann")
		s.Set("color", "green")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { // by POST, too
		s := session.From(r)
		s.Logout()
		s.Flash("Bye.")
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	browse(m.Handler(mux), "/login", "/logout")
	// Output:
	// /login: "ann", values 1, flashes []
	// /logout: "", values 1, flashes [{message Bye.}]
}

// When the rights of a session grow without a login, as after a second factor, Renew gives it a new ID.
func ExampleSession_Renew() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s := login(m, "ann")
	token, handle := s.Token(), s.Info().Handle

	s.Set("second_factor", true)
	s.Renew()
	fmt.Println(s.Save(ctx), s.Token() != token, s.Info().Handle == handle)
	// Output: <nil> true true
}

// "Remember me" is a box in the form of the login page.
func ExampleSession_SetPersistent() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	for _, remember := range []bool{false, true} {
		s, err := m.Load(ctx, "")
		if err != nil {
			panic(err)
		}
		s.Login("ann")
		s.SetPersistent(remember)
		if err := s.Save(ctx); err != nil {
			panic(err)
		}
		fmt.Println(m.Cookie(s).MaxAge / (24 * 60 * 60))
	}
	// Output:
	// 0
	// 30
}

// A value that can't be encoded fails the request. Err says why.
func ExampleSession_Err() {
	m := newExample(session.Config{})
	defer m.Close()
	browse(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Set("connection", make(chan int))
		fmt.Println(s.Err())
		fmt.Fprint(w, "not sent")
	})), "/")
	// Output:
	// session: key "connection" can't be set: session: a value of type chan int can't be encoded as JSON
	// /: Your session could not be saved.
}

// A request whose session another one has logged out can't save its changes.
func ExampleSession_Save() {
	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s := login(m, "ann")
	other, err := m.Load(ctx, s.Token())
	if err != nil {
		panic(err)
	}

	s.Set("color", "green")
	fmt.Println(s.Save(ctx))

	other.Logout()
	if err := other.Save(ctx); err != nil {
		panic(err)
	}
	s.Set("color", "blue")
	fmt.Println(errors.Is(s.Save(ctx), session.ErrEnded))
	// Output:
	// <nil>
	// true
}
