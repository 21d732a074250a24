package edges

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"

	"github.com/hipflask/session"
)

// recoverers turn a panic into a 500. Those that let http.ErrAbortHandler through say so.
var recoverers = map[string]struct {
	wrap   func(http.Handler) http.Handler
	aborts bool // lets http.ErrAbortHandler through
}{
	"chi's":     {func(next http.Handler) http.Handler { return quietly(chimiddleware.Recoverer(next)) }, true},
	"gorilla's": {handlers.RecoveryHandler(), false},
	"gin's": {func(next http.Handler) http.Handler {
		e := gin.New()
		e.Use(gin.Recovery())
		e.Any("/*path", gin.WrapH(next))
		return e
	}, false},
	"echo's": {func(next http.Handler) http.Handler {
		e := newEcho()
		e.Use(echomiddleware.Recover())
		e.Any("/*", echo.WrapHandler(next))
		return e
	}, true},
}

// quietly keeps chi from printing the stack of each panic.
func quietly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, chimiddleware.WithLogEntry(r, silence{}))
	})
}

type silence struct{ chimiddleware.LogEntry }

func (silence) Panic(any, []byte) {}

func half(w http.ResponseWriter, r *http.Request) {
	visits.Update(session.From(r), func(n int) int { return n + 100 })
	panic("half way")
}

// Around the Handler a recoverer's answer goes with nothing saved, inside it is an answer like any other.
func TestRecoverers(t *testing.T) {
	t.Parallel()
	all := newMux(routes{"GET /count": count, "GET /half": half})
	for name, recoverer := range recoverers {
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				outside := visit(t, protocol, recoverer.wrap(s.Handler(all)))
				if r := outside.get("/half"); r.StatusCode != http.StatusInternalServerError ||
					r.Header["Set-Cookie"] != nil || s.stored() != 0 {
					t.Errorf("a new session, recovered outside: got %d, %v, %d stored, want 500 and nothing",
						r.StatusCode, r.Header, s.stored())
				}
				outside.get("/count")
				outside.get("/half")
				outside.want(outside.get("/count"), http.StatusOK, " 2")

				inside := visit(t, protocol, s.Handler(recoverer.wrap(all)))
				inside.get("/count")
				if r := inside.get("/half"); r.StatusCode != http.StatusInternalServerError {
					t.Errorf("recovered inside: got %d, want 500", r.StatusCode)
				}
				inside.storedVisits(s, 101)
			})
		}
	}
}

// What was changed after the first byte and can't be saved must not pass for a whole answer, whatever is around. A
// recoverer that swallows http.ErrAbortHandler takes that away.
func TestCutConnection(t *testing.T) {
	t.Parallel()
	type around struct {
		wrap func(http.Handler) http.Handler
		cut  bool
	}
	arounds := map[string]around{
		"nothing":            {wrappers["nothing"], true},
		"gzhttp":             {func(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) }, true},
		"gorilla's compress": {handlers.CompressHandler, true},
		"chi's wrapper":      {wrappers["chi's wrapper"], true},
		"gorilla's logger":   {wrappers["gorilla's logger"], true},
		"TimeoutHandler":     {wrappers["TimeoutHandler"], true},
	}
	for name, r := range recoverers {
		arounds[name+" recoverer"] = around{r.wrap, r.aborts}
	}
	for name, around := range arounds {
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				v := visit(t, protocol, around.wrap(s.Handler(newMux(routes{
					"GET /count": count,
					"GET /late": func(w http.ResponseWriter, r *http.Request) {
						fmt.Fprint(w, "first byte, ")
						visits.Set(session.From(r), 100)
						s.store.Fail(errDown)
						fmt.Fprint(w, "and the last")
					},
				}))))
				v.get("/count")
				r, err := http.NewRequestWithContext(t.Context(), "GET", v.url+"/late", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := v.Do(r)
				if err == nil {
					defer res.Body.Close()
					_, err = readAll(res)
				}
				if (err != nil) != around.cut {
					t.Errorf("got error %v, want one: %v", err, around.cut)
				}
				s.store.Fail(nil)
				v.storedVisits(s, 1)
			})
		}
	}
}
