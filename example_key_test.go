package session_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/hipflask/session"
)

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

func ExampleKey_Get() {
	const theme = session.Key[string]("theme")

	m := newExample(session.Config{})
	defer m.Close()
	s := login(m, "ann")
	value, ok := theme.Get(s)
	fmt.Printf("%q %t\n", value, ok)
	fmt.Println(theme.Or(s, "light"))

	theme.Set(s, "dark")
	value, ok = theme.Get(s)
	fmt.Printf("%q %t\n", value, ok)
	// Output:
	// "" false
	// light
	// "dark" true
}

// A value is encoded when it is set: what happens to the slice later changes nothing in the session.
func ExampleKey_Set() {
	const basket = session.Key[[]string]("basket")

	m := newExample(session.Config{})
	defer m.Close()
	s := login(m, "ann")
	things := []string{"tea", "milk"}
	basket.Set(s, things)
	things[0] = "coffee"
	fmt.Println(basket.Or(s, nil))
	// Output: [tea milk]
}

// Pop reads a value that is needed only once, such as the page to return to after a login.
func ExampleKey_Pop() {
	const next = session.Key[string]("next")

	m := newExample(session.Config{})
	defer m.Close()
	s := login(m, "ann")
	next.Set(s, "/orders")
	fmt.Println(next.Pop(s))
	fmt.Println(next.Pop(s))
	// Output:
	// /orders true
	//  false
}

// All overlapping requests of a visitor count. The function may run again, so it does nothing but compute.
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

// Of any number of requests that take a one-time value, exactly one gets it.
func ExampleKey_Take() {
	const state = session.Key[string]("oauth_state")

	m := newExample(session.Config{})
	defer m.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/start", func(w http.ResponseWriter, r *http.Request) {
		state.Set(session.From(r), "xyz") // rand.Text() in a real program
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

// Untyped values come back with the types of JSON.
func ExampleSession_Get() {
	m := newExample(session.Config{})
	defer m.Close()
	s := login(m, "ann")
	s.Set("size", 42)
	s.Set("colors", []string{"green", "blue"})
	for _, key := range s.Keys() {
		value, _ := s.Get(key)
		fmt.Printf("%s: %v (%T)\n", key, value, value)
	}
	// Output:
	// colors: [green blue] ([]interface {})
	// size: 42 (int64)
}

// A module keeps its state in an attribute, out of the application's way.
func ExampleAttribute() {
	type check struct{ Passed bool }
	const secondFactor = session.Attribute[check]("example.com/secondfactor")

	m := newExample(session.Config{})
	defer m.Close()
	s := login(m, "ann")
	s.Set("color", "green")
	secondFactor.Set(s, check{Passed: true})
	s.Clear()
	fmt.Println(s.Len())
	fmt.Println(secondFactor.Get(s))

	s.Login("ben")
	fmt.Println(secondFactor.Get(s))
	// Output:
	// 0
	// {true} true
	// {false} false
}

// Lists show public attributes: here, from where somebody logged in.
func ExamplePublicAttribute_Of() {
	const country = session.PublicAttribute[string]("example.com/country")

	m := newExample(session.Config{})
	defer m.Close()
	ctx := context.Background()
	s := login(m, "ann")
	country.Set(s, "Portugal")
	if err := s.Save(ctx); err != nil {
		panic(err)
	}

	for info, err := range m.Sessions(ctx, "ann") {
		if err != nil {
			panic(err)
		}
		fmt.Println(country.Of(info))
	}
	// Output: Portugal true
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

// Flashes removes the messages that it returns.
func ExampleSession_Flashes() {
	m := newExample(session.Config{})
	defer m.Close()
	s := login(m, "ann")
	s.Flash("The order is on its way.")
	s.Flash("The card expires soon.", "warning")
	for _, f := range s.Flashes() {
		fmt.Printf("%s: %s\n", f.Category, f.Message)
	}
	fmt.Println(len(s.Flashes()))
	// Output:
	// message: The order is on its way.
	// warning: The card expires soon.
	// 0
}
