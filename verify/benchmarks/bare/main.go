// Command bare answers every request with the same bytes: what net/http itself takes.
package main

import (
	"flag"
	"log"
	"maps"
	"net/http"
	"os"
	"strings"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	body := flag.String("body", "", "`file` with the body")
	header := http.Header{}
	flag.Func("header", "`line` of the header", func(line string) error {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
		return nil
	})
	flag.Parse()
	page, err := os.ReadFile(*body)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		_, _ = w.Write(page)
	})
	log.Fatal(http.ListenAndServe(*addr, nil))
}
