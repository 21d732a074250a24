package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
)

// site is one host: a Flask application under /flask/, a Go application under /go/, and a proxy in front.
type site struct {
	t *testing.T
	http.Client
	base string
	app  atomic.Pointer[http.Handler] // the Go application, replaced when keys rotate

	held, released chan struct{} // of /go/hold
}

func newSite(t *testing.T, key string) *site {
	t.Helper()
	py := start(t, []string{"SECRET_KEY=" + key}, "app.py")
	s := siteAt(t, strings.TrimSpace(string(py.line())))
	s.use(key)
	return s
}

// siteAt is a site whose Flask application listens on a port. The Go application is missing.
func siteAt(t *testing.T, port string) *site {
	t.Helper()
	s := &site{t: t, held: make(chan struct{}, 1), released: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.Handle("/flask/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "127.0.0.1:" + port})
		r.Out.Host = r.In.Host
	}})
	mux.HandleFunc("/go/", func(w http.ResponseWriter, r *http.Request) { (*s.app.Load()).ServeHTTP(w, r) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Jar, s.base = jar, server.URL
	return s
}

// use runs the Go application with these keys.
func (s *site) use(key string, fallbacks ...string) {
	s.t.Helper()
	s.serve(session.Config{SecretKey: key, SecretKeyFallbacks: fallbacks, CookieCodec: flask.Cookie})
}

// serve runs the Go application with these settings.
func (s *site) serve(config session.Config) {
	s.t.Helper()
	config.Cookie.Name = "session"
	config.InsecureHTTP = true // the test's server has no TLS
	sessions, err := session.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { sessions.Close() })
	csrf, err := flask.NewCSRF(config.SecretKey, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /go/me", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		p := person{Flashes: [][2]string{}, Values: map[string]string{}}
		if u := s.Principal(); u != "" {
			p.User = &u
		}
		p.Fresh, _ = s.Get(flask.Fresh)
		for _, f := range s.Flashes() {
			p.Flashes = append(p.Flashes, [2]string{f.Category, f.Message})
		}
		for _, k := range s.Keys() {
			if v, _ := s.Get(k); !strings.HasPrefix(k, "_") && k != "csrf_token" {
				p.Values[k] = fmt.Sprint(v)
			}
		}
		json.NewEncoder(w).Encode(p)
	})
	mux.HandleFunc("POST /go/login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Login(r.FormValue("username"))
		s.Set(flask.ID, flask.LoginID(r))
		s.SetPersistent(r.FormValue("remember") != "")
		s.Flash("Welcome, "+r.FormValue("username")+"!", "greeting")
	})
	mux.HandleFunc("POST /go/logout", func(w http.ResponseWriter, r *http.Request) { session.From(r).Logout() })
	mux.HandleFunc("POST /go/set", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Set(r.FormValue("key"), r.FormValue("value"))
	})
	mux.HandleFunc("GET /go/token", func(w http.ResponseWriter, r *http.Request) {
		token, err := csrf.Token(session.From(r))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		io.WriteString(w, token)
	})
	mux.HandleFunc("POST /go/form", func(w http.ResponseWriter, r *http.Request) {
		if err := csrf.Check(session.From(r), r.FormValue("csrf_token")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("POST /go/renew", func(w http.ResponseWriter, r *http.Request) { session.From(r).Renew() })
	mux.HandleFunc("POST /go/update", func(w http.ResponseWriter, r *http.Request) {
		session.Key[int]("n").Update(session.From(r), func(n int) int { return n + 1 })
	})
	mux.HandleFunc("GET /go/types", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		i, _ := s.Get("int")
		f, _ := s.Get("float")
		b, _ := s.Get("bytes")
		fmt.Fprintf(w, "%T %v, %T %v, %T %v", i, i, f, f, b, b)
	})
	mux.HandleFunc("/go/hold", func(w http.ResponseWriter, r *http.Request) {
		values := session.From(r)
		s.held <- struct{}{}
		<-s.released
		values.Set("go", "held")
	})
	h := sessions.Handler(mux)
	s.app.Store(&h)
}

// person is what /me says on both sides.
type person struct {
	User      *string           `json:"user"`
	Fresh     any               `json:"fresh"`
	Permanent bool              `json:"permanent"`
	Flashes   [][2]string       `json:"flashes"`
	Values    map[string]string `json:"values"`
}

func (s *site) body(res *http.Response, err error) (int, string) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (s *site) get(path string) string {
	s.t.Helper()
	status, body := s.body(s.Get(s.base + path))
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: got %d: %s", path, status, body)
	}
	return body
}

func (s *site) post(path string, want int, fields ...string) {
	s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	if status, body := s.body(s.PostForm(s.base+path, form)); status != want {
		s.t.Fatalf("POST %s: got %d, want %d: %s", path, status, want, body)
	}
}

func (s *site) me(side string) (p person) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.get("/"+side+"/me")), &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *site) wantUser(want string) {
	s.t.Helper()
	for _, side := range []string{"flask", "go"} {
		got := ""
		if u := s.me(side).User; u != nil {
			got = *u
		}
		if got != want {
			s.t.Errorf("%s: got user %q, want %q", side, got, want)
		}
	}
}

func other(side string) string {
	if side == "go" {
		return "flask"
	}
	return "go"
}

// TestLoginID compares LoginID with Flask-Login's own for unusual User-Agents: a login made by Go is fresh in Flask
// only if they agree.
func TestLoginID(t *testing.T) {
	t.Parallel()
	s := newSite(t, "a-key")
	for _, name := range []string{"plain/1.0", "it's", `"quoted"`, `it's "both"`, `back\slash`, "tab\tin",
		"Zo\xeb", "ünï"} {
		s.Transport = agent{name}
		s.post("/go/login", 200, "username", "ann")
		if p := s.me("flask"); p.Fresh != true {
			t.Errorf("User-Agent %q: the login is not fresh in Flask: %v", name, p.Fresh)
		}
	}
}

// agent sends requests with this User-Agent.
type agent struct{ name string }

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", a.name)
	return http.DefaultTransport.RoundTrip(r)
}

// TestWalk is a person who goes back and forth between the two applications.
func TestWalk(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"flask", "go"} {
		t.Run("login on "+side, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "first-key")
			s.wantUser("")
			s.post("/"+side+"/login", 200, "username", "Zoë \U0001F36A")
			there := s.me(other(side))
			if want := fmt.Sprint([][2]string{{"greeting", "Welcome, Zoë \U0001F36A!"}}); fmt.Sprint(
				there.Flashes) != want {
				t.Errorf("flashes on the other side: got %v, want %v", there.Flashes, want)
			}
			if again := s.me(side); len(again.Flashes) > 0 {
				t.Errorf("flashes are shown twice: %v", again.Flashes)
			}
			if there.Fresh != true {
				t.Errorf("the login is not fresh on the other side: %v", there.Fresh)
			}
			s.wantUser("Zoë \U0001F36A")

			s.post("/"+side+"/set", 200, "key", "ключ", "value", "значение \\ \" <b>")
			s.post("/"+other(side)+"/set", 200, "key", "b", "value", "2")
			if got := s.me("go").Values; got["ключ"] != "значение \\ \" <b>" || got["b"] != "2" {
				t.Errorf("values: got %v", got)
			}
			if got := s.me("flask").Values; got["b"] != "'2'" || len(got) != 2 {
				t.Errorf("values in Flask: got %v", got)
			}

			s.use("second-key", "first-key")
			s.wantUser("Zoë \U0001F36A")
			s.post("/flask/rotate", 200, "key", "second-key")
			s.wantUser("Zoë \U0001F36A")
			s.post("/go/set", 200, "key", "c", "value", "signed by the new key")
			s.use("second-key")
			s.wantUser("Zoë \U0001F36A")

			s.post("/"+other(side)+"/logout", 200)
			s.wantUser("")
		})
	}
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"flask", "go"} {
		s := newSite(t, "a-key")
		s.post("/"+side+"/login", 200, "username", "ann", "remember", "yes")
		if !s.me("flask").Permanent {
			t.Errorf("remembered by %s: Flask has no permanent session", side)
		}
		s.post("/go/set", 200, "key", "a", "value", "1")
		if !s.me("flask").Permanent {
			t.Errorf("remembered by %s and changed by Go: Flask has no permanent session", side)
		}
	}
}

func TestCSRFTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, "a-key")
	for _, side := range []string{"flask", "go"} {
		token := s.get("/" + side + "/token")
		for _, to := range []string{"flask", "go"} {
			s.post("/"+to+"/form", 200, "csrf_token", token)
			s.post("/"+to+"/form", 400, "csrf_token", token[:len(token)-4]+"AAAA")
		}
	}
	other := newSite(t, "a-key")
	foreign := other.get("/go/token")
	s.post("/go/form", 400, "csrf_token", foreign)
	s.post("/flask/form", 400, "csrf_token", foreign)
}

// TestBadCookiesOnBothSides: what Flask refuses Go refuses too, and neither fails.
func TestBadCookiesOnBothSides(t *testing.T) {
	t.Parallel()
	s := newSite(t, "a-key")
	s.post("/go/login", 200, "username", "ann")
	u, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	good := s.Jar.Cookies(u)[0].Value
	for _, bad := range []string{"", "x", good[:len(good)-1], good + "x", "." + good, strings.Replace(good, ".", "", 1),
		strings.ToUpper(good)} {
		s.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: bad, Path: "/"}})
		s.wantUser("")
	}
	s.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: good, Path: "/"}})
	s.wantUser("ann")
}
