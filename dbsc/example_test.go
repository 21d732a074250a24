package dbsc_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/hipflask/session"
	"github.com/hipflask/session/dbsc"
	"github.com/hipflask/session/store/memstore"
)

func Example() {
	sessions, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: memstore.New(nil)})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	device, err := dbsc.New(sessions, dbsc.Options{OnEvent: func(_ context.Context, e dbsc.Event) {
		fmt.Println(e.Kind, e.Principal)
	}})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.Handle("/dbsc/", device)
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Login("ann")
	})
	mux.Handle("GET /transfer", device.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "Only the device of the login gets here.")
	})))
	handler := sessions.Handler(device.Middleware(mux))

	// A browser would now register its key.
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("POST", "https://bank.example/login", nil))
	offer, _, _ := strings.Cut(w.Header().Get("Secure-Session-Registration"), ";challenge=")
	fmt.Println(offer)

	w = httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "https://bank.example/transfer", nil))
	fmt.Println(w.Code)
	// Output:
	// offered ann
	// (ES256 RS256);path="/dbsc/register"
	// 401
}
