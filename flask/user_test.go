package flask_test

import (
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskfiles"
)

// browser is a client of a Manager: its requests bring back the cookies that it got.
type browser struct {
	*session.Manager
	jar map[string]string
}

func (b *browser) visit(t *testing.T, f func(*session.Session)) (got string) {
	t.Helper()
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	for name, value := range b.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(session.From(r)) })).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	for _, c := range w.Result().Cookies() {
		if b.jar[c.Name] = c.Value; c.Value == "" {
			delete(b.jar, c.Name)
		}
	}
	return b.jar["session"]
}

// eachLayout runs a test with Flask's cookie and with files of Flask-Session.
func eachLayout(t *testing.T, o flask.Options, run func(*testing.T, *browser)) {
	t.Helper()
	t.Parallel()
	t.Run("cookie", func(t *testing.T) {
		t.Parallel()
		run(t, &browser{newManager(t, func(c *session.Config) { c.CookieCodec = o.Cookie }), map[string]string{}})
	})
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		st, err := flaskfiles.Open(t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		run(t, &browser{newManager(t, func(c *session.Config) {
			c.CookieCodec, c.Store, c.IDFormat, c.Serializer = nil, st, o.SID, flask.Pickle
		}), map[string]string{}})
	})
}

// begin makes a session as Flask-Login leaves it, with a user of any type.
func (b *browser) begin(t *testing.T, user any) {
	t.Helper()
	b.visit(t, func(s *session.Session) {
		s.Set("_user_id", user)
		s.Set(flask.Fresh, true)
		s.Set("cart", "tea")
	})
}

// TestUserOfAnyType: Flask-Login takes what get_id returns, such as an int or a UUID.
func TestUserOfAnyType(t *testing.T) {
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	id := flask.UUID{0x12, 0x34, 15: 0x56}
	eachLayout(t, flask.Options{}, func(t *testing.T, b *browser) {
		for _, c := range []struct {
			user      any
			principal string
			next      string
			written   any
		}{
			{"ann", "ann", "bob", "bob"},
			{int64(42), "42", "43", int64(43)},
			{int64(42), "42", "042", "042"},
			{int64(42), "42", "ann", "ann"},
			{huge, huge.String(), "7", int64(7)},
			{id, "12340000-0000-0000-0000-000000000056", "98760000-0000-0000-0000-000000000001",
				flask.UUID{0x98, 0x76, 15: 1}},
			{true, "True", "ann", "ann"},
			{[]any{"a", int64(1)}, "['a', 1]", "ann", "ann"},
		} {
			b.begin(t, c.user)
			b.visit(t, func(s *session.Session) {
				if got := s.Principal(); got != c.principal {
					t.Errorf("%v: got principal %q, want %q", c.user, got, c.principal)
				}
				s.Login(c.principal) // again, such as after a password change
			})
			b.visit(t, func(s *session.Session) {
				if got, _ := s.Get("_user_id"); !sameUser(got, c.user) {
					t.Errorf("%v: a Login of the same user has written %#v", c.user, got)
				}
				if got, _ := s.Get("cart"); got != "tea" {
					t.Errorf("%v: a Login of the same user: got cart %v, want it kept", c.user, got)
				}
				s.Login(c.next)
			})
			b.visit(t, func(s *session.Session) {
				if got, _ := s.Get("_user_id"); !sameUser(got, c.written) || s.Principal() != c.next {
					t.Errorf("%v: Login(%q) has written %#v, principal %q", c.user, c.next, got, s.Principal())
				}
				if got, ok := s.Get("cart"); ok {
					t.Errorf("%v: after Login(%q) the cart of %q is there: %v", c.user, c.next, c.principal, got)
				}
			})
		}
		// A user of whom no principal can be made is still not nobody.
		b.begin(t, strings.Repeat("x", 300))
		b.visit(t, func(s *session.Session) {
			if s.Principal() == "" {
				t.Error("a user of 300 bytes is nobody")
			}
			s.Login("ann")
			if _, ok := s.Get("cart"); ok {
				t.Error("the values of a user of 300 bytes are the next user's")
			}
		})
	})
}

func sameUser(a, b any) bool {
	if x, ok := a.(*big.Int); ok {
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	}
	if list, ok := a.([]any); ok {
		return len(list) == len(b.([]any))
	}
	return a == b
}

// TestLogoutForgetsRemembered: Flask-Login's remember-me cookie would undo the logout.
func TestLogoutForgetsRemembered(t *testing.T) {
	eachLayout(t, flask.Options{}, func(t *testing.T, b *browser) {
		remembered := func() (got any) {
			b.visit(t, func(s *session.Session) { got, _ = s.Get("_remember") })
			return got
		}
		b.begin(t, "ann")
		b.visit(t, (*session.Session).Logout)
		if got := remembered(); got != nil || b.jar["session"] != "" {
			t.Errorf("without the cookie: got _remember %v, session %q", got, b.jar["session"])
		}
		b.jar["remember_token"] = "42|mac"
		for name, end := range map[string]func(*session.Session){
			"Logout": (*session.Session).Logout,
			"Delete": func(s *session.Session) { s.Delete("_user_id") },
			"twice":  func(s *session.Session) { s.Logout(); s.Logout() },
			"Clear":  func(s *session.Session) { s.Logout(); s.Clear() },
		} {
			b.begin(t, "ann")
			b.visit(t, end)
			if got := remembered(); got != "clear" {
				t.Errorf("%s: got _remember %v, want clear", name, got)
			}
		}
	})
	eachLayoutOf(t, flask.Options{RememberCookie: "stay"}, func(t *testing.T, b *browser) {
		b.jar["stay"] = "42|mac"
		b.begin(t, "ann")
		b.visit(t, (*session.Session).Logout)
		b.visit(t, func(s *session.Session) {
			if got, _ := s.Get("_remember"); got != "clear" {
				t.Errorf("REMEMBER_COOKIE_NAME: got _remember %v, want clear", got)
			}
		})
	})
}

// eachLayoutOf is eachLayout within a test that is parallel already.
func eachLayoutOf(t *testing.T, o flask.Options, run func(*testing.T, *browser)) {
	t.Helper()
	t.Run("options", func(t *testing.T) { eachLayout(t, o, run) })
}

// TestClearKeepsTheUser, as its doc says.
func TestClearKeepsTheUser(t *testing.T) {
	eachLayout(t, flask.Options{}, func(t *testing.T, b *browser) {
		b.begin(t, int64(42))
		cookie := b.visit(t, func(s *session.Session) { s.Set(flask.ID, "hash") })
		after := b.visit(t, (*session.Session).Clear)
		b.visit(t, func(s *session.Session) {
			user, _ := s.Get("_user_id")
			fresh, _ := s.Get(flask.Fresh)
			id, _ := s.Get(flask.ID)
			if s.Principal() != "42" || user != int64(42) || fresh != true || id != "hash" {
				t.Errorf("after Clear: principal %q, _user_id %v, _fresh %v, _id %v", s.Principal(), user, fresh, id)
			}
			if _, ok := s.Get("cart"); ok {
				t.Error("Clear keeps the cart")
			}
		})
		if strings.Contains(cookie, ".") != strings.Contains(after, ".") ||
			!strings.Contains(cookie, ".") && cookie != after {
			t.Errorf("Clear changed the ID")
		}
		// What a Login scrubs stays away, and what it sets stays.
		b.visit(t, func(s *session.Session) { s.Login("bob"); s.Clear(); s.Set("a", "1") })
		b.visit(t, func(s *session.Session) {
			if id, ok := s.Get(flask.ID); s.Principal() != "bob" || ok {
				t.Errorf("after Login and Clear: principal %q, _id %v", s.Principal(), id)
			}
		})
	})
}

// TestUserKey: setting the key that names the user is a Login, deleting it the end of one.
func TestUserKey(t *testing.T) {
	for _, key := range []string{"_user_id", "username"} {
		t.Run(key, func(t *testing.T) {
			o := flask.Options{}
			if key != "_user_id" {
				o.UserKey = key
			}
			eachLayout(t, o, func(t *testing.T, b *browser) {
				b.visit(t, func(s *session.Session) { s.Set("cart", "tea") })
				stored := b.isStore()
				old := b.jar["session"]
				b.visit(t, func(s *session.Session) { s.Set(key, "ann") })
				if stored && b.jar["session"] == old {
					t.Error("Set is no login: the ID is the old one")
				}
				b.visit(t, func(s *session.Session) {
					_, fresh := s.Get(flask.Fresh)
					if s.Principal() != "ann" || fresh != (key == "_user_id") {
						t.Errorf("after Set: principal %q, _fresh %v", s.Principal(), fresh)
					}
					if got, _ := s.Get("cart"); got != "tea" {
						t.Errorf("after a login of a visitor: cart %v", got)
					}
					session.Key[string](key).Update(s, func(u string) string { return "bob" })
				})
				old = b.jar["session"]
				b.visit(t, func(s *session.Session) {
					if _, ok := s.Get("cart"); s.Principal() != "bob" || ok {
						t.Errorf("after Set of another user: principal %q, the cart of the first one: %v",
							s.Principal(), ok)
					}
					s.Set("theme", "dark")
					s.SetPersistent(true)
				})
				{
					b.visit(t, func(s *session.Session) {
						if got, ok := session.Key[string](key).Pop(s); got != "bob" || !ok || s.Principal() != "" {
							t.Errorf("Pop: got %q, %v; principal %q afterwards", got, ok, s.Principal())
						}
					})
				}
				if stored {
					copied := &browser{b.Manager, map[string]string{"session": old}}
					copied.visit(t, func(s *session.Session) {
						if s.Principal() != "" || s.Len() > 0 {
							t.Errorf("the ID from before the end of the login has principal %q", s.Principal())
						}
					})
				}
				b.visit(t, func(s *session.Session) {
					theme, _ := s.Get("theme")
					_, fresh := s.Get(flask.Fresh)
					permanent, _ := s.Get("_permanent")
					if s.Principal() != "" || theme != "dark" || fresh || permanent != true {
						t.Errorf("after Pop: principal %q, theme %v, _fresh %v, _permanent %v", s.Principal(),
							theme, fresh, permanent)
					}
					s.Delete(key) // nothing is there: no change
				})
				b.visit(t, func(s *session.Session) { s.Set(key, "ann"); s.Set(key, nil) })
				b.visit(t, func(s *session.Session) {
					if s.Principal() != "" {
						t.Errorf("after Set(nil): principal %q", s.Principal())
					}
				})
			})
		})
	}
}

// isStore reports whether the cookie is an ID and not the session itself.
func (b *browser) isStore() bool { return !strings.Contains(b.jar["session"], ".") }

// TestSetPermanent: session["_permanent"] = x is session.permanent = x (flask/sessions.py, SessionMixin).
func TestSetPermanent(t *testing.T) {
	eachLayout(t, flask.Options{}, func(t *testing.T, b *browser) {
		for _, c := range []struct {
			value any
			want  any
		}{{true, true}, {false, false}, {1, true}, {"", false}, {"yes", true}, {nil, false}} {
			b.visit(t, func(s *session.Session) { s.Set("a", "1"); s.Set("_permanent", !(c.want.(bool))) })
			b.visit(t, func(s *session.Session) { s.Set("_permanent", c.value) })
			b.visit(t, func(s *session.Session) {
				if got, _ := s.Get("_permanent"); got != c.want {
					t.Errorf("Set(%#v): got %v, want %v", c.value, got, c.want)
				}
			})
		}
		b.visit(t, func(s *session.Session) { s.Set("_permanent", true); s.Delete("_permanent") })
		b.visit(t, func(s *session.Session) {
			if got, _ := s.Get("_permanent"); got != false {
				t.Errorf("Delete: got %v, want false", got)
			}
		})
	})
}

// The values were signed by itsdangerous 2.2.0:
//
//	for d in "hmac", "django-concat", "concat", "none":
//	    s = SecureCookieSessionInterface(); s.key_derivation = d
//	    app.secret_key = b"bytes \xff key, as Flask takes them"
//	    print(s.get_signing_serializer(app).dumps({"user": "ann"}))  # with time.time() = 1700000000
func TestDerivations(t *testing.T) {
	t.Parallel()
	const key = "bytes \xff key, as Flask takes them" // a Go string holds any bytes
	for derivation, value := range map[flask.Derivation]string{
		flask.DeriveHMAC:   "eyJ1c2VyIjoiYW5uIn0.ZVPxAA.Z8IYPNIuyz66ofTQXJaQqP3Mp3Y",
		flask.DeriveConcat: "eyJ1c2VyIjoiYW5uIn0.ZVPxAA.BcPEbqMDSBEMO77ltTRkgQPk71s",
		flask.DerivePlain:  "eyJ1c2VyIjoiYW5uIn0.ZVPxAA.RVGQ-BKaJh2y7dxfo4TyIsM_mWI",
		flask.DeriveNone:   "eyJ1c2VyIjoiYW5uIn0.ZVPxAA.5MoMVf1JW0kGuy6_QxGOR2tW_ec",
	} {
		s, err := flask.NewSigner("cookie-session", []string{key}, derivation, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		payload, at, err := s.Unsign(value)
		if string(payload) != `{"user":"ann"}` || at.Unix() != 1700000000 || err != nil {
			t.Errorf("derivation %d: got %s at %v, %v", derivation, payload, at, err)
		}
		codec, err := flask.Options{Derivation: derivation, Leeway: time.Hour}.Cookie([]string{key}, "session")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := codec.Decode(value); err != session.ReasonLifetime {
			t.Errorf("derivation %d by Options: got %v, want only that it is too old", derivation, err)
		}
	}
	if _, err := (flask.Options{Derivation: 9}).Cookie([]string{key}, "session"); err == nil {
		t.Error("an unknown derivation is no error")
	}
}
