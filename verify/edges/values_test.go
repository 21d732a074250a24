package edges

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/hipflask/session"
)

// An oauth2.Token is a value like any other, without its extra fields: an id_token needs a key of its own, as
// docs/recipes.md says.
func TestOAuthToken(t *testing.T) {
	t.Parallel()
	const (
		token   = session.Key[*oauth2.Token]("oauth_token")
		idToken = session.Key[string]("id_token")
	)
	s := newSetup(t)
	u, err := s.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	expiry := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	given := (&oauth2.Token{AccessToken: "access", RefreshToken: "refresh", TokenType: "Bearer",
		Expiry: expiry}).WithExtra(map[string]any{"id_token": "signed"})
	token.Set(u, given)
	if id, ok := given.Extra("id_token").(string); ok {
		idToken.Set(u, id)
	}
	if err := u.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u, err = s.Load(t.Context(), u.Token()); err != nil {
		t.Fatal(err)
	}
	got, ok := token.Get(u)
	if !ok || got.AccessToken != "access" || got.RefreshToken != "refresh" || got.TokenType != "Bearer" ||
		!got.Expiry.Equal(expiry) {
		t.Errorf("got %+v, %v, want the token", got, ok)
	}
	if got.Extra("id_token") != nil || idToken.Or(u, "") != "signed" {
		t.Errorf("got id_token %v within the token and %q beside it, want it beside alone", got.Extra("id_token"),
			idToken.Or(u, ""))
	}
}

// http.MaxBytesReader tells the server's own writer to close the connection. Within sessions it can't, so the limit
// belongs around them, as docs/troubleshooting.md says.
func TestMaxBytes(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	const limit = 1000
	handler := func(inside bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session.From(r).Set("seen", true)
			if inside {
				r.Body = http.MaxBytesReader(w, r.Body, limit)
			}
			if _, err := io.ReadAll(r.Body); err != nil {
				http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			}
		})
	}
	for name, c := range map[string]struct {
		h      http.Handler
		closed bool
	}{
		"around": {http.MaxBytesHandler(s.Handler(handler(false)), limit), true},
		"inside": {s.Handler(handler(true)), false},
	} {
		v := visit(t, "HTTP/1.1", c.h)
		r, err := http.NewRequestWithContext(t.Context(), "POST", v.url, bytes.NewReader(make([]byte, limit+1)))
		if err != nil {
			t.Fatal(err)
		}
		if res := v.send(r); res.StatusCode != http.StatusRequestEntityTooLarge || res.Close != c.closed ||
			v.cookie() == "" {
			t.Errorf("%s: got %d, closed %v, want 413, closed %v, and the session", name, res.StatusCode,
				res.Close, c.closed)
		}
	}
}
