package ginsession_test

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/hipflask/session"
	"github.com/hipflask/session/ginsession"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

const visits = session.Key[int]("visits")

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter, gin.DefaultErrorWriter = io.Discard, io.Discard
	os.Exit(m.Run())
}

func count(s *session.Session) int { return visits.Update(s, func(n int) int { return n + 1 }) }

// gzipped is middleware as gin-contrib/gzip is: it puts a writer of its own in front.
func gzipped(c *gin.Context) {
	z := gzip.NewWriter(c.Writer)
	c.Header("Content-Encoding", "gzip")
	c.Writer = &gzipWriter{c.Writer, z}
	defer z.Close()
	c.Next()
}

type gzipWriter struct {
	gin.ResponseWriter
	z *gzip.Writer
}

func (w *gzipWriter) Write(b []byte) (int, error)       { return w.z.Write(b) }
func (w *gzipWriter) WriteString(s string) (int, error) { return w.z.Write([]byte(s)) }

type setup struct {
	t      *testing.T
	store  *sessiontest.FailStore
	url    string
	client http.Client
}

func serve(t *testing.T, fallback bool) *setup {
	t.Helper()
	s := &setup{t: t, store: &sessiontest.FailStore{Store: memstore.New(nil)}}
	sessions := sessiontest.New(t, func(c *session.Config) { c.Store = s.store })
	engine := gin.New()
	engine.ContextWithFallback = fallback
	engine.Use(gin.Recovery(), ginsession.New(sessions))
	engine.GET("/count", func(c *gin.Context) { c.JSON(http.StatusOK, count(ginsession.From(c))) })
	engine.GET("/context", func(c *gin.Context) {
		from, ok := session.FromContext(c)
		c.JSON(http.StatusOK, ok && from == ginsession.From(c))
	})
	engine.GET("/status", func(c *gin.Context) { // a status alone is not sent yet
		c.Status(http.StatusAccepted)
		c.Header("X-Late", "yes")
		count(ginsession.From(c))
	})
	engine.GET("/abort", func(c *gin.Context) {
		count(ginsession.From(c))
		c.AbortWithStatusJSON(http.StatusTeapot, "no")
	}, func(c *gin.Context) { c.String(http.StatusOK, "went on") })
	engine.GET("/panic", func(c *gin.Context) {
		visits.Set(ginsession.From(c), 1000)
		panic("the handler's")
	})
	engine.GET("/sse", func(c *gin.Context) {
		n := 0
		c.Stream(func(io.Writer) bool {
			n++
			c.SSEvent("n", count(ginsession.From(c)))
			return n < 2
		})
	})
	group := engine.Group("/zip", gzipped, ginsession.New(sessions)) // twice does nothing
	group.GET("/inside", func(c *gin.Context) { c.String(http.StatusOK, "%d", count(ginsession.From(c))) })
	srv := httptest.NewServer(engine)
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.url, s.client = srv.URL, http.Client{Jar: jar}
	return s
}

func (s *setup) want(path string, status int, body string) http.Header {
	s.t.Helper()
	res, err := s.client.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || strings.TrimSpace(string(got)) != body {
		s.t.Errorf("GET %s: got %d %q, %v, want %d %q", path, res.StatusCode, got, err, status, body)
	}
	return res.Header
}

func TestGin(t *testing.T) {
	t.Parallel()
	for _, fallback := range []bool{false, true} {
		t.Run(fmt.Sprint("fallback=", fallback), func(t *testing.T) {
			t.Parallel()
			s := serve(t, fallback)
			s.want("/count", 200, "1")
			s.want("/context", 200, "true")
			if h := s.want("/status", 202, ""); h.Get("X-Late") != "yes" {
				t.Error("a header after Status is lost")
			}
			s.want("/abort", 418, `"no"`)
			s.want("/panic", 500, "")
			s.want("/count", 200, "4") // not 1001
			s.want("/zip/inside", 200, "5")
			s.want("/nothing", 404, "404 page not found")
		})
	}
}

// A session is saved before the first event leaves; what changes later is saved at the end.
func TestStream(t *testing.T) {
	t.Parallel()
	s := serve(t, false)
	res, err := s.client.Get(s.url + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if len(res.Cookies()) != 1 {
		t.Errorf("the stream sets %d cookies, want 1", len(res.Cookies()))
	}
	var data []string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
			data = append(data, text)
		}
	}
	if fmt.Sprint(data) != "[1 2]" {
		t.Errorf("got events %v, want [1 2]", data)
	}
	s.want("/count", 200, "3")
}

// A response whose session can't be saved is replaced as a whole, whichever way the handler writes.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/count", "/status", "/abort", "/sse"} {
		s := serve(t, false)
		s.store.Fail(errors.New("the test's store is down"))
		h := s.want(path, 503, "Your session can't be reached at the moment. Please try again in a few seconds.")
		if h.Get("Retry-After") == "" || h.Get("Set-Cookie") != "" {
			t.Errorf("%s: got Retry-After %q and a cookie: %t", path, h.Get("Retry-After"), h.Get("Set-Cookie") != "")
		}
	}
}

func TestFromWithoutNew(t *testing.T) {
	t.Parallel()
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "engine.Use(ginsession.New(sessions))") {
			t.Errorf("got panic %q", got)
		}
	}()
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest("GET", "/", nil)
	ginsession.From(c)
}
