package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskfiles"
	"github.com/hipflask/session/flask/flaskmemcached"
	"github.com/hipflask/session/flask/flaskredis"
	"github.com/hipflask/session/flask/flasksql"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/sqlitestore"
)

// TestVersions runs what differs between the versions that people have: the cookie, Flask-Login's user and flash
// messages on each, and the stores of each Flask-Session. The newest ones are in requirements.txt, older ones in
// versions.
func TestVersions(t *testing.T) {
	t.Parallel()
	versions := []struct {
		name    string
		pickles bool // Flask-Session before 0.7
	}{{"2.2", true}, {"2.3", true}, {"3.0", false}, {"", false}}
	for _, v := range versions {
		requirements, env := "requirements.txt", []string(nil)
		name := "newest"
		if v.name != "" {
			name, requirements = "Flask "+v.name, filepath.Join("versions", v.name, "requirements.txt")
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if v.name != "" {
				env = overlay(t, v.name)
			}
			runVersion(t, env, requirements)
			if v.name != "" { // the newest Flask-Session has tests of its own
				runStores(t, env, v.name, v.pickles)
			}
		})
	}
	if other := otherPython(); other != "" {
		t.Run("newest on another Python", func(t *testing.T) {
			t.Parallel()
			dir, err := installed(other, "requirements.txt", filepath.Join(".venv", "other"))
			if err != nil {
				t.Fatal(err)
			}
			runVersion(t, []string{"PYTHON=" + other, "PYTHONPATH=" + dir}, "requirements.txt")
		})
	}
}

// otherPython returns another Python than that of the environment, of a version that the requirements have packages
// for; "" if there is none.
func otherPython() string {
	const version = "import sys; print('%d.%d' % sys.version_info[:2])"
	own, _ := exec.Command(python, "-c", version).Output()
	home, _ := os.UserHomeDir()
	managed, _ := filepath.Glob(filepath.Join(home, ".pyenv", "versions", "*", "bin", "python"))
	for _, minor := range []string{"3.13", "3.12", "3.11"} {
		for _, candidate := range append([]string{"python" + minor}, managed...) {
			found, err := exec.Command(candidate, "-c", version).Output()
			if err != nil || strings.TrimSpace(string(found)) != minor || string(found) == string(own) {
				continue
			}
			if path, err := exec.Command(candidate, "-c", "import sys; print(sys.executable)").Output(); err == nil {
				return strings.TrimSpace(string(path))
			}
		}
	}
	return ""
}

// runVersion walks with the cookie, and compares a few random sessions.
func runVersion(t *testing.T, env []string, requirements string) {
	py := start(t, append(env, "SECRET_KEY=a-key"), "app.py")
	s := siteAt(t, strings.TrimSpace(string(py.line())))
	s.use("a-key")
	checkVersions(t, s, requirements)

	for _, user := range []struct{ kind, first, second string }{
		{"str", "ann", "bob"},
		{"int", "42", "43"},
		{"uuid", "12345678-1234-5678-1234-567812345678", "00000000-0000-0000-0000-000000000001"},
	} {
		kind := map[string]string{"str": "str", "int": "int", "uuid": "UUID"}[user.kind]
		s := s.stranger()
		s.post("/flask/login", 200, "username", user.first, "type", user.kind)
		s.post("/flask/set", 200, "key", "cart", "value", "tea")
		if p := s.me("go"); p.User == nil || *p.User != user.first {
			t.Errorf("a user of type %s: Go has %v", kind, p.User)
		}
		s.post("/go/set", 200, "key", "a", "value", "1")
		s.wantStored(kind, user.first)
		s.post("/go/login", 200, "username", user.second)
		s.wantStored(kind, user.second)
		if got := s.me("go").Values; got["cart"] != "" {
			t.Errorf("a user of type %s: after Login of another one: %v", kind, got)
		}
		s.post("/flask/logout", 200)
		s.wantUser("")
	}

	// Flask-Login's remember-me cookie doesn't undo a logout in Go.
	s.post("/flask/login", 200, "username", "ann", "stay", "yes")
	u, err := url.Parse(s.base)
	if err != nil {
		t.Fatal(err)
	}
	drop := func() { s.Jar.SetCookies(u, []*http.Cookie{{Name: "session", Path: "/", MaxAge: -1}}) }
	drop()
	if p := s.me("flask"); p.User == nil {
		t.Error("Flask-Login doesn't remember the user: the walk tests nothing")
	}
	s.post("/go/logout", 200)
	if p := s.me("flask"); p.User != nil {
		t.Errorf("after a logout in Go Flask has user %q", *p.User)
	}
	drop()
	s.wantUser("")

	// Odd values cost nothing but themselves, flash messages of any type are shown.
	s.post("/flask/login", 200, "username", "ann")
	s.me("flask") // takes the greeting
	s.post("/flask/odd", 200)
	s.post("/go/set", 200, "key", "a", "value", "1")
	odd := s.get("/flask/odd")
	var kept struct {
		Kept    bool
		Flashes []string
	}
	if err := json.Unmarshal([]byte(odd), &kept); err != nil || !kept.Kept || len(kept.Flashes) != 3 ||
		!strings.Contains(kept.Flashes[2], "Markup") {
		t.Errorf("after a change in Go Flask has %s, %v", odd, err)
	}
	p := s.me("go")
	if want := "[[message {'name': ['This field is required.']}] [5 404] [message <b>x</b>]]"; p.User == nil ||
		fmt.Sprint(p.Flashes) != want {
		t.Errorf("Go has user %v and flash messages %v, want ann and %s", p.User, p.Flashes, want)
	}

	codec, err := flask.Cookie([]string{secret}, "session")
	if err != nil {
		t.Fatal(err)
	}
	randomSessions(t, start(t, env, "codec.py", secret), codec, *sessions/50)
}

// wantStored checks the user as Flask has it in its session.
func (s *site) wantStored(kind, id string) {
	s.t.Helper()
	if got, want := s.get("/flask/user"), fmt.Sprintf(`{"id":"%s","type":"%s"}`,
		id, kind); strings.Join(strings.Fields(got), "") != want {
		s.t.Errorf("in Flask's session: got %s, want %s", got, want)
	}
}

// checkVersions compares the packages that the process has loaded with those that are wanted.
func checkVersions(t *testing.T, s *site, requirements string) {
	t.Helper()
	text, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	wanted, query := map[string]string{}, url.Values{}
	for _, line := range strings.Fields(string(text)) {
		name, version, _ := strings.Cut(line, "==")
		wanted[name] = version
		query.Add("of", name)
	}
	got := map[string]string{}
	if err := json.Unmarshal([]byte(s.get("/flask/versions?"+query.Encode())), &got); err != nil ||
		fmt.Sprint(got) != fmt.Sprint(wanted) {
		t.Errorf("got %v, %v; want %v", got, err, wanted)
	}
}

// runStores walks with the stores of a Flask-Session.
func runStores(t *testing.T, env []string, name string, pickles bool) {
	dir := t.TempDir()
	redis, memcached := servertest.Redis(servertest.Shared), servertest.Memcached(servertest.Shared)
	prefix := "v" + name + ":"
	files, sqlite := filepath.Join(dir, "files"), filepath.Join(dir, "sessions.db")
	type layout struct {
		backend, address string
		config           map[string]any
		open             func() (store.Store, error)
		ids              func([]string, string) (session.IDFormat, error)
		serializer       session.Serializer
	}
	plain := flask.Msgpack
	if pickles {
		plain = flask.Pickle
	}
	layouts := []layout{
		{"redis", redis.URL, map[string]any{"SESSION_KEY_PREFIX": prefix}, func() (store.Store, error) {
			return flaskredis.Open(t.Context(), redis.URL, &flaskredis.Options{KeyPrefix: prefix})
		}, flask.SID, plain},
		{"filesystem", files, map[string]any{}, func() (store.Store, error) {
			return flaskfiles.Open(files, nil)
		}, flask.SID, flask.Pickle},
		{"memcached", memcached.Addr, map[string]any{"SESSION_KEY_PREFIX": prefix}, func() (store.Store, error) {
			return flaskmemcached.Open(t.Context(), memcached.URL, &flaskmemcached.Options{KeyPrefix: prefix})
		}, flask.SID, plain},
	}
	if name == "2.2" {
		layouts = append(layouts, layout{"airflow", "sqlite:///" + sqlite, map[string]any{},
			func() (store.Store, error) {
				db, err := sqlitestore.OpenDB(t.Context(), "sqlite:"+sqlite, nil)
				return flaskTable(db, err, flasksql.SQLite, &flasksql.Options{Table: "session", NoKeyPrefix: true})
			}, flask.SignedSID, flask.Pickle})
	}
	var apps [][]any
	for _, l := range layouts {
		l.config["PERMANENT_SESSION_LIFETIME"] = lifetime.Seconds()
		apps = append(apps, []any{l.backend, l.address, l.config})
	}
	argument, err := json.Marshal(apps)
	if err != nil {
		t.Fatal(err)
	}
	var ports []int
	if err := json.Unmarshal(start(t, env, "stores_app.py", string(argument)).line(), &ports); err != nil {
		t.Fatal(err)
	}
	for i, l := range layouts {
		t.Run(l.backend, func(t *testing.T) {
			s := siteAt(t, fmt.Sprint(ports[i]))
			st, err := l.open()
			if err != nil {
				t.Fatal(err)
			}
			if c, ok := st.(interface{ Close() error }); ok {
				t.Cleanup(func() { c.Close() })
			}
			serve := func(serializer session.Serializer) {
				s.serve(session.Config{SecretKey: "a-key", Store: st, IDFormat: l.ids, Serializer: serializer,
					Lifetime: lifetime,
					Cookie:   session.Cookie{Persistent: true}})
			}
			serve(l.serializer)
			for _, side := range []string{"flask", "go"} {
				s := s.stranger()
				s.post("/"+side+"/set", 200, "key", "cart", "value", "tea")
				// Remembered, since of others Flask-Session 0.5 can't read its own row in a SQL database.
				s.post("/"+side+"/login", 200, "username", "Zoë \U0001F36A", "remember", "yes")
				if got := fmt.Sprint(s.me(other(side)).Flashes); got != "[[greeting Welcome, Zoë \U0001F36A!]]" {
					t.Errorf("flashes on the other side: got %v", got)
				}
				s.post("/"+other(side)+"/set", 200, "key", "b", "value", "2")
				s.wantUser("Zoë \U0001F36A")
				if got := s.me("flask").Values; got["b"] != "'2'" || got["cart"] != "'tea'" {
					t.Errorf("Flask has %v", got)
				}
				s.post("/"+other(side)+"/logout", 200)
				s.wantUser("")
			}
			if !pickles {
				return
			}
			// Objects stay what they are when Go changes something else; and Msgpack, which is the wrong serializer for
			// these versions, leaves their sessions to them.
			for _, serializer := range []session.Serializer{flask.Pickle, flask.Msgpack} {
				if serializer == flask.Msgpack && l.backend == "filesystem" {
					continue // flaskfiles holds pickles only
				}
				serve(serializer)
				s := s.stranger()
				s.post("/flask/login", 200, "username", "ann")
				s.post("/flask/objects", 200)
				s.me("flask") // takes the greeting
				before := s.me("flask").Values
				s.post("/go/set", 200, "key", "b", "value", "2")
				s.wantUser("ann")
				after := s.me("flask").Values
				before["b"] = "'2'"
				if fmt.Sprint(after) != fmt.Sprint(before) || !strings.HasPrefix(after["od"], "OrderedDict(") {
					t.Errorf("after a change in Go Flask has\n %v, want\n %v", after, before)
				}
			}
		})
	}
}
