package edges

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v5"

	"github.com/hipflask/session"
	"github.com/hipflask/session/guard"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// guarded put a guard before the route GET /in/page alone, by each router's own means for a group.
var guarded = map[string]func(*session.Manager, func(http.Handler) http.Handler, http.HandlerFunc) http.Handler{
	"net/http": func(sessions *session.Manager, g func(http.Handler) http.Handler, page http.HandlerFunc) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("GET /in/{name}", g(page))
		mux.HandleFunc("GET /out", page)
		return sessions.Handler(mux)
	},
	"net/http, a prefix": func(sessions *session.Manager, g func(http.Handler) http.Handler,
		page http.HandlerFunc) http.Handler {
		in := http.NewServeMux()
		in.HandleFunc("GET /page", page)
		mux := http.NewServeMux()
		mux.Handle("/in/", http.StripPrefix("/in", g(in)))
		mux.HandleFunc("GET /out", page)
		return sessions.Handler(mux)
	},
	"chi": func(sessions *session.Manager, g func(http.Handler) http.Handler, page http.HandlerFunc) http.Handler {
		r := chi.NewRouter()
		r.Use(sessions.Handler)
		r.Get("/out", page)
		r.Route("/in", func(r chi.Router) {
			r.Use(g)
			r.Get("/page", page)
		})
		return r
	},
	"gin": func(sessions *session.Manager, g func(http.Handler) http.Handler, page http.HandlerFunc) http.Handler {
		r := gin.New()
		r.GET("/out", gin.WrapF(page))
		in := r.Group("/in", func(c *gin.Context) {
			passed := false
			g(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				passed, c.Request = true, r
				c.Next()
			})).ServeHTTP(c.Writer, c.Request)
			if !passed {
				c.Abort()
			}
		})
		in.GET("/page", gin.WrapF(page))
		return sessions.Handler(r)
	},
	"echo": func(sessions *session.Manager, g func(http.Handler) http.Handler, page http.HandlerFunc) http.Handler {
		e := newEcho()
		e.Use(echo.WrapMiddleware(sessions.Handler))
		e.GET("/out", echo.WrapHandler(page))
		e.Group("/in", echo.WrapMiddleware(g)).GET("/page", echo.WrapHandler(page))
		return e
	},
}

func TestGuards(t *testing.T) {
	t.Parallel()
	for router, build := range guarded {
		t.Run(router, func(t *testing.T) {
			t.Parallel()
			broken := &sessiontest.FailStore{Store: memstore.New(nil)}
			m := sessiontest.New(t, func(c *session.Config) { c.Store = broken })
			page := func(w http.ResponseWriter, r *http.Request) {
				w.Write([]byte("hello " + session.From(r).Principal()))
			}
			visit := func(app http.Handler, path string, fill func(*session.Session)) *httptest.ResponseRecorder {
				t.Helper()
				r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
				r.Header.Set("Accept", "text/html")
				r = sessiontest.Request(t, m, r, fill)
				w := httptest.NewRecorder()
				app.ServeHTTP(w, r)
				return w
			}
			wants := func(what string, w *httptest.ResponseRecorder, code int, location, body string) {
				t.Helper()
				if w.Code != code || w.Header().Get("Location") != location ||
					!strings.Contains(w.Body.String(), body) {
					t.Errorf("%s: got %d, Location %q, %q; want %d, %q, %q", what, w.Code, w.Header().Get("Location"),
						w.Body, code, location, body)
				}
				if body == "" && strings.Contains(w.Body.String(), "hello") {
					t.Errorf("%s: the page was served as well: %q", what, w.Body)
				}
			}
			ann := func(s *session.Session) {
				s.LoginWith("ann", session.Auth{Time: time.Now().Add(-time.Hour), Level: 1})
			}
			app := build(m, guard.Login("/login"), page)
			wants("outside", visit(app, "/out", nil), 200, "", "hello ")
			wants("nobody", visit(app, "/in/page?a=1", nil), 303, "/login?next=%2Fin%2Fpage%3Fa%3D1", "")
			wants("ann", visit(app, "/in/page", ann), 200, "", "hello ann")
			app = build(m, guard.Fresh(time.Minute, "/confirm"), page)
			wants("not fresh", visit(app, "/in/page", ann), 303, "/confirm?next=%2Fin%2Fpage&why=fresh", "")
			app = build(m, guard.Level(2, "/confirm"), page)
			wants("no second factor", visit(app, "/in/page", ann), 303, "/confirm?next=%2Fin%2Fpage&why=level", "")

			r := sessiontest.Request(t, m, httptest.NewRequestWithContext(t.Context(), "GET", "/in/page", nil), ann)
			r.Header.Set("Accept", "text/html")
			broken.Fail(errors.New("down"))
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			wants("an outage", w, 503, "", "")
			broken.Fail(nil)
		})
	}
}
