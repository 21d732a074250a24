package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskfiles"
	"github.com/hipflask/session/flask/flaskmemcached"
	"github.com/hipflask/session/flask/flaskredis"
	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/mysqlstore"
	"github.com/hipflask/session/store/pgstore"
	"github.com/hipflask/session/store/sqlitestore"
	"github.com/hipflask/session/store/sqlstore"
)

// deployment is a Flask application with Flask-Session and a Go application over one store.
type deployment struct {
	name    string
	backend string
	address string
	config  map[string]any // of Flask

	open       func(*testing.T) (store.Store, error)
	ids        func([]string, string) (session.IDFormat, error)
	serializer session.Serializer
	lifetime   time.Duration
	port       string
}

// lifetime is long enough for a walk on a busy machine.
const lifetime = 10 * time.Minute

// deployments are all of them, with their Flask applications in one process and their servers in this one: a process
// for each would take most of the time of these tests.
var deployments = sync.OnceValue(func() []*deployment {
	dir, err := os.MkdirTemp("", "flask-session-")
	if err != nil {
		panic(err)
	}
	servertest.Shared.Cleanup(func() { os.RemoveAll(dir) })
	redis, memcached := servertest.Redis(servertest.Shared), servertest.Memcached(servertest.Shared)
	postgres, mariadb := servertest.Postgres(servertest.Shared), servertest.MariaDB(servertest.Shared)
	sqlite := filepath.Join(dir, "sessions.db")
	list := []*deployment{
		{name: "redis", backend: "redis", address: redis.URL, serializer: flask.Msgpack,
			open: func(t *testing.T) (store.Store, error) {
				return flaskredis.Open(t.Context(), redis.URL, nil)
			}},
		{name: "redis, signed JSON", backend: "redis", address: redis.URL, serializer: flask.JSON, ids: flask.SignedSID,
			config: map[string]any{"SESSION_USE_SIGNER": true, "SESSION_SERIALIZATION_FORMAT": "json",
				"SESSION_KEY_PREFIX": "shop:",
				"SESSION_PERMANENT":  false, "SESSION_REFRESH_EACH_REQUEST": false},
			open: func(t *testing.T) (store.Store, error) {
				return flaskredis.Open(t.Context(), redis.URL, &flaskredis.Options{KeyPrefix: "shop:"})
			}},
		{name: "memcached", backend: "memcached", address: memcached.Addr, serializer: flask.Msgpack,
			open: func(t *testing.T) (store.Store, error) {
				return flaskmemcached.Open(t.Context(), memcached.URL, nil)
			}},
		{name: "postgres", backend: "sqlalchemy",
			address: strings.Replace(postgres.URL, "postgres:", "postgresql+psycopg:", 1), serializer: flask.Msgpack,
			open: func(t *testing.T) (store.Store, error) {
				db, err := pgstore.OpenDB(t.Context(), postgres.URL)
				return flaskTable(db, err, flasksql.Postgres, nil)
			}},
		{name: "mariadb", backend: "sqlalchemy", address: strings.Replace(mariadb.URL, "mysql:", "mysql+pymysql:", 1),
			serializer: flask.Msgpack,
			open: func(t *testing.T) (store.Store, error) {
				db, err := mysqlstore.OpenDB(t.Context(), mariadb.URL)
				return flaskTable(db, err, flasksql.MySQL, nil)
			}},
		{name: "sqlite", backend: "sqlalchemy", address: "sqlite:///" + sqlite, serializer: flask.Msgpack,
			config: map[string]any{"SESSION_SQLALCHEMY_TABLE": "flask_sessions", "SESSION_PERMANENT": false},
			open: func(t *testing.T) (store.Store, error) {
				db, err := sqlitestore.OpenDB(t.Context(), "sqlite:"+sqlite, nil)
				return flaskTable(db, err, flasksql.SQLite, &flasksql.Options{Table: "flask_sessions"})
			}},
		{name: "cachelib", backend: "cachelib", address: filepath.Join(dir, "cachelib"), serializer: flask.Pickle,
			open: func(t *testing.T) (store.Store, error) {
				return flaskfiles.Open(filepath.Join(dir, "cachelib"), nil)
			}},
		{name: "filesystem", backend: "filesystem", address: filepath.Join(dir, "files"), serializer: flask.Pickle,
			config: map[string]any{"SESSION_KEY_PREFIX": "", "SESSION_REFRESH_EACH_REQUEST": false},
			open: func(t *testing.T) (store.Store, error) {
				return flaskfiles.Open(filepath.Join(dir, "files"), &flaskfiles.Options{NoKeyPrefix: true})
			}},
		{name: "redis, short lives", backend: "redis", address: redis.URL, serializer: flask.Msgpack,
			lifetime: 3 * time.Second,
			config:   map[string]any{"SESSION_KEY_PREFIX": "short:"},
			open: func(t *testing.T) (store.Store, error) {
				return flaskredis.Open(t.Context(), redis.URL, &flaskredis.Options{KeyPrefix: "short:"})
			}},
	}
	var apps [][]any
	for _, d := range list {
		if d.config == nil {
			d.config = map[string]any{}
		}
		if d.ids == nil {
			d.ids = flask.SID
		}
		if d.lifetime == 0 {
			d.lifetime = lifetime
		}
		d.config["PERMANENT_SESSION_LIFETIME"] = d.lifetime.Seconds()
		apps = append(apps, []any{d.backend, d.address, d.config})
	}
	argument, err := json.Marshal(apps)
	if err != nil {
		panic(err)
	}
	ports := []int{}
	if err := json.Unmarshal(begin(servertest.Shared, nil, "stores_app.py", string(argument)).line(),
		&ports); err != nil {
		panic(err)
	}
	for i, d := range list {
		d.port = strconv.Itoa(ports[i])
	}
	return list
})

// flaskTable makes a store of a database that was opened.
func flaskTable(db sqlstore.DB, err error, d flasksql.Dialect, opts *flasksql.Options) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return flasksql.New(db, d, opts)
}

// site returns a browser in front of both applications.
func (d *deployment) site(t *testing.T) *site {
	t.Helper()
	s := siteAt(t, d.port)
	st, err := d.open(t)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := st.(interface{ Close() error }); ok {
		t.Cleanup(func() { c.Close() })
	}
	s.serve(session.Config{SecretKey: "a-key", Store: st, IDFormat: d.ids, Serializer: d.serializer,
		Lifetime: d.lifetime})
	return s
}

func eachDeployment(t *testing.T, walk func(*testing.T, *deployment, *site)) {
	t.Parallel()
	for _, d := range deployments() {
		if d.lifetime < lifetime {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			walk(t, d, d.site(t))
		})
	}
}

// stranger is another client of the same site, without a cookie of the first one's.
func (s *site) stranger() *site {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &site{t: s.t, Client: http.Client{Jar: jar}, base: s.base}
}

func (s *site) cookie() string {
	u, err := url.Parse(s.base)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range s.Jar.Cookies(u) {
		return c.Value
	}
	return ""
}

// TestStores is a person who goes back and forth between the two applications.
func TestStores(t *testing.T) {
	eachDeployment(t, func(t *testing.T, d *deployment, first *site) {
		for _, side := range []string{"flask", "go"} {
			s := first.stranger()
			s.wantUser("")
			s.post("/"+side+"/set", 200, "key", "cart", "value", "tea")
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
			if got := s.me("go").Values; got["ключ"] != "значение \\ \" <b>" || got["b"] != "2" ||
				got["cart"] != "tea" {
				t.Errorf("values: got %v", got)
			}
			if got := s.me("flask").Values; got["b"] != "'2'" || len(got) != 3 {
				t.Errorf("values in Flask: got %v", got)
			}

			before := s.cookie()
			s.post("/flask/regenerate", 200)
			if s.cookie() == before {
				t.Error("regenerate keeps the cookie")
			}
			s.wantUser("Zoë \U0001F36A")
			s.post("/go/renew", 200)
			s.wantUser("Zoë \U0001F36A")

			stolen := s.cookie()
			s.post("/"+other(side)+"/logout", 200)
			s.wantUser("")
			thief := s.stranger()
			u, _ := url.Parse(s.base)
			thief.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: stolen, Path: "/"}})
			thief.wantUser("")
		}
	})
}

// TestStoresTypes: integers, floats and bytes keep what they are, where the format has them.
func TestStoresTypes(t *testing.T) {
	eachDeployment(t, func(t *testing.T, d *deployment, s *site) {
		s.post("/flask/types", 200)
		want := "int64 9007199254740993, float64 2, []uint8 [0 255]"
		if d.serializer == flask.JSON {
			want = "int64 9007199254740993, float64 2, string AP8="
		}
		if got := s.get("/go/types"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		s.post("/go/update", 200)
		got := s.me("flask").Values
		if got["int"] != "9007199254740993" || got["float"] != "2.0" || got["n"] != "1" ||
			d.serializer != flask.JSON && got["bytes"] != `b'\x00\xff'` {
			t.Errorf("after a change by Go Flask has %v", got)
		}
	})
}

// TestStoresPermanent: SESSION_PERMANENT, session.permanent and SetPersistent.
func TestStoresPermanent(t *testing.T) {
	eachDeployment(t, func(t *testing.T, d *deployment, first *site) {
		s := first.stranger()
		s.post("/flask/login", 200, "username", "ann")
		if got, want := s.me("flask").Permanent, d.config["SESSION_PERMANENT"] == nil; got != want {
			t.Errorf("a session that Flask began: permanent %v, want %v", got, want)
		}
		for _, side := range []string{"flask", "go"} {
			s := first.stranger()
			s.post("/"+side+"/login", 200, "username", "ann", "remember", "yes")
			s.post("/"+other(side)+"/set", 200, "key", "a", "value", "1")
			if !s.me("flask").Permanent {
				t.Errorf("remembered by %s, changed by the other: not permanent", side)
			}
		}
		s = first.stranger()
		s.post("/go/login", 200, "username", "ann")
		if s.me("flask").Permanent {
			t.Error("a session that Go began and made not persistent is permanent")
		}
	})
}

// begun starts a request that waits in its handler, and returns what ends it.
func (s *site) begun(side, key string) (finish func()) {
	s.t.Helper()
	path := "/" + side + "/hold"
	if key != "" {
		path += "?key=" + key
	}
	done := make(chan error, 1)
	go func() {
		res, err := s.Get(s.base + path)
		if err == nil {
			res.Body.Close()
		}
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", res.StatusCode)
		}
		done <- err
	}()
	if side == "go" {
		<-s.held
	} else {
		s.stranger().get("/flask/wait")
	}
	return func() {
		s.t.Helper()
		if side == "go" {
			s.released <- struct{}{}
		} else {
			s.stranger().get("/flask/release")
		}
		if err := <-done; err != nil {
			s.t.Errorf("GET %s: %v", path, err)
		}
	}
}

// TestStoresOverlap: what becomes of two requests of one session, one on each side.
func TestStoresOverlap(t *testing.T) {
	eachDeployment(t, func(t *testing.T, d *deployment, s *site) {
		quiet := d.config["SESSION_REFRESH_EACH_REQUEST"] == false
		login := func() (overlapping *site) {
			t.Helper()
			s.Jar, _ = cookiejar.New(nil)
			s.post("/flask/login", 200, "username", "ann")
			s.me("flask") // takes the flash
			// The browser sends two requests with one cookie; what the slow one answers comes into another jar.
			o := s.stranger()
			o.held, o.released = s.held, s.released
			u, _ := url.Parse(s.base)
			o.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: s.cookie(), Path: "/"}})
			return o
		}

		// Go never brings a session back, and loses nothing that Flask wrote.
		for _, end := range []string{"/flask/logout", "/flask/clear"} {
			o := login()
			finish := o.begun("go", "")
			s.post(end, 200)
			finish()
			s.wantUser("")
			o.wantUser("")
			if got := s.me("flask").Values; len(got) > 0 {
				t.Errorf("%s, then the answer of an older Go request: Flask has %v", end, got)
			}
		}
		o := login()
		finish := o.begun("go", "")
		s.post("/flask/set", 200, "key", "flask", "value", "1")
		finish()
		if got := s.me("flask").Values; got["flask"] != "'1'" || got["go"] != "'held'" {
			t.Errorf("Flask wrote while Go was busy: got %v, want both", got)
		}

		// A Flask request that has changed something writes the whole session as it was when it began.
		o = login()
		finish = o.begun("flask", "flask")
		s.post("/go/set", 200, "key", "go", "value", "1")
		finish()
		if got := s.me("go").Values; got["flask"] != "held" || got["go"] != "" {
			t.Errorf("Go wrote while Flask was busy: got %v, want Flask's alone", got)
		}
		// One that has changed nothing does so too, unless SESSION_REFRESH_EACH_REQUEST is False.
		o = login()
		finish = o.begun("flask", "")
		s.post("/go/set", 200, "key", "go", "value", "1")
		finish()
		// (On MariaDB it compares with its transaction's snapshot and finds nothing to write.)
		if got := s.me("go").Values; (got["go"] == "1") != (quiet || d.name == "mariadb") {
			t.Errorf("Go wrote while Flask only looked: got %v with SESSION_REFRESH_EACH_REQUEST=%v", got, !quiet)
		}
		// So it brings back what Go has ended. Go knows better for Config.Grace, and removes it when it is asked.
		for _, change := range []string{"", "late"} {
			o = login()
			finish = o.begun("flask", change)
			s.post("/go/logout", 200)
			finish()
			if got := o.me("go").User; got != nil {
				t.Errorf("after a logout in Go and an older Flask request: Go has user %q", *got)
			}
			if got := o.me("flask").User; got != nil && d.backend != "memcached" {
				t.Errorf("after a logout in Go, an older Flask request and a Go request: Flask has user %q", *got)
			}
		}
		// A login in Go that Flask overlaps: the new session is not touched.
		o = login()
		finish = o.begun("flask", "flask")
		s.post("/go/login", 200, "username", "bob")
		finish()
		s.wantUser("bob")
	})
}

// TestStoresRefreshAndExpiry: a request to either side keeps a session alive, and it ends for both.
func TestStoresRefreshAndExpiry(t *testing.T) {
	t.Parallel()
	var d *deployment
	for _, each := range deployments() {
		if each.lifetime < lifetime {
			d = each
		}
	}
	for _, side := range []string{"flask", "go"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			s := d.site(t)
			s.post("/"+side+"/login", 200, "username", "ann")
			cookie := s.cookie()
			keep := func(side string) string { // the cookie's own end is not what is tested
				u, _ := url.Parse(s.base)
				s.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: cookie, Path: "/"}})
				if u := s.me(side).User; u != nil {
					return *u
				}
				return ""
			}
			for began, last := time.Now(), time.Now(); time.Since(began) < 2*d.lifetime; time.Sleep(d.lifetime / 10) {
				now := time.Now()
				switch got := keep(other(side)); {
				case got == "ann":
				case time.Since(last) < d.lifetime*9/10:
					t.Fatalf("the session ended after %v of use, with lifetime %v", time.Since(began), d.lifetime)
				default: // the machine stood still for a whole lifetime
					s.post("/"+side+"/login", 200, "username", "ann")
					cookie, began = s.cookie(), time.Now()
				}
				last = now
			}
			time.Sleep(d.lifetime + 100*time.Millisecond)
			for _, side := range []string{"go", "flask"} {
				if got := keep(side); got != "" {
					t.Errorf("%s: the session lives beyond its lifetime", side)
				}
			}
		})
	}
}

// TestStoresManyRequests: of overlapping requests to Go none loses a write, in a session that Flask began.
func TestStoresManyRequests(t *testing.T) {
	eachDeployment(t, func(t *testing.T, d *deployment, s *site) {
		s.post("/flask/login", 200, "username", "ann")
		const n = 12
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if res, err := s.Post(s.base+"/go/update", "", nil); err != nil || res.StatusCode != 200 {
					t.Errorf("update: %v, %v", res, err)
				} else {
					res.Body.Close()
				}
			})
		}
		wg.Wait()
		if got := s.me("flask").Values["n"]; got != strconv.Itoa(n) {
			t.Errorf("Flask counts %s of %d updates", got, n)
		}
	})
}
