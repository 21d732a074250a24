package session_test

import (
	"bufio"
	"bytes"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
)

// bare is a writer with nothing beside http.ResponseWriter, such as http.TimeoutHandler's.
type bare struct{ http.ResponseWriter }

type bareFlusher struct{ bare }

func (bareFlusher) Flush() {}

type bareHijacker struct{ bare }

func (bareHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, net.ErrClosed }

type bareFlushHijacker struct{ bareHijacker }

func (bareFlushHijacker) Flush() {}

// further says, as WebSocket libraries ask it, what a writer and those below it can do. It fails if there is no end.
func further[T any](t *testing.T, w http.ResponseWriter) bool {
	t.Helper()
	for range 10 {
		if _, ok := w.(T); ok {
			return true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
	t.Fatal("Unwrap has no end")
	return false
}

func TestUnwrapFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	type none interface{ nobodyHasThis() }
	outer := sessiontest.New(t, func(c *session.Config) { c.Cookie.Name = "outer" })
	inner := sessiontest.New(t)
	for name, c := range map[string]struct {
		w               func(bare) http.ResponseWriter
		flushes, hijack bool
	}{
		"neither": {func(b bare) http.ResponseWriter { return b }, false, false},
		"Flush":   {func(b bare) http.ResponseWriter { return bareFlusher{b} }, true, false},
		"Hijack":  {func(b bare) http.ResponseWriter { return bareHijacker{b} }, false, true},
		"both":    {func(b bare) http.ResponseWriter { return bareFlushHijacker{bareHijacker{b}} }, true, true},
	} {
		check := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			unwrapped := w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
			for _, w := range []http.ResponseWriter{w, unwrapped} {
				if got := further[http.Flusher](t, w); got != c.flushes {
					t.Errorf("%s: http.Flusher: got %v, want %v", name, got, c.flushes)
				}
				if got := further[interface{ FlushError() error }](t, w); got != c.flushes {
					t.Errorf("%s: FlushError: got %v, want %v", name, got, c.flushes)
				}
				if got := further[http.Hijacker](t, w); got != c.hijack {
					t.Errorf("%s: http.Hijacker: got %v, want %v", name, got, c.hijack)
				}
				if further[none](t, w) {
					t.Errorf("%s: found what nobody has", name)
				}
			}
		})
		for _, h := range []http.Handler{inner.Handler(check), outer.Handler(inner.Handler(check))} {
			h.ServeHTTP(c.w(bare{httptest.NewRecorder()}), httptest.NewRequest("GET", "/", nil))
		}
	}
}

// An attempt that can't succeed must not be the answer's first byte: the cookie can still be sent.
func TestUnsupportedCommitsNothing(t *testing.T) {
	t.Parallel()
	outer := sessiontest.New(t, func(c *session.Config) { c.Cookie.Name = "outer" })
	inner := sessiontest.New(t)
	h := outer.Handler(inner.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := c.Flush(); err == nil {
			t.Error("Flush: got nil, want an error")
		}
		if _, _, err := c.Hijack(); err == nil {
			t.Error("Hijack: got nil, want an error")
		}
		inner.From(r).Set("n", 1)
		outer.From(r).Set("n", 2)
	})))
	w := httptest.NewRecorder()
	h.ServeHTTP(bare{w}, httptest.NewRequest("GET", "/", nil))
	if got := len(w.Result().Cookies()); got != 2 {
		t.Errorf("got %d cookies, want 2", got)
	}
}

// net/http removes the temporary files of an upload, by the request that it made. Ours is a copy.
func TestUploadedFilesAreRemoved(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "photo")
	if err != nil {
		t.Fatal(err)
	}
	part.Write(make([]byte, 1000))
	form.Close()

	var name string
	srv := httptest.NewServer(sessiontest.New(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil { // bytes in memory; the rest goes to files
			t.Error(err)
			return
		}
		file, err := r.MultipartForm.File["file"][0].Open()
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		if f, ok := file.(*os.File); ok {
			name = f.Name()
		}
	})))
	res, err := srv.Client().Post(srv.URL, form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	srv.Close() // waits for the request's end
	if name == "" {
		t.Fatal("the upload went to no file")
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		os.Remove(name)
		t.Errorf("the uploaded file is still there: %v", err)
	}
}

// httputil.ReverseProxy panics with http.ErrAbortHandler when it can't write. What replaced its answer must reach the
// client all the same. Any other panic is the application's and goes on.
func TestReplacedAnswerSurvivesAbort(t *testing.T) {
	t.Parallel()
	spy := newSpy()
	m := sessiontest.New(t, func(c *session.Config) { c.Store = spy })
	spy.fail(down(), nil)
	for value, want := range map[any]any{http.ErrAbortHandler: nil, "a bug": "a bug", nil: nil} {
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session.From(r)
			if _, err := w.Write([]byte("x")); err != nil && value != nil {
				panic(value)
			}
		}))
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: "session", Value: tokenOf(t, m, spy)})
		w := httptest.NewRecorder()
		got := func() (v any) {
			defer func() { v = recover() }()
			h.ServeHTTP(w, r)
			return nil
		}()
		if got != want {
			t.Errorf("panic(%v): got %v further out, want %v", value, got, want)
		}
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("panic(%v): got %d, want 503", value, w.Code)
		}
	}
}

// tokenOf returns the token of a session that is stored while the store works.
func tokenOf(t *testing.T, m *session.Manager, spy *spyStore) string {
	t.Helper()
	spy.fail(nil, nil)
	defer spy.fail(down(), nil)
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Set("n", 1)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.Token()
}
