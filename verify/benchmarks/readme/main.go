// Command readme is a program as the one at the top of the README, on a port and a store of choice.
// Processes that get the same $SECRET_KEY share the sessions of their store.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/hipflask/session"
	"github.com/hipflask/session/storeurl"
)

const visits = session.Key[int]("visits")

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	url := flag.String("store", "memory:", "`URL` of the store")
	flag.Parse()
	store, err := storeurl.Open(context.Background(), *url)
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := session.New(session.Config{SecretKey: os.Getenv("SECRET_KEY"), InsecureHTTP: true, Store: store})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if s.Principal() == "" {
			fmt.Fprintln(w, "You are not logged in")
			return
		}
		n := visits.Update(s, func(n int) int { return n + 1 })
		fmt.Fprintf(w, "Logged in as %s, %d visits\n", s.Principal(), n)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Login(r.FormValue("username"))
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	log.Fatal(http.ListenAndServe(*addr, sessions.Handler(mux)))
}
