package edges

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	echov4 "github.com/labstack/echo/v4"
	"github.com/labstack/echo/v5"

	"github.com/hipflask/session"
)

// routes are an application's handlers by "METHOD /path".
type routes map[string]http.HandlerFunc

// each calls add with the method and the path of each route.
func (all routes) each(add func(method, path string, h http.HandlerFunc)) {
	for pattern, h := range all {
		method, path, _ := strings.Cut(pattern, " ")
		add(method, path, h)
	}
}

// routers put sessions in place by their own means, as docs/middleware.md shows.
var routers = map[string]func(*session.Manager, routes) http.Handler{
	"net/http": func(sessions *session.Manager, all routes) http.Handler {
		return sessions.Handler(newMux(all))
	},
	"net/http, one route": func(sessions *session.Manager, all routes) http.Handler {
		mux := http.NewServeMux()
		for pattern, h := range all {
			mux.Handle(pattern, sessions.Handler(h))
		}
		return mux
	},
	"chi": func(sessions *session.Manager, all routes) http.Handler {
		r := chi.NewRouter()
		r.Use(sessions.Handler)
		all.each(func(method, path string, h http.HandlerFunc) { r.Method(method, path, h) })
		return r
	},
	"chi, a subrouter": func(sessions *session.Manager, all routes) http.Handler {
		r := chi.NewRouter()
		r.Group(func(r chi.Router) {
			r.Use(sessions.Handler)
			all.each(func(method, path string, h http.HandlerFunc) { r.Method(method, path, h) })
		})
		return r
	},
	"gin": func(sessions *session.Manager, all routes) http.Handler {
		r := gin.New()
		all.each(func(method, path string, h http.HandlerFunc) {
			r.Handle(method, path, func(c *gin.Context) { h(c.Writer, c.Request) })
		})
		return sessions.Handler(r)
	},
	"echo": func(sessions *session.Manager, all routes) http.Handler {
		e := newEcho()
		e.Use(echo.WrapMiddleware(sessions.Handler))
		addToEcho(e, all)
		return e
	},
	"echo, outside": func(sessions *session.Manager, all routes) http.Handler {
		e := newEcho()
		addToEcho(e, all)
		return sessions.Handler(e)
	},
	"echo v4": func(sessions *session.Manager, all routes) http.Handler {
		e := newEchoV4(all)
		e.Use(echov4.WrapMiddleware(sessions.Handler))
		return e
	},
	"echo v4, outside": func(sessions *session.Manager, all routes) http.Handler {
		return sessions.Handler(newEchoV4(all))
	},
	"huma": func(sessions *session.Manager, all routes) http.Handler {
		mux := http.NewServeMux()
		api := humago.New(mux, humaConfig())
		api.UseMiddleware(humaMiddleware(sessions))
		addToHuma(api, humago.Unwrap, all)
		return mux
	},
	"huma, outside": func(sessions *session.Manager, all routes) http.Handler {
		mux := http.NewServeMux()
		addToHuma(humago.New(mux, humaConfig()), humago.Unwrap, all)
		return sessions.Handler(mux)
	},
	"huma, chi's middleware": func(sessions *session.Manager, all routes) http.Handler {
		r := chi.NewRouter()
		r.Use(sessions.Handler)
		addToHuma(humachi.New(r, humaConfig()), humachi.Unwrap, all)
		return r
	},
}

func newEchoV4(all routes) *echov4.Echo {
	e := echov4.New()
	e.Logger.SetOutput(io.Discard)
	all.each(func(method, path string, h http.HandlerFunc) {
		e.Add(method, path, func(c echov4.Context) error {
			h(c.Response(), c.Request())
			return nil
		})
	})
	return e
}

// humaConfig leaves out huma's own routes.
func humaConfig() huma.Config {
	c := huma.DefaultConfig("edges", "1")
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	return c
}

// humaMiddleware gives sessions to the operations of an API or a group, as docs/middleware.md shows.
func humaMiddleware(sessions *session.Manager) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(c)
		sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next(humago.NewContext(c.Operation(), r, w))
		})).ServeHTTP(w, r)
	}
}

func addToHuma(api huma.API, unwrap func(huma.Context) (*http.Request, http.ResponseWriter), all routes) {
	all.each(func(method, path string, h http.HandlerFunc) {
		huma.Register(api, huma.Operation{Method: method, Path: path, OperationID: method + path},
			func(context.Context, *struct{}) (*huma.StreamResponse, error) {
				return &huma.StreamResponse{Body: func(c huma.Context) {
					r, w := unwrap(c)
					h(w, r)
				}}, nil
			})
	})
}

func newMux(all routes) *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range all {
		mux.Handle(pattern, h)
	}
	return mux
}

func addToEcho(e *echo.Echo, all routes) {
	all.each(func(method, path string, h http.HandlerFunc) {
		e.Add(method, path, func(c *echo.Context) error {
			h(c.Response(), c.Request())
			return nil
		})
	})
}

// eachRouter runs a test for each router and protocol.
func eachRouter(t *testing.T, all routes, test func(t *testing.T, s *setup, v *visitor)) {
	t.Helper()
	eachRouterWith(t, func(*setup) routes { return all }, test)
}

func eachRouterWith(t *testing.T, all func(*setup) routes, test func(t *testing.T, s *setup, v *visitor)) {
	t.Helper()
	for name, build := range routers {
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				test(t, s, visit(t, protocol, build(s.Manager, all(s))))
			})
		}
	}
}

func count(w http.ResponseWriter, r *http.Request) {
	s := session.From(r)
	n := visits.Update(s, func(n int) int { return n + 1 })
	fmt.Fprintf(w, "%s %d", s.Principal(), n)
}

func login(w http.ResponseWriter, r *http.Request) {
	session.From(r).Login(r.URL.Query().Get("name"))
	http.Redirect(w, r, "/count", http.StatusSeeOther)
}

func logout(w http.ResponseWriter, r *http.Request) {
	session.From(r).Logout()
	http.Redirect(w, r, "/count", http.StatusSeeOther)
}

func TestRouters(t *testing.T) {
	t.Parallel()
	all := routes{"GET /count": count, "POST /login": login, "POST /logout": logout,
		"GET /plain": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "plain") }}
	eachRouter(t, all, func(t *testing.T, s *setup, v *visitor) {
		if r := v.get("/plain"); r.Header["Set-Cookie"] != nil || r.Header["Vary"] != nil {
			t.Errorf("a request that does not look at its session: got headers %v, want no Set-Cookie "+
				"and no Vary", r.Header)
		}
		if r := v.get("/nothing"); r.StatusCode != http.StatusNotFound || r.Header["Set-Cookie"] != nil {
			t.Errorf("a request without a route: got %d, %v, want 404 without a cookie", r.StatusCode, r.Header)
		}
		if n := s.stored(); n != 0 {
			t.Errorf("got %d stored sessions before the first change, want 0", n)
		}
		r := v.get("/count")
		v.want(r, http.StatusOK, " 1")
		if got := r.Header["Vary"]; len(got) != 1 || got[0] != "Cookie" {
			t.Errorf("got Vary %q, want Cookie", got)
		}
		anonymous := v.cookie()
		v.want(v.get("/count"), http.StatusOK, " 2")

		if r := v.do("POST", "/login?name=ann"); r.StatusCode != http.StatusSeeOther {
			t.Fatalf("login: got %d, want 303", r.StatusCode)
		}
		if v.cookie() == anonymous || v.cookie() == "" {
			t.Error("the login gave no new cookie")
		}
		v.want(v.get("/count"), http.StatusOK, "ann 3")
		v.do("POST", "/logout")
		if v.cookie() != "" {
			t.Error("the browser still has a cookie after the logout")
		}
		if n := s.stored(); n != 0 {
			t.Errorf("got %d stored sessions after the logout, want 0", n)
		}
		v.want(v.get("/count"), http.StatusOK, " 1")
	})
}

// An outage in the middle of a request replaces the answer whole, whoever writes it.
func TestRoutersInAnOutage(t *testing.T) {
	t.Parallel()
	all := func(s *setup) routes {
		return routes{
			"GET /count": count,
			"GET /save": func(w http.ResponseWriter, r *http.Request) {
				visits.Set(session.From(r), 100)
				s.store.Fail(errDown)
				w.Header().Set("X-Secret", "of the handler")
				http.SetCookie(w, &http.Cookie{Name: "other", Value: "of the handler"})
				w.WriteHeader(http.StatusAccepted)
				fmt.Fprint(w, "saved")
			},
			"GET /nothing-written": func(w http.ResponseWriter, r *http.Request) {
				visits.Set(session.From(r), 100)
				s.store.Fail(errDown)
			},
		}
	}
	eachRouterWith(t, all, func(t *testing.T, s *setup, v *visitor) {
		v.get("/count")
		before := v.cookie()
		for _, path := range []string{"/save", "/nothing-written", "/count"} {
			r := v.get(path)
			v.unavailable(r)
			if r.Header.Get("X-Secret") != "" {
				t.Errorf("%s: a header of the answer that was replaced is left", path)
			}
			if path != "/nothing-written" {
				s.store.Fail(nil)
			}
		}
		s.store.Fail(nil)
		if v.cookie() != before {
			t.Error("the outage changed the browser's cookie")
		}
		v.want(v.get("/count"), http.StatusOK, " 2")
	})
}

// A router's own way to write must not get past the boundary.
func TestNativeAnswers(t *testing.T) {
	t.Parallel()
	engine := gin.New()
	engine.GET("/json", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"n": visits.Update(session.From(c.Request), func(n int) int { return n + 1 })})
	})
	engine.GET("/status", func(c *gin.Context) {
		visits.Set(session.From(c.Request), 5)
		c.Status(http.StatusNoContent)
	})
	engine.GET("/abort", func(c *gin.Context) {
		visits.Set(session.From(c.Request), 5)
		c.AbortWithStatusJSON(http.StatusTeapot, gin.H{"n": 5})
	})
	native := func() *echo.Echo {
		e := newEcho()
		e.GET("/json", func(c *echo.Context) error {
			return c.JSON(http.StatusOK,
				map[string]int{"n": visits.Update(session.From(c.Request()), func(n int) int { return n + 1 })})
		})
		e.GET("/status", func(c *echo.Context) error {
			visits.Set(session.From(c.Request()), 5)
			return c.NoContent(http.StatusNoContent)
		})
		// echo answers for a handler that returns an error, after the middleware has returned.
		e.GET("/abort", func(c *echo.Context) error {
			visits.Set(session.From(c.Request()), 5)
			return echo.NewHTTPError(http.StatusTeapot, "n is 5")
		})
		return e
	}
	nativeV4 := func() *echov4.Echo {
		e := newEchoV4(nil)
		e.GET("/json", func(c echov4.Context) error {
			return c.JSON(http.StatusOK,
				map[string]int{"n": visits.Update(session.From(c.Request()), func(n int) int { return n + 1 })})
		})
		e.GET("/status", func(c echov4.Context) error {
			visits.Set(session.From(c.Request()), 5)
			return c.NoContent(http.StatusNoContent)
		})
		e.GET("/abort", func(c echov4.Context) error {
			visits.Set(session.From(c.Request()), 5)
			return echov4.NewHTTPError(http.StatusTeapot, "n is 5")
		})
		return e
	}
	nativeHuma := func(api huma.API) {
		huma.Get(api, "/json", func(ctx context.Context, _ *struct{}) (*struct{ Body map[string]int }, error) {
			s, _ := session.FromContext(ctx)
			n := visits.Update(s, func(n int) int { return n + 1 })
			return &struct{ Body map[string]int }{map[string]int{"n": n}}, nil
		})
		huma.Get(api, "/status", func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			s, _ := session.FromContext(ctx)
			visits.Set(s, 5)
			return nil, nil
		})
		huma.Get(api, "/abort", func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			s, _ := session.FromContext(ctx)
			visits.Set(s, 5)
			return nil, huma.NewError(http.StatusTeapot, "n is 5")
		})
	}
	for name, build := range map[string]func(*session.Manager) http.Handler{
		"gin": func(m *session.Manager) http.Handler { return m.Handler(engine) },
		"echo": func(m *session.Manager) http.Handler {
			e := native()
			e.Use(echo.WrapMiddleware(m.Handler))
			return e
		},
		"echo, outside": func(m *session.Manager) http.Handler { return m.Handler(native()) },
		"echo v4": func(m *session.Manager) http.Handler {
			e := nativeV4()
			e.Use(echov4.WrapMiddleware(m.Handler))
			return e
		},
		"echo v4, outside": func(m *session.Manager) http.Handler { return m.Handler(nativeV4()) },
		"huma": func(m *session.Manager) http.Handler {
			mux := http.NewServeMux()
			api := humago.New(mux, humaConfig())
			group := huma.NewGroup(api)
			group.UseMiddleware(humaMiddleware(m))
			nativeHuma(group)
			return mux
		},
		"huma, outside": func(m *session.Manager) http.Handler {
			mux := http.NewServeMux()
			nativeHuma(humago.New(mux, humaConfig()))
			return m.Handler(mux)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for path, status := range map[string]int{"/json": http.StatusOK, "/status": http.StatusNoContent,
				"/abort": http.StatusTeapot} {
				s := newSetup(t)
				v := visit(t, "HTTP/1.1", build(s.Manager))
				r := v.get(path)
				if r.StatusCode != status || r.err != nil {
					t.Errorf("%s: got %d, %v, want %d", path, r.StatusCode, r.err, status)
				}
				if n, _ := visits.Get(v.session(s)); n == 0 {
					t.Errorf("%s: the change was not stored", path)
				}
				s.store.Fail(errDown)
				v.unavailable(v.get(path))
			}
		})
	}
}

// echo's error handler answers after its middleware has returned, by the writer of sessions: what it changes is saved,
// a new session included.
func TestEchoErrorHandler(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"middleware", "outside"} {
		s := newSetup(t)
		e := newEcho()
		e.HTTPErrorHandler = func(c *echo.Context, err error) {
			session.From(c.Request()).Flash(err.Error())
			visits.Update(session.From(c.Request()), func(n int) int { return n + 1 })
			c.Redirect(http.StatusSeeOther, "/sorry")
		}
		e.GET("/untouched", func(c *echo.Context) error { return errors.New("untouched") })
		e.GET("/read", func(c *echo.Context) error {
			session.From(c.Request()).Len()
			return errors.New("read")
		})
		e.GET("/changed", func(c *echo.Context) error {
			visits.Set(session.From(c.Request()), 10)
			return errors.New("changed")
		})
		h := http.Handler(e)
		if where == "outside" {
			h = s.Handler(e)
		} else {
			e.Use(echo.WrapMiddleware(s.Handler))
		}
		for path, want := range map[string]int{"/untouched": 1, "/read": 1, "/changed": 11, "/no-route": 1} {
			v := visit(t, "HTTP/1.1", h)
			if r := v.get(path); r.StatusCode != http.StatusSeeOther || r.Header.Get("Vary") != "Cookie" {
				t.Errorf("%s, %s: got %d with Vary %q, want the error handler's redirect", where, path,
					r.StatusCode, r.Header.Get("Vary"))
			}
			v.storedVisits(s, want)
			if got := len(v.session(s).Flashes()); got != 1 {
				t.Errorf("%s, %s: got %d messages stored, want 1", where, path, got)
			}
		}
		if s.saw(session.EventTooLate) || s.saw(session.EventReadLate) {
			t.Errorf("%s: got events %v, want nothing late", where, s.events)
		}
		s.store.Fail(errDown)
		v := visit(t, "HTTP/1.1", h)
		v.unavailable(v.get("/read"))
	}
}

// Loggers around the Handler see which route it was.
func TestPattern(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	got := ""
	logger := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			got = r.Pattern
		})
	}
	c := chi.NewRouter()
	c.Use(logger, s.Handler)
	c.Get("/users/{id}", count)
	for want, h := range map[string]http.Handler{
		"GET /users/{id}": logger(s.Handler(newMux(routes{"GET /users/{id}": count}))),
		"/users/{id}":     c,
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/users/7", nil))
		if got != want {
			t.Errorf("got pattern %q, want %q", got, want)
		}
	}
}

func newEcho() *echo.Echo {
	e := echo.New()
	e.Logger = slog.New(slog.DiscardHandler)
	return e
}
