// Command bare answers every request with the same body: what net/http itself takes.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	body := flag.String("body", "", "`file` with the body")
	flag.Parse()
	page, err := os.ReadFile(*body)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	log.Fatal(http.ListenAndServe(*addr, nil))
}
