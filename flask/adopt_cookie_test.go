package flask_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// moved is a site that was Flask's, and a browser.
type moved struct {
	t      *testing.T
	client *http.Client
	url    *url.URL
}

func newMoved(t *testing.T, st store.Store, lifetime time.Duration, handle func(*session.Session),
	options ...func(*session.Config)) *moved {
	t.Helper()
	adopter, err := flask.NewCookieAdopter(flask.CookieAdopterOptions{SecretKeys: []string{secret}, Lifetime: lifetime,
		InsecureHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	config := session.Config{
		SecretKey: session.NewSecretKey(), Store: st, Adopt: adopter.Adopt, InsecureHTTP: true,
		Cookie: session.Cookie{Name: "new"},
	}
	for _, o := range options {
		o(&config)
	}
	m, err := session.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	server := httptest.NewServer(adopter.Handler(m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/asset" {
			handle(session.From(r))
		}
	})))
	t.Cleanup(server.Close)
	jar, _ := cookiejar.New(nil)
	at, _ := url.Parse(server.URL)
	return &moved{t, &http.Client{Jar: jar}, at}
}

// flask gives the browser a cookie that Flask has signed.
func (m *moved) flask(document string, at time.Time) {
	m.client.Jar.SetCookies(m.url,
		[]*http.Cookie{{Name: "session", Value: signer(m.t).Sign([]byte(document), at), Path: "/"}})
}

func (m *moved) get(path string, status int) {
	m.t.Helper()
	res, err := m.client.Get(m.url.String() + path)
	if err != nil {
		m.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != status {
		m.t.Errorf("%s: got status %d, want %d", path, res.StatusCode, status)
	}
}

func (m *moved) has(name string) bool {
	for _, c := range m.client.Jar.Cookies(m.url) {
		if c.Name == name {
			return true
		}
	}
	return false
}

// TestCookieAdopter: a login of Flask's cookie moves, with its values and the time of its signature, and the browser
// forgets the cookie; so a logout is not undone.
func TestCookieAdopter(t *testing.T) {
	t.Parallel()
	signed := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	for _, first := range []string{"/", "/asset"} {
		var got string
		var at time.Time
		logout := false
		m := newMoved(t, memstore.New(nil), 0, func(s *session.Session) {
			cart, _ := session.Key[int]("cart").Get(s)
			at, _ = flask.SignedAt.Get(s)
			if got = s.Principal(); cart == 5 {
				got += " cart"
			}
			if logout {
				s.Logout()
			}
		})
		m.flask(`{"_fresh":true,"_user_id":"ann","cart":5}`, signed)
		m.get(first, 200)
		if m.has("session") || !m.has("new") {
			t.Errorf("%s: after adoption the browser has the old cookie %v, and the new one %v", first,
				m.has("session"), m.has("new"))
		}
		m.get("/", 200)
		if got != "ann cart" || !at.Equal(signed) {
			t.Errorf("%s: got %q, signed at %v, want %q and %v", first, got, at, "ann cart", signed)
		}
		logout = true
		// again there, such as from a Flask process that was still running
		m.flask(`{"_fresh":true,"_user_id":"ann"}`, signed)
		m.get("/", 200)
		logout = false
		m.get("/", 200)
		if got != "" || m.has("session") {
			t.Errorf("%s: after a logout got %q, and the old cookie is there %v", first, got, m.has("session"))
		}
	}
}

// TestCookieAdopterRefuses: what Flask would not accept is not adopted, and is forgotten all the same.
func TestCookieAdopterRefuses(t *testing.T) {
	t.Parallel()
	got := "none"
	m := newMoved(t, memstore.New(nil), time.Hour, func(s *session.Session) { got = s.Principal() })
	now := time.Now()
	for what, c := range map[string]struct {
		document, tail, want string
		at                   time.Time
	}{
		"a good one":               {`{"_user_id":"ann"}`, "", "ann", now.Add(-30 * time.Minute)},
		"older than the lifetime":  {`{"_user_id":"ann"}`, "", "", now.Add(-61 * time.Minute)},
		"of the future":            {`{"_user_id":"ann"}`, "", "", now.Add(time.Minute)},
		"another signature":        {`{"_user_id":"ann"}`, "A", "", now},
		"not a session":            {`["ann"]`, "", "", now},
		"without a user":           {`{"cart":1}`, "", "", now},
		"of a user without a name": {`{"_user_id":""}`, "", "", now},
	} {
		m.client.Jar, _ = cookiejar.New(nil)
		value := signer(t).Sign([]byte(c.document), c.at) + c.tail
		m.client.Jar.SetCookies(m.url, []*http.Cookie{{Name: "session", Value: value, Path: "/"}})
		m.get("/", 200)
		if got != c.want || m.has("session") {
			t.Errorf("%s: got principal %q, want %q; the old cookie is there %v", what, got, c.want, m.has("session"))
		}
	}
}

// failing takes no new session while it is down.
type failing struct {
	store.Store
	down bool
}

func (f *failing) Create(ctx context.Context, r store.Record) error {
	if f.down {
		return errors.New("down")
	}
	return f.Store.Create(ctx, r)
}

// TestCookieAdopterLosesNothing: the browser keeps the old cookie until its session is stored.
func TestCookieAdopterLosesNothing(t *testing.T) {
	t.Parallel()
	st := &failing{memstore.New(nil), true}
	got := ""
	m := newMoved(t, st, 0, func(s *session.Session) { got = s.Principal() })
	m.flask(`{"_user_id":"ann"}`, time.Now())
	m.get("/", 503)
	if !m.has("session") {
		t.Error("the session was not stored, and the old cookie is gone")
	}
	st.down = false
	m.get("/", 200)
	if got != "ann" || m.has("session") || !m.has("new") {
		t.Errorf("at the second try: got principal %q, and the old cookie is there %v", got, m.has("session"))
	}
}

func TestCookieAdopterNeedsItsHandler(t *testing.T) {
	t.Parallel()
	adopter, err := flask.NewCookieAdopter(flask.CookieAdopterOptions{SecretKeys: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	m := newManager(t, func(c *session.Config) {
		c.SecretKey, c.CookieCodec, c.Store, c.Adopt, c.Cookie.Name = session.NewSecretKey(), nil, memstore.New(nil),
			adopter.Adopt, "new"
	})
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: signer(t).Sign([]byte(`{"_user_id":"ann"}`), time.Now())})
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(change(func(s *session.Session) { s.Set("a", 1) }))).ServeHTTP(w, r)
	if w.Code != 500 || strings.Contains(w.Header().Get("Set-Cookie"), "new=") {
		t.Errorf("without Handler: got status %d and %q, want 500 and no cookie", w.Code, w.Header().Get("Set-Cookie"))
	}
	for _, o := range []flask.CookieAdopterOptions{
		{}, {SecretKeys: []string{""}}, {SecretKeys: []string{secret}, Lifetime: -1},
		{SecretKeys: []string{secret}, Cookie: session.Cookie{Name: "a b"}},
	} {
		if _, err := flask.NewCookieAdopter(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestAdoptedLoginKeepsItsTime: Lifetime counts from Flask's signature, and a login that is older than the Manager
// accepts is over at once.
func TestAdoptedLoginKeepsItsTime(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	for _, c := range []struct {
		age, lifetime, persistent time.Duration
		document, want            string
	}{
		{30 * time.Minute, time.Hour, 0, `{"_user_id":"ann","cart":5}`, "ann"},
		{61 * time.Minute, time.Hour, 0, `{"_user_id":"ann","cart":5}`, ""},
		{61 * time.Minute, time.Hour, 0, `{"_user_id":"ann","_permanent":true}`, ""},
		{61 * time.Minute, time.Hour, 2 * time.Hour, `{"_user_id":"ann","_permanent":true}`, "ann"},
		{61 * time.Minute, time.Hour, 2 * time.Hour, `{"_user_id":"ann"}`, ""},
		{61 * time.Minute, -1, 0, `{"_user_id":"ann"}`, "ann"},
	} {
		var got []string
		var at, expires time.Time
		m := newMoved(t, memstore.New(nil), 0, func(s *session.Session) {
			got = append(got, s.Principal())
			at, expires = s.Info().CreatedAt, s.Info().ExpiresAt
		}, func(o *session.Config) { o.Lifetime, o.PersistentLifetime = c.lifetime, c.persistent })
		m.flask(c.document, now.Add(-c.age))
		m.get("/", 200)
		m.get("/", 200)
		if strings.Join(got, ",") != c.want+","+c.want || m.has("session") {
			t.Errorf("%+v: got principals %q, and the old cookie is there %v", c, got, m.has("session"))
		}
		if c.want == "" {
			continue
		}
		if !at.Equal(now.Add(-c.age)) {
			t.Errorf("%+v: the login is of %v, want %v", c, at, now.Add(-c.age))
		}
		if left := expires.Sub(now.Add(-c.age)); c.lifetime > 0 && left > max(c.lifetime, c.persistent) {
			t.Errorf("%+v: it lives for %v from the login", c, left)
		}
	}
}

// TestCookieAdopterOfTheSameName: forgetting the old cookie would forget the new one, so nothing works from the first
// request.
func TestCookieAdopterOfTheSameName(t *testing.T) {
	t.Parallel()
	m := newMoved(t, memstore.New(nil), 0, func(*session.Session) { t.Error("the handler was called") },
		func(o *session.Config) { o.Cookie.Name = "session" })
	m.get("/", 500)
}
