package layouttest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
)

// Backend is a store in Flask-Session's layout, and what a Flask process does to the same data.
type Backend struct {
	Store      store.Store
	Serializer session.Serializer

	Set    func(key string, document []byte, life time.Duration) // overwrites
	Get    func(key string) (document []byte, left time.Duration, ok bool)
	Delete func(key string)

	Timeless bool // the medium does not tell the remaining lifetime: Get returns 0
	Leaves   bool // a session that Flask stores after its end stays there for Flask
}

// Shared checks what holds between Go and Flask, with a Backend that does what Flask-Session 0.8 does to its store.
// Each call of open returns a Backend of its own; several may share data.
func Shared(t *testing.T, open func(testing.TB) Backend) {
	for name, check := range map[string]func(*testing.T, *host){
		"ReadsWhatFlaskWrote": readsWhatFlaskWrote, "WritesWhatChanged": writesWhatChanged,
		"FlaskDeletes": flaskDeletes,
		"FlaskChanges": flaskChanges, "FlaskLogsOut": flaskLogsOut, "FlaskLogsIn": flaskLogsIn, "Logout": logout,
		"Login":                 login,
		"LoginWhileFlaskWrites": loginWhileFlaskWrites, "SavesTwice": savesTwice,
		"Renew": renew, "Refresh": refresh, "Shortened": shortened, "Permanent": permanent, "Expiry": expiry,
		"Unreadable": unreadable, "Overlapping": overlapping,
		"UnknownID": unknownID, "NothingForNothing": nothingForNothing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			check(t, &host{t: t, Backend: b, manager: newManager(t, b, 0)})
		})
	}
}

// lifetime is PERMANENT_SESSION_LIFETIME.
const lifetime = time.Hour

func newManager(t *testing.T, b Backend, life time.Duration) *session.Manager {
	t.Helper()
	if life == 0 {
		life = lifetime
	}
	m, err := session.New(session.Config{
		SecretKey: "dev", Store: b.Store, IDFormat: flask.SID, Serializer: b.Serializer, Lifetime: life,
		SweepInterval: -1,
		Cookie:        session.Cookie{Name: "session"}, InsecureHTTP: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// host is the place where both applications run.
type host struct {
	t *testing.T
	Backend
	manager *session.Manager
}

// write stores a session as a Flask process does.
func (h *host) write(sid string, values map[string]any) {
	h.t.Helper()
	h.Set(sid, h.encode(values), lifetime)
}

func (h *host) encode(values map[string]any) []byte {
	h.t.Helper()
	var members []session.Member
	for name, value := range values {
		data, err := h.Serializer.Marshal(value)
		if err != nil {
			h.t.Fatal(err)
		}
		members = append(members, session.Member{Name: name, Value: data})
	}
	document, err := h.Serializer.Join(members)
	if err != nil {
		h.t.Fatal(err)
	}
	return document
}

// stored returns the values that a Flask process reads, nil if it finds no session.
func (h *host) stored(sid string) map[string]any {
	h.t.Helper()
	document, _, ok := h.Get(sid)
	if !ok {
		return nil
	}
	members, err := h.Serializer.Split(document)
	if err != nil {
		h.t.Fatalf("Flask can't read what is stored: %v", err)
	}
	values := map[string]any{}
	for _, m := range members {
		var v any
		if err := h.Serializer.Unmarshal(m.Value, &v); err != nil {
			h.t.Fatal(err)
		}
		values[m.Name] = v
	}
	return values
}

func (h *host) wants(sid string, want map[string]any) {
	h.t.Helper()
	if got := h.stored(sid); fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("Flask reads %v, want %v", got, want)
	}
}

// visit is a request to the Go application. It returns the cookie that the browser has then, and the answer.
func (h *host) visit(cookie string, handle func(*session.Session)) (string, *http.Response) {
	h.t.Helper()
	r := httptest.NewRequestWithContext(h.t.Context(), "GET", "/", nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: "session", Value: cookie})
	}
	w := httptest.NewRecorder()
	h.manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(session.From(r))
	})).ServeHTTP(w, r)
	res := w.Result()
	if res.StatusCode != http.StatusOK {
		h.t.Errorf("the Go application answered %d: %s", res.StatusCode, w.Body)
	}
	for _, c := range res.Cookies() {
		cookie = c.Value
	}
	return cookie, res
}

// newID returns an ID as Flask-Session makes them.
func newID(t *testing.T) string {
	f, err := flask.SID(nil, "session")
	if err != nil {
		t.Fatal(err)
	}
	_, sid := f.New()
	return sid
}
