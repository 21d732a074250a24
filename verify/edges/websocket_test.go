package edges

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/klauspost/compress/gzhttp"

	"github.com/hipflask/session"
)

// socket is what both libraries have in common.
type socket interface {
	read(context.Context) (string, error)
	write(context.Context, string) error
	close()
}

type coderSocket struct{ *websocket.Conn }

func (c coderSocket) read(ctx context.Context) (string, error) {
	_, text, err := c.Read(ctx)
	return string(text), err
}

func (c coderSocket) write(ctx context.Context, text string) error {
	return c.Write(ctx, websocket.MessageText, []byte(text))
}

func (c coderSocket) close() { c.CloseNow() }

type gorillaSocket struct{ *gorilla.Conn }

func (g gorillaSocket) read(context.Context) (string, error) {
	_, text, err := g.ReadMessage()
	return string(text), err
}

func (g gorillaSocket) write(_ context.Context, text string) error {
	return g.WriteMessage(gorilla.TextMessage, []byte(text))
}

func (g gorillaSocket) close() { g.Close() }

// upgrades are the two ways to a socket: with the header sent by WriteHeader(101), and by a Hijack alone.
var upgrades = map[string]func(http.ResponseWriter, *http.Request) (socket, error){
	"coder": func(w http.ResponseWriter, r *http.Request) (socket, error) {
		c, err := websocket.Accept(w, r, nil)
		return coderSocket{c}, err
	},
	"gorilla": func(w http.ResponseWriter, r *http.Request) (socket, error) {
		c, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
		return gorillaSocket{c}, err
	},
}

// room is a handler that answers each message by what became of it.
func room(t *testing.T, upgrade func(http.ResponseWriter, *http.Request) (socket, error),
	failed *error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		visits.Update(s, func(n int) int { return n + 1 })
		c, err := upgrade(w, r)
		if *failed = s.Err(); err != nil {
			return
		}
		defer c.close()
		for {
			message, err := c.read(t.Context())
			if err != nil {
				return
			}
			switch message {
			case "change":
				visits.Set(s, 20)
			case "save":
				err = s.Save(t.Context())
			case "reload":
				err = s.Reload(t.Context())
			}
			answer := "ok"
			if errors.Is(err, session.ErrEnded) {
				answer = "ended"
			} else if err != nil {
				answer = err.Error()
			}
			if err := c.write(t.Context(), answer); err != nil {
				return
			}
		}
	}
}

func (v *visitor) dial(path string) (socket, error) {
	c, res, err := websocket.Dial(v.t.Context(), v.url+path, &websocket.DialOptions{HTTPClient: &v.Client})
	if err != nil {
		if res != nil {
			err = errors.New(res.Status)
		}
		return nil, err
	}
	v.t.Cleanup(func() { c.CloseNow() })
	return coderSocket{c}, nil
}

func (v *visitor) say(c socket, message, want string) {
	v.t.Helper()
	if err := c.write(v.t.Context(), message); err != nil {
		v.t.Fatal(err)
	}
	if got, err := c.read(v.t.Context()); got != want || err != nil {
		v.t.Fatalf("%s: got %q, %v, want %q", message, got, err, want)
	}
}

// socketMounts are the places between which a socket has to find its way.
func socketMounts() map[string]func(*session.Manager, routes) http.Handler {
	mounts := map[string]func(*session.Manager, routes) http.Handler{
		"gzhttp outside": func(m *session.Manager, all routes) http.Handler {
			return gzhttp.GzipHandler(m.Handler(newMux(all)))
		},
		"gzhttp inside": func(m *session.Manager, all routes) http.Handler {
			return m.Handler(gzhttp.GzipHandler(newMux(all)))
		},
		"chi's wrapper outside": func(m *session.Manager, all routes) http.Handler {
			return wrappers["chi's wrapper"](m.Handler(newMux(all)))
		},
		"chi's wrapper inside": func(m *session.Manager, all routes) http.Handler {
			return m.Handler(wrappers["chi's wrapper"](newMux(all)))
		},
		"gorilla's logger inside": func(m *session.Manager, all routes) http.Handler {
			return m.Handler(wrappers["gorilla's logger"](newMux(all)))
		},
	}
	for name, build := range routers {
		mounts[name] = build
	}
	return mounts
}

// eachSocket runs a test for each library and place. ended is told when the request of a socket is over.
func eachSocket(t *testing.T, test func(t *testing.T, library string, s *setup, v *visitor, failed *error,
	ended <-chan struct{})) {
	for library, upgrade := range upgrades {
		for name, build := range socketMounts() {
			t.Run(library+", "+name, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				failed := new(error)
				all := build(s.Manager, routes{"GET /count": count, "POST /login": login, "POST /logout": logout,
					"GET /room": room(t, upgrade, failed)})
				ended := make(chan struct{}, 1)
				v := visit(t, "HTTP/1.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					all.ServeHTTP(w, r)
					if r.URL.Path == "/room" {
						ended <- struct{}{}
					}
				}))
				test(t, library, s, v, failed, ended)
			})
		}
	}
}

func TestSocketOfSession(t *testing.T) {
	t.Parallel()
	eachSocket(t, func(t *testing.T, _ string, s *setup, v *visitor, failed *error, ended <-chan struct{}) {
		v.do("POST", "/login?name=ann")
		cookie := v.cookie()
		c, err := v.dial("/room")
		if err != nil {
			t.Fatal(err)
		}
		v.storedVisits(s, 1) // before the upgrade was answered
		v.say(c, "change", "ok")
		v.storedVisits(s, 1)
		v.say(c, "save", "ok")
		v.storedVisits(s, 20)
		v.want(v.get("/count"), http.StatusOK, "ann 21")
		v.say(c, "reload", "ok")
		v.say(c, "change", "ok")
		c.close()
		<-ended
		v.storedVisits(s, 20) // of what was not saved: when the handler returned
		if v.cookie() != cookie || *failed != nil || s.saw(session.EventTooLate) {
			t.Errorf("the upgrade changed the cookie or failed: %v", *failed)
		}

		c, err = v.dial("/room")
		if err != nil {
			t.Fatal(err)
		}
		v.say(c, "reload", "ok")
		v.do("POST", "/logout")
		v.say(c, "change", "ok")
		v.say(c, "reload", "ended")
		v.say(c, "save", "ended")
		c.close()
		<-ended
		if n := s.stored(); n != 0 {
			t.Errorf("got %d sessions after the logout, want 0: the socket revived one", n)
		}
	})
}

func TestSocketNeedsCookie(t *testing.T) {
	t.Parallel()
	eachSocket(t, func(t *testing.T, library string, s *setup, v *visitor, failed *error, ended <-chan struct{}) {
		c, err := v.dial("/room")
		if err != nil {
			t.Fatal(err)
		}
		if library == "coder" {
			v.storedVisits(s, 1)
			v.say(c, "change", "ok")
			v.say(c, "save", "ok")
			v.storedVisits(s, 20)
		} else {
			if v.cookie() != "" || s.stored() != 0 {
				t.Errorf("got %d stored sessions, want none and no cookie", s.stored())
			}
			v.say(c, "change", "ok")
			v.say(c, "save", session.ErrTooLate.Error())
		}
		c.close()
		<-ended
		if library == "coder" && (*failed != nil || s.saw(session.EventTooLate)) {
			t.Errorf("Err is %v, want nil", *failed)
		}
		if library == "gorilla" && (!errors.Is(*failed, session.ErrTooLate) || !s.saw(session.EventTooLate) ||
			s.stored() != 0) {
			t.Errorf("Err is %v with %d sessions stored, want ErrTooLate, its event, and none stored",
				*failed, s.stored())
		}
	})
}

// An upgrade that can't be, since the session can't be saved: no socket, and the answer says why.
func TestSocketInAnOutage(t *testing.T) {
	t.Parallel()
	eachSocket(t, func(t *testing.T, _ string, s *setup, v *visitor, _ *error, ended <-chan struct{}) {
		v.get("/count")
		s.store.Fail(errDown)
		if _, err := v.dial("/room"); err == nil || !strings.HasPrefix(err.Error(), "503") {
			t.Errorf("got %v, want 503", err)
		}
		<-ended
		s.store.Fail(nil)
		v.storedVisits(s, 1)
	})
}

// Where there is nothing to hijack the upgrade fails and the request goes on.
func TestSocketThroughTimeoutHandler(t *testing.T) {
	t.Parallel()
	for library, upgrade := range upgrades {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			v := visit(t, "HTTP/1.1", http.TimeoutHandler(s.Handler(room(t, upgrade, new(error))), patience, ""))
			if _, err := v.dial("/"); err == nil || !strings.HasPrefix(err.Error(), "50") {
				t.Errorf("got %v, want 500 or 501", err)
			}
			v.storedVisits(s, 1)
		})
	}
}
