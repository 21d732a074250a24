package edges

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"

	"github.com/hipflask/session"
)

// wrappers are middleware that give a handler another http.ResponseWriter, of many shapes.
var wrappers = map[string]func(http.Handler) http.Handler{
	"nothing": func(next http.Handler) http.Handler { return next },
	"TimeoutHandler": func(next http.Handler) http.Handler {
		return http.TimeoutHandler(next, patience, "too slow")
	},
	"gzhttp": func(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) },
	"gorilla's logger": func(next http.Handler) http.Handler {
		return handlers.CombinedLoggingHandler(io.Discard, next)
	},
	"gorilla's compress": handlers.CompressHandler,
	"chi's wrapper": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(chimiddleware.NewWrapResponseWriter(w, r.ProtoMajor), r)
		})
	},
	"chi's compress": chimiddleware.Compress(5),
	"echo's compress": func(next http.Handler) http.Handler {
		e := newEcho()
		e.Use(echomiddleware.Gzip())
		e.Any("/*", echo.WrapHandler(next))
		return e
	},
	"echo": func(next http.Handler) http.Handler {
		e := newEcho()
		e.Any("/*", echo.WrapHandler(next))
		return e
	},
	"gin": func(next http.Handler) http.Handler {
		e := gin.New()
		e.Any("/*path", gin.WrapH(next))
		return e
	},
}

// can names the optional interfaces that w has, but FlushError, which comes with Flush.
func can(w http.ResponseWriter) (names []string) {
	for name, has := range map[string]bool{
		"Flush":       implements[http.Flusher](w),
		"Hijack":      implements[http.Hijacker](w),
		"CloseNotify": implements[http.CloseNotifier](w), //lint:ignore SA1019 old handlers still ask for it
		"Push":        implements[http.Pusher](w),
		"ReadFrom":    implements[io.ReaderFrom](w),
	} {
		if has {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func implements[T any](w any) bool {
	_, ok := w.(T)
	return ok
}

// A handler sees what the writer around the Handler can do, no more and no less.
func TestWriterKeepsInterfaces(t *testing.T) {
	t.Parallel()
	for name, wrap := range wrappers {
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				var outside []string
				inner := s.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					session.From(r)
					fmt.Fprint(w, strings.Join(can(w), " "))
				}))
				v := visit(t, protocol, wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					outside = can(w)
					inner.ServeHTTP(w, r)
				})))
				if r := v.get("/"); r.body != strings.Join(outside, " ") {
					t.Errorf("got %q, want %q", r.body, strings.Join(outside, " "))
				}
			})
		}
	}
}

// http.ResponseController gets as far through the Handler as without it.
func TestResponseController(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name string
		do   func(*http.ResponseController) error
	}{
		{"SetReadDeadline", func(c *http.ResponseController) error {
			return c.SetReadDeadline(time.Now().Add(patience))
		}},
		{"SetWriteDeadline", func(c *http.ResponseController) error {
			return c.SetWriteDeadline(time.Now().Add(patience))
		}},
		{"EnableFullDuplex", (*http.ResponseController).EnableFullDuplex},
		{"Flush", (*http.ResponseController).Flush},
	}
	for name, wrap := range wrappers {
		if name == "echo" || name == "echo's compress" {
			// Their Flush panics where it is not supported, as it does without us.
			continue
		}
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				try := func(w http.ResponseWriter) (errs []string) {
					for _, step := range steps {
						if err := step.do(http.NewResponseController(w)); err != nil {
							errs = append(errs, step.name+": "+err.Error())
						}
					}
					return errs
				}
				report := make(chan []string, 1)
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { report <- try(w) })
				visit(t, protocol, wrap(handler)).get("/")
				want := <-report
				visit(t, protocol, wrap(s.Handler(handler))).get("/")
				if got := <-report; !slices.Equal(got, want) {
					t.Errorf("got errors %q, want %q", got, want)
				}
			})
		}
	}
}

// spyConn notes what net/http asks the connection to read from: *os.File there is what sendfile(2) is for.
type spyConn struct {
	*net.TCPConn
	l *spyListener
}

type spyListener struct {
	net.Listener
	mu    sync.Mutex
	files int // bytes
}

func (l *spyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &spyConn{c.(*net.TCPConn), l}, nil
}

func (c *spyConn) ReadFrom(src io.Reader) (int64, error) {
	under := src
	for {
		limited, ok := under.(*io.LimitedReader)
		if !ok {
			break
		}
		under = limited.R
	}
	n, err := c.TCPConn.ReadFrom(src)
	if _, ok := under.(*os.File); ok {
		c.l.mu.Lock()
		c.l.files += int(n)
		c.l.mu.Unlock()
	}
	return n, err
}

// A file goes from the disk to the connection without passing through this process, also when the session changes.
func TestSendfile(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits.Update(session.From(r), func(n int) int { return n + 1 })
		http.ServeFile(w, r, file)
	})
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	chis := wrappers["chi's wrapper"]
	logger := wrappers["gorilla's logger"]
	for name, c := range map[string]struct {
		build func(*session.Manager) http.Handler
		want  bool
	}{
		"without sessions":      {func(m *session.Manager) http.Handler { return plain }, true},
		"sessions":              {func(m *session.Manager) http.Handler { return m.Handler(serve) }, true},
		"untouched":             {func(m *session.Manager) http.Handler { return m.Handler(plain) }, true},
		"chi's wrapper outside": {func(m *session.Manager) http.Handler { return chis(m.Handler(serve)) }, true},
		"chi's wrapper inside":  {func(m *session.Manager) http.Handler { return m.Handler(chis(serve)) }, true},
		"gorilla's logger":      {func(m *session.Manager) http.Handler { return logger(m.Handler(serve)) }, true},
		"gin, which has no such": {func(m *session.Manager) http.Handler {
			return m.Handler(wrappers["gin"](serve))
		}, false},
		"echo, which has no such": {func(m *session.Manager) http.Handler {
			return m.Handler(wrappers["echo"](serve))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			srv := httptest.NewUnstartedServer(c.build(s.Manager))
			spy := &spyListener{Listener: srv.Listener}
			srv.Listener = spy
			srv.Start()
			t.Cleanup(srv.Close)
			v := &visitor{t: t, url: srv.URL, Client: newClient(t, srv)}
			r := v.get("/")
			if len(r.body) != size || r.err != nil {
				t.Fatalf("got %d bytes, %v, want %d", len(r.body), r.err, size)
			}
			srv.Close() // the connection's goroutine has noted everything
			if got := spy.files > size/2; got != c.want {
				t.Errorf("got %d of %d bytes by way of sendfile, want most: %v", spy.files, size, c.want)
			}
			if name == "sessions" && v.cookie() == "" {
				t.Error("no cookie came with the file")
			}
		})
	}
}

// Compression outside of sessions: what replaces an answer comes through it readable, and both set their headers.
// Inside: the compressor's own writes are the answer's first byte.
func TestCompression(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a page that can be made shorter. ", 1000)
	for _, name := range []string{"gzhttp", "gorilla's compress", "chi's compress", "echo's compress"} {
		for _, where := range []string{"outside", "inside"} {
			t.Run(name+" "+where, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					visits.Update(session.From(r), func(n int) int { return n + 1 })
					w.Header().Set("Content-Type", "text/html")
					if r.URL.Path == "/fail" {
						s.store.Fail(errDown)
					}
					io.WriteString(w, long)
				})
				h := wrappers[name](s.Handler(app))
				if where == "inside" {
					h = s.Handler(wrappers[name](app))
				}
				v := visit(t, "HTTP/1.1", h)
				get := func(path string) response {
					r, err := http.NewRequestWithContext(t.Context(), "GET", v.url+path, nil)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Accept-Encoding", "gzip") // given by hand, it is ours to decompress
					res := v.send(r)
					if res.Header.Get("Content-Encoding") == "gzip" {
						z, err := gzip.NewReader(strings.NewReader(res.body))
						if err != nil {
							t.Fatal(err)
						}
						body, err := io.ReadAll(z)
						res.body, res.err = string(body), err
					}
					return res
				}
				r := get("/")
				if r.body != long || r.err != nil {
					t.Errorf("got %d bytes, %v, want the page", len(r.body), r.err)
				}
				if r.Header.Get("Content-Encoding") != "gzip" {
					t.Error("the page was not compressed")
				}
				varies := strings.Join(r.Header["Vary"], ", ")
				if !strings.Contains(varies, "Cookie") || !strings.Contains(varies, "Accept-Encoding") {
					t.Errorf("got Vary %q, want Cookie and Accept-Encoding", varies)
				}
				if n, _ := visits.Get(v.session(s)); n != 1 {
					t.Errorf("got %d visits stored, want 1", n)
				}
				v.unavailable(get("/fail"))
				s.store.Fail(nil)
				if r := get("/"); r.body != long {
					t.Error("after the outage the page is another")
				}
			})
		}
	}
}

// A home-made adapter keeps the Handler's writer to itself, so that the framework's handlers write below it. A login
// that way reaches no browser: that is an event, and no session is left behind.
func TestHomeMadeAdapters(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(*setup) http.Handler{
		"gin": func(s *setup) http.Handler {
			r := gin.New()
			r.Use(func(c *gin.Context) {
				s.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					c.Request = r
					c.Next()
				})).ServeHTTP(c.Writer, c.Request)
			})
			r.GET("/:how", func(c *gin.Context) {
				session.From(c.Request).Login("ann")
				switch c.Param("how") {
				case "save":
					session.From(c.Request).Save(c.Request.Context())
				case "status":
					c.Writer.WriteHeader(http.StatusOK)
					c.Writer.WriteHeaderNow()
					return
				}
				c.String(http.StatusOK, "ann")
			})
			return r
		},
		"echo": func(s *setup) http.Handler {
			e := newEcho()
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c *echo.Context) (err error) {
					s.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						c.SetRequest(r)
						err = next(c)
					})).ServeHTTP(c.Response(), c.Request())
					return err
				}
			})
			e.GET("/:how", func(c *echo.Context) error {
				session.From(c.Request()).Login("ann")
				switch c.Param("how") {
				case "save":
					session.From(c.Request()).Save(c.Request().Context())
				case "status":
					return c.NoContent(http.StatusOK)
				}
				return c.String(http.StatusOK, "ann")
			})
			return e
		},
		"chi": func(s *setup) http.Handler {
			r := chi.NewRouter()
			r.Use(chimiddleware.Compress(5), func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w = chimiddleware.NewWrapResponseWriter(w, r.ProtoMajor)
					s.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						next.ServeHTTP(w, r)
					})).ServeHTTP(w, r)
				})
			})
			r.Get("/{how}", func(w http.ResponseWriter, r *http.Request) {
				session.From(r).Login("ann")
				switch chi.URLParam(r, "how") {
				case "save":
					session.From(r).Save(r.Context())
				case "status":
					w.WriteHeader(http.StatusOK)
					return
				}
				io.WriteString(w, "ann")
			})
			return r
		},
	} {
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				v := visit(t, protocol, build(s))
				for _, path := range []string{"/write", "/status", "/save"} {
					if r := v.get(path); r.StatusCode != http.StatusOK || len(r.Cookies()) != 0 {
						t.Errorf("%s: got %d and %d cookies, want the handler's answer without any", path, r.StatusCode,
							len(r.Cookies()))
					}
					if !s.saw(session.EventTooLate) || path != "/save" && s.saw(session.EventLogin) {
						t.Errorf("%s: got the events %v, want too late, and no login", path, s.events)
					}
					if n := s.stored(); n != 0 {
						t.Errorf("%s: got %d sessions that no client has, want none", path, n)
					}
					s.mu.Lock()
					s.events = nil
					s.mu.Unlock()
				}
			})
		}
	}
}
