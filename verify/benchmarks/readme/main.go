// Command readme is a program as the one at the top of the README, on a port and a store of choice.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

const visits = session.Key[int]("visits")

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	dir := flag.String("dir", "", "`folder` for the sessions; without it they are kept in memory")
	flag.Parse()
	config := session.Config{SecretKey: session.NewSecretKey(), InsecureHTTP: true, Store: memstore.New(nil)}
	if *dir != "" {
		files, err := filestore.Open(*dir, nil)
		if err != nil {
			log.Fatal(err)
		}
		config.Store = files
	}
	sessions, err := session.New(config)
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
