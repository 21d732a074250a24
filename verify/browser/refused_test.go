package browser

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

// TestCookiesThatBrowsersRefuse shows that what Chromium drops without a word is what this library reports before.
func TestCookiesThatBrowsersRefuse(t *testing.T) {
	sizes := map[string]int{"fits": 4096, "toolong": 4097} // name and value
	mux := http.NewServeMux()
	mux.HandleFunc("/raw", func(w http.ResponseWriter, r *http.Request) {
		for name, size := range sizes {
			w.Header().Add("Set-Cookie", name+"="+strings.Repeat("x", size-len(name))+"; Path=/")
		}
		w.Header().Add("Set-Cookie", "__Host-right=1; Path=/; Secure")
		w.Header().Add("Set-Cookie", "__Host-path=1; Path=/raw; Secure")
		w.Header().Add("Set-Cookie", "__Host-domain=1; Path=/; Secure; Domain=localhost")
		w.Header().Add("Set-Cookie", "__Host-insecure=1; Path=/")
		fmt.Fprint(w, "<h1>set</h1>")
	})
	var got error
	sessions, err := session.New(session.Config{
		SecretKey:    session.NewSecretKey(),
		CookieCodec:  session.EncryptedCookie,
		InsecureHTTP: true,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			got = err
			http.Error(w, "<h1>refused</h1>", http.StatusInternalServerError)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()
	mux.Handle("/large", sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Set("large", strings.Repeat("x", 4000))
		fmt.Fprint(w, "<h1>stored</h1>")
	})))
	server := httptest.NewServer(mux)
	defer server.Close()
	b, _ := open(t, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), t.TempDir())

	b.visit("/raw")
	kept := map[string]bool{}
	for _, c := range b.cookies() {
		kept[c.Name] = true
	}
	for name, want := range map[string]bool{
		"fits": true, "toolong": false,
		"__Host-right": true, "__Host-path": false, "__Host-domain": false, "__Host-insecure": false,
	} {
		if kept[name] != want {
			t.Errorf("Chromium keeps the cookie %s: got %v, want %v", name, kept[name], want)
		}
	}

	b.visit("/large")
	if !errors.Is(got, session.ErrTooLarge) || strings.Contains(b.text("body"), "stored") {
		t.Errorf("a session of 4000 bytes in a cookie: got error %v and page %q, want ErrTooLarge and "+
			"no page of the handler", got, b.text("body"))
	}
	for name, c := range map[string]session.Config{
		"Path":   {Cookie: session.Cookie{Name: "__Host-session", Path: "/raw"}},
		"Domain": {Cookie: session.Cookie{Name: "__Host-session", Domain: "example.com"}},
		"Secure": {Cookie: session.Cookie{Name: "__Host-session"}, InsecureHTTP: true},
	} {
		c.SecretKey, c.CookieCodec = session.NewSecretKey(), session.EncryptedCookie
		if m, err := session.New(c); err == nil {
			m.Close()
			t.Errorf("__Host- with a wrong %s: got no error from New", name)
		}
	}
}
