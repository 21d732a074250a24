package flask_test

import (
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store/memstore"
)

// TestCSRFEndsAtLogin: a token from before a Login is not valid after it, in the same request and in later ones, in
// each layout; but it is if the application wants that. A token from after it is, and what Flask-WTF has made is in
// Flask's layout.
func TestCSRFEndsAtLogin(t *testing.T) {
	t.Parallel()
	for layout, configure := range map[string]func(*session.Config){
		"store":            func(c *session.Config) { c.Store = memstore.New(nil) },
		"encrypted cookie": func(c *session.Config) { c.CookieCodec = session.EncryptedCookie },
		"Flask's cookie":   func(c *session.Config) { c.CookieCodec = flask.Cookie },
	} {
		config := session.Config{SecretKey: session.NewSecretKey(), InsecureHTTP: true}
		config.Cookie.Name = "session"
		configure(&config)
		m, err := session.New(config)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for _, keep := range []bool{false, true} {
			csrf, err := flask.NewCSRF("a key", 0)
			if err != nil {
				t.Fatal(err)
			}
			csrf.KeepAtLogin = keep
			made := func(s *session.Session) string {
				token, err := csrf.Token(s)
				if err != nil {
					t.Error(err)
				}
				return token
			}
			expect := func(s *session.Session, what, token string, valid bool) {
				t.Helper()
				if err := csrf.Check(s, token); (err == nil) != valid {
					t.Errorf("%s, keep %v, %s: got %v, want valid %v", layout, keep, what, err, valid)
				}
			}
			var anonymous, ann, ben string
			_, cookie := serve(m, "", change(func(s *session.Session) {
				anonymous = made(s)
				expect(s, "in the request that made it", anonymous, true)
			}))
			_, cookie = serve(m, cookie, change(func(s *session.Session) {
				expect(s, "in the next request", anonymous, true)
				s.Login("ann")
				expect(s, "right after a login", anonymous, keep)
				ann = made(s)
				expect(s, "made after the login", ann, true)
			}))
			_, cookie = serve(m, cookie, change(func(s *session.Session) {
				expect(s, "in the request after the login", anonymous, keep)
				expect(s, "the user's in the next request", ann, true)
				s.Renew()
			}))
			_, cookie = serve(m, cookie, change(func(s *session.Session) {
				expect(s, "after a Renew", ann, true)
				s.Login("ben")
				expect(s, "after the login of another user", ann, false)
				ben = made(s)
			}))
			serve(m, cookie, change(func(s *session.Session) {
				expect(s, "the other user's", ben, true)
				if layout != "Flask's cookie" {
					s.Login("ben")
					expect(s, "after another login of the same user", ben, keep)
				}
				csrf.Rotate(s)
				expect(s, "after Rotate", ben, false)
			}))

			// Flask-WTF's own, and then a login without a look at the token.
			wtf := "da39a3ee5e6b4b0d3255bfef95601890afd80709"
			token := sign(t, "a key", wtf)
			_, cookie = serve(m, "", change(func(s *session.Session) {
				s.Set("csrf_token", wtf)
				expect(s, "Flask-WTF's for a visitor", token, true)
			}))
			_, cookie = serve(m, cookie, change(func(s *session.Session) { s.Login("ann") }))
			serve(m, cookie, change(func(s *session.Session) {
				expect(s, "Flask-WTF's after a login", token, keep || layout == "Flask's cookie")
				csrf.Rotate(s)
				expect(s, "Flask-WTF's after Rotate", token, false)
			}))
		}
	}
}

func sign(t *testing.T, key, token string) string {
	t.Helper()
	s, err := flask.NewSigner("wtf-csrf-token", []string{key}, flask.DeriveConcat, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := flask.TaggedJSON.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	return s.Sign(payload, time.Now())
}
