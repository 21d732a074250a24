package session_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

const expired = "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; "

// What browsers get for each configuration; a deletion repeats every attribute (RFC 6265bis, section 5.7), and a client
// that follows the rules takes it for one.
func TestSetCookie(t *testing.T) {
	t.Parallel()
	type cookie = session.Cookie
	for _, c := range []struct {
		name             string
		cookie           cookie
		insecure         bool
		lifetime         time.Duration
		before, age, end string // NAME, what stands between Path or Domain and HttpOnly when it is set, the rest
	}{
		{name: "default", before: "__Host-session", end: "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "insecure", insecure: true, before: "session", end: "Path=/; HttpOnly; SameSite=Lax"},
		{name: "domain", cookie: cookie{Domain: "example.com"}, before: "__Secure-session",
			end: "Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		{name: "domain with a dot", cookie: cookie{Domain: ".example.com"}, before: "__Secure-session",
			end: "Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		{name: "path", cookie: cookie{Path: "/app"}, before: "__Secure-session",
			end: "Path=/app; HttpOnly; Secure; SameSite=Lax"},
		{name: "insecure path and domain", cookie: cookie{Path: "/app", Domain: "example.com"}, insecure: true,
			before: "session",
			end:    "Path=/app; Domain=example.com; HttpOnly; SameSite=Lax"},
		{name: "name", cookie: cookie{Name: "id"}, before: "id", end: "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "strict", cookie: cookie{SameSite: http.SameSiteStrictMode}, before: "__Host-session",
			end: "Path=/; HttpOnly; Secure; SameSite=Strict"},
		{name: "none", cookie: cookie{SameSite: http.SameSiteNoneMode}, before: "__Host-session",
			end: "Path=/; HttpOnly; Secure; SameSite=None"},
		{name: "partitioned", cookie: cookie{Partitioned: true}, before: "__Host-session",
			end: "Path=/; HttpOnly; Secure; SameSite=None; Partitioned"},
		{name: "partitioned and strict", cookie: cookie{Partitioned: true, SameSite: http.SameSiteStrictMode},
			before: "__Host-session",
			end:    "Path=/; HttpOnly; Secure; SameSite=Strict; Partitioned"},
		{name: "persistent", cookie: cookie{Persistent: true}, before: "__Host-session", age: "Max-Age=2592000; ",
			end: "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "persistent for an hour", cookie: cookie{Persistent: true}, lifetime: time.Hour,
			before: "__Host-session", age: "Max-Age=3600; ",
			end: "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "persistent for less than a second", cookie: cookie{Persistent: true}, lifetime: time.Millisecond,
			before: "__Host-session", age: "Max-Age=1; ",
			end: "Path=/; HttpOnly; Secure; SameSite=Lax"},
		// 400 days
		{name: "persistent for ever", cookie: cookie{Persistent: true}, lifetime: -1, before: "__Host-session",
			age: "Max-Age=34560000; ",
			end: "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{name: "everything", cookie: cookie{Name: "__Secure-x", Domain: "example.com", Path: "/app",
			SameSite: http.SameSiteNoneMode, Partitioned: true, Persistent: true},
			before: "__Secure-x", age: "Max-Age=2592000; ",
			end: "Path=/app; Domain=example.com; HttpOnly; Secure; SameSite=None; Partitioned"},
	} {
		for kind, option := range kinds {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, option, func(config *session.Config) {
						config.Cookie, config.InsecureHTTP, config.Lifetime = c.cookie, c.insecure, c.lifetime
					})
					attributes, rest, _ := strings.Cut(c.end, "HttpOnly")
					res := b.get(t, "", func(_ http.ResponseWriter, r *http.Request) { setPlain(session.From(r)) })
					equal(t, "set", sets(res), []string{c.before + "=VALUE; " + attributes + c.age + "HttpOnly" + rest})
					if res.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("got Cache-Control %q with a cookie, want no-store", res.Header.Get("Cache-Control"))
					}

					site := &url.URL{Scheme: "https", Host: "example.com", Path: "/app/page"}
					jar, _ := cookiejar.New(nil)
					jar.SetCookies(site, res.Cookies())
					if n := len(jar.Cookies(site)); n != 1 {
						t.Fatalf("got %d cookies in the client, want 1", n)
					}
					sent := jar.Cookies(site)[0]
					res = b.get(t, sent.Name+"="+sent.Value, func(_ http.ResponseWriter, r *http.Request) {
						session.From(r).Logout()
					})
					equal(t, "deletion", sets(res),
						[]string{c.before + "=; " + attributes + expired + "HttpOnly" + rest})
					if res.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("got Cache-Control %q with a deletion, want no-store", res.Header.Get("Cache-Control"))
					}
					jar.SetCookies(site, res.Cookies())
					if n := len(jar.Cookies(site)); n != 0 {
						t.Errorf("got %d cookies in the client after the deletion, want none", n)
					}
				})
			})
		}
	}
}

// One Set-Cookie of the session's name at most (RFC 6265bis, section 4.1.1), whatever a handler does.
func TestOneSetCookie(t *testing.T) {
	t.Parallel()
	save := func(t *testing.T, s *session.Session) {
		if err := s.Save(t.Context()); err != nil {
			t.Error(err)
		}
	}
	set := "=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"
	forget := "=; Path=/; " + expired + "HttpOnly; Secure; SameSite=Lax"
	for kind, option := range kinds {
		b := newBench(t, option)
		for name, c := range map[string]struct {
			do   func(*testing.T, *session.Session)
			want string
		}{
			"nothing": {func(*testing.T, *session.Session) {}, ""},
			"read":    {func(_ *testing.T, s *session.Session) { s.Get("color") }, ""},
			"three saves": {func(t *testing.T, s *session.Session) {
				for _, v := range []string{"a", "b", "c"} {
					s.Renew()
					s.Set("v", v)
					save(t, s)
				}
			}, set},
			"login twice": {func(t *testing.T, s *session.Session) {
				s.Login("ann")
				save(t, s)
				s.Login("bob")
			}, set},
			"login and logout": {func(t *testing.T, s *session.Session) {
				s.Login("ann")
				save(t, s)
				s.Logout()
			}, forget},
			"login, logout, no save": {func(_ *testing.T, s *session.Session) { s.Login("ann"); s.Logout() }, forget},
			"logout and login": {func(t *testing.T, s *session.Session) {
				s.Logout()
				save(t, s)
				s.Login("ann")
			}, set},
			"logout and flash": {func(_ *testing.T, s *session.Session) {
				s.Logout()
				s.Flash("you are logged out")
			}, set},
			"logout, saved, flash": {func(t *testing.T, s *session.Session) {
				s.Logout()
				save(t, s)
				s.Flash("you are logged out")
			}, set},
			"logout and set and pop": {func(_ *testing.T, s *session.Session) {
				s.Logout()
				s.Set("a", 1)
				s.Pop("a")
			}, forget},
			"renew": {func(_ *testing.T, s *session.Session) { s.Renew() }, set},
			"renew twice": {func(t *testing.T, s *session.Session) {
				s.Renew()
				save(t, s)
				s.Renew()
			}, set},
			"persistent and back": {func(_ *testing.T, s *session.Session) {
				s.SetPersistent(true)
				s.SetPersistent(false)
			}, set},
			"logout twice": {func(t *testing.T, s *session.Session) {
				s.Logout()
				save(t, s)
				s.Logout()
				save(t, s)
			}, forget},
			"the same value once more": {func(_ *testing.T, s *session.Session) { setPlain(s) }, ""},
		} {
			cookie := b.cookie(t, setPlain)
			want := []string{"theme=dark"}
			if c.want != "" {
				want = append(want, b.name+c.want)
			}
			res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "theme", Value: "dark"})
				if c.want != "" { // a handler's own cookie of our name, which has no business there
					http.SetCookie(w, &http.Cookie{Name: b.name, Value: "mine"})
				}
				c.do(t, session.From(r))
			})
			got := sets(res)
			got[0] = strings.Replace(got[0], "VALUE", "dark", 1)
			equal(t, kind+": "+name, got, want)
		}
	}
}

// Whichever way a handler looks at its session, caches learn that the answer depends on the visitor (Flask:
// CVE-2023-30861, CVE-2026-27205), also when the handler sets the header itself.
func TestVaryOnEveryAccess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		option func(*session.Config)
		field  string
	}{
		"cookie": {func(*session.Config) {}, "Cookie"},
		"bearer": {func(c *session.Config) { c.BearerToken = true }, "Authorization"},
		"codec":  {encrypted, "Cookie"},
	} {
		b := newBench(t, c.option)
		vary := func(what string, want []string, handler http.HandlerFunc) {
			t.Helper()
			res := b.get(t, "", handler)
			equal(t, name+": "+what, res.Header["Vary"], want)
			if len(res.Cookies()) > 0 && res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s: a cookie without no-store", name, what)
			}
		}
		vary("no access", nil, func(http.ResponseWriter, *http.Request) {})
		vary("From", []string{c.field}, func(_ http.ResponseWriter, r *http.Request) { session.From(r) })
		vary("Manager.From", []string{c.field}, func(_ http.ResponseWriter, r *http.Request) { b.From(r) })
		vary("Open", []string{c.field}, func(_ http.ResponseWriter, r *http.Request) { session.Open(r) })
		vary("FromContext", []string{c.field}, func(_ http.ResponseWriter, r *http.Request) {
			session.FromContext(r.Context())
		})
		vary("Preload", []string{c.field}, func(w http.ResponseWriter, r *http.Request) {
			b.Preload(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		})
		vary("other fields", []string{"Accept, Origin", c.field}, func(w http.ResponseWriter, r *http.Request) {
			session.From(r)
			w.Header()["Vary"] = []string{"Accept, Origin"}
		})
		vary("set over ours", []string{"Origin", c.field}, func(w http.ResponseWriter, r *http.Request) {
			session.From(r)
			w.Header().Set("Vary", "Origin")
		})
		vary("named already", []string{"Origin, " + strings.ToLower(c.field)},
			func(w http.ResponseWriter, r *http.Request) {
				session.From(r)
				w.Header().Set("Vary", "Origin, "+strings.ToLower(c.field))
			})
		vary("star", []string{"*"}, func(w http.ResponseWriter, r *http.Request) {
			session.From(r)
			w.Header().Set("Vary", "*")
		})

		methods := reflect.TypeFor[*session.Session]()
		for i := range methods.NumMethod() {
			m := methods.Method(i)
			if m.Name == "Format" {
				continue // fmt's, whose argument only fmt has
			}
			vary(m.Name, []string{c.field}, func(w http.ResponseWriter, r *http.Request) {
				args := []reflect.Value{reflect.ValueOf(session.From(r))}
				for n := 1; n < m.Type.NumIn() && !(m.Type.IsVariadic() && n == m.Type.NumIn()-1); n++ {
					arg := reflect.New(m.Type.In(n)).Elem()
					switch arg.Kind() {
					case reflect.String:
						arg.SetString("ann")
					case reflect.Bool:
						arg.SetBool(true)
					case reflect.Interface:
						if ctx := reflect.ValueOf(r.Context()); ctx.Type().Implements(arg.Type()) {
							arg.Set(ctx)
						}
					}
					args = append(args, arg)
				}
				m.Func.Call(args)
			})
		}
	}
}

// A handler's stricter word stays.
func TestCacheControl(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for given, want := range map[string]string{
		"":                            "no-store",
		"public, max-age=600":         "no-store",
		"private":                     "no-store",
		"no-cache":                    "no-store",
		"No-Store, max-age=0":         "No-Store, max-age=0",
		"private, no-store, no-cache": "private, no-store, no-cache",
		"x-no-store":                  "no-store",
		"no-storexy, private":         "no-store",
		`x="no-store"`:                "no-store",
		`x="a, no-store, b"`:          "no-store",
		`x="\", no-store"`:            "no-store",
		`private="x, y", no-store`:    `private="x, y", no-store`,
		"no-store=x":                  "no-store",
		"public, no-store":            "no-store",
		"no-store, max-age=600":       "no-store",
		"no-store, S-MaxAge=1":        "no-store",
		"no-store, immutable":         "no-store",
		"no-store, max-age=0":         "no-store, max-age=0",
		" no-store\t, private":        " no-store\t, private",
	} {
		res := b.get(t, "", func(w http.ResponseWriter, r *http.Request) {
			setPlain(session.From(r))
			if given != "" {
				w.Header().Set("Cache-Control", given)
			}
		})
		equal(t, "Cache-Control "+given, res.Header["Cache-Control"], []string{want})
	}
	cookie := b.cookie(t, setPlain)
	res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Set("n", 1)
		w.Header().Set("Cache-Control", "private")
	})
	equal(t, "without a cookie", res.Header["Cache-Control"], []string{"private"})
}

// RFC 6750, section 2.1; and no other place in a request holds a token (ASVS 5.0, 14.2.1).
func TestBearerToken(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *session.Config) { c.BearerToken = true })
	var token string
	res := b.get(t, "", func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Login("ann")
		token = s.Token()
	})
	if res.Header["Set-Cookie"] != nil || res.Header.Get("Vary") != "Authorization" {
		t.Errorf("got %v, want no cookie, and Vary: Authorization", res.Header)
	}
	b.store.took()
	b.events.took()
	who := func(lines ...string) string {
		r := httptest.NewRequest("POST", "/?session="+token+"&access_token="+token,
			strings.NewReader("access_token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", "session="+token+"; __Host-session="+token+"; bearer token="+token+"; ="+token)
		r.Header.Set("X-Session", token)
		r.Header.Set("Proxy-Authorization", "Bearer "+token)
		if lines != nil {
			r.Header["Authorization"] = lines
		}
		return body(t, b.serve(t, r, func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(session.From(r).Principal()))
		}))
	}
	for _, lines := range [][]string{{"Bearer " + token}, {"bearer " + token}, {"BEARER " + token},
		{"Bearer   " + token + " "}} {
		if got := who(lines...); got != "ann" {
			t.Errorf("%q: got %q, want ann", lines, got)
		}
	}
	equal(t, "store", b.store.took(), slices.Repeat([]string{"load"}, 4))
	for _, lines := range [][]string{
		nil, {}, {""}, {"Bearer"}, {"Bearer "}, {" Bearer " + token}, {"Bearer\t" + token}, {"Bearer" + token}, {token},
		{"Basic " + token}, {"Bearer: " + token},
		{"Bearer " + token + "x"}, {"Bearer " + token + "=="}, {"Bearer " + token + " x"},
		{"Bearer " + token + "," + token}, {`Bearer "` + token + `"`},
		{"Bearer " + token, "Bearer " + token}, {"Basic eA==", "Bearer " + token}, {"Basic eA==, Bearer " + token},
		{"Bearer Bearer " + token},
		{"Bearer " + strings.Repeat("A", 43)}, {"Bearer " + strings.Repeat("A", 100<<10)}, {"Bearer \x00"},
		{"Bearer \xff\xfe"},
	} {
		if got := who(lines...); got != "" {
			t.Errorf("%.80q: got %q, want nobody", lines, got)
		}
	}
	equal(t, "store", b.store.took(), nil)
}

// A bearer token needs no header: the handler can send it in the answer's body, or over a socket.
func TestBearerTokenAfterFirstByte(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *session.Config) { c.BearerToken = true })
	for name, begin := range map[string]http.HandlerFunc{
		"opened before": func(w http.ResponseWriter, r *http.Request) { session.From(r); w.WriteHeader(http.StatusOK) },
		"opened after":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) },
	} {
		res := b.get(t, "", func(w http.ResponseWriter, r *http.Request) {
			begin(w, r)
			s := session.From(r)
			s.Login("ann")
			w.Write([]byte(s.Token()))
		})
		if s, err := b.Load(t.Context(), body(t, res)); err != nil || s.Principal() != "ann" {
			t.Errorf("%s: got %v, want the token in the body to be ann's", name, err)
		}
		want := []string{"login"}
		if name == "opened after" {
			want = []string{"read late", "login"}
		}
		equal(t, name, b.events.took(), want)
	}
}

// oddCodec is a codec of somebody else's that breaks the rule for values.
type oddCodec struct {
	session.Codec
	value string
}

func (c oddCodec) Encode(store.Record) (string, error) { return c.value, nil }

// What a codec returns is a value, whatever it holds: as net/http writes it, and nothing of it is an attribute.
func TestOddCookieValues(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"plain", "a;b", "a; Domain=example.com", "a,b", "a b", "a\x7fb", `a"b`,
		`a\b`, "a\r\nSet-Cookie: b", "ä", strings.Repeat("a", 100) + ";"} {
		b := newBench(t, func(config *session.Config) {
			config.Store = nil
			config.CookieCodec = func(keys []string, name string) (session.Codec, error) {
				c, err := session.EncryptedCookie(keys, name)
				return oddCodec{c, value}, err
			}
		})
		res := b.get(t, "", func(w http.ResponseWriter, r *http.Request) { session.From(r).Set("a", 1) })
		want := http.Cookie{Name: "__Host-session", Value: value, Path: "/", HttpOnly: true, Secure: true,
			SameSite: http.SameSiteLaxMode}
		if got := res.Header["Set-Cookie"]; len(got) != 1 || got[0] != want.String() {
			t.Errorf("%q: got %q, want %q", value, got, want.String())
		}
	}
}

// What shared caches follow in place of Cache-Control is overruled beside a cookie, and left alone without one.
func TestCacheControlOfCDNs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	given := map[string]string{
		"CDN-Cache-Control": "max-age=600", "Surrogate-Control": `max-age=600, content="ESI/1.0"`,
		"Cloudflare-CDN-Cache-Control": "public",
		"Edge-Control":                 "!no-store, max-age=1d", "Netlify-CDN-Cache-Control": "no-store",
		"X-Accel-Expires": "600",
	}
	for what, change := range map[string]func(*session.Session){"a cookie": setPlain,
		"no cookie": func(*session.Session) {}} {
		res := b.get(t, "", func(w http.ResponseWriter, r *http.Request) {
			change(session.From(r))
			for name, value := range given {
				w.Header().Set(name, value)
			}
		})
		for name, value := range given {
			want := value
			if what == "a cookie" {
				want = "no-store"
				if name == "X-Accel-Expires" {
					want = "0"
				}
			}
			equal(t, what+": "+name, res.Header.Values(name), []string{want})
		}
	}
}

// A session that is first read after the first byte can't be given Vary any more: an event says so, once.
func TestReadLate(t *testing.T) {
	t.Parallel()
	var events []session.EventKind
	b := newBench(t, func(c *session.Config) {
		c.OnEvent = func(_ context.Context, e session.Event) { events = append(events, e.Kind) }
	})
	cookie := b.cookie(t, setPlain)
	for late, want := range map[bool][]session.EventKind{true: {session.EventReadLate}, false: nil} {
		events = nil
		b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
			if !late {
				session.From(r)
			}
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			session.From(r).Get("a")
			session.From(r).Get("a")
		})
		if !slices.Equal(events, want) {
			t.Errorf("late %v: got events %q, want %q", late, events, want)
		}
	}
}
