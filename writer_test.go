package session_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
)

// The optional interfaces of an http.ResponseWriter, as handlers ask for them.
var optional = []struct {
	name string
	has  func(http.ResponseWriter) bool
}{
	{"Flusher", func(w http.ResponseWriter) bool { _, ok := w.(http.Flusher); return ok }},
	{"Hijacker", func(w http.ResponseWriter) bool { _, ok := w.(http.Hijacker); return ok }},
	//lint:ignore SA1019 old handlers ask
	{"CloseNotifier", func(w http.ResponseWriter) bool { _, ok := w.(http.CloseNotifier); return ok }},
	{"Pusher", func(w http.ResponseWriter) bool { _, ok := w.(http.Pusher); return ok }},
	{"ReaderFrom", func(w http.ResponseWriter) bool { _, ok := w.(io.ReaderFrom); return ok }},
}

func interfaces(w http.ResponseWriter) (names []string) {
	for _, o := range optional {
		if o.has(w) {
			names = append(names, o.name)
		}
	}
	return names
}

// Parts to build writers of.
type (
	flushes  struct{}
	hijacks  struct{}
	notifies struct{}
	pushes   struct{}
	reads    struct{}
)

func (flushes) Flush() {}
func (hijacks) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("no connection")
}
func (notifies) CloseNotify() <-chan bool           { return nil }
func (pushes) Push(string, *http.PushOptions) error { return nil }
func (reads) ReadFrom(r io.Reader) (int64, error)   { return io.Copy(io.Discard, r) }

// A handler finds exactly the interfaces that the writer around us has, for the sets that servers and middleware have;
// of other sets it finds a part, and never one that is not there.
func TestWriterInterfaces(t *testing.T) {
	t.Parallel()
	type plain struct{ http.ResponseWriter }
	b := newBench(t)
	for _, c := range []struct {
		name  string
		w     func(plain) http.ResponseWriter
		exact bool
	}{
		{"none", func(p plain) http.ResponseWriter { return p }, true},
		{"http.TimeoutHandler", func(p plain) http.ResponseWriter {
			return struct {
				plain
				pushes
			}{plain: p}
		}, true},
		{"httptest", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
			}{plain: p}
		}, true},
		{"hijacker", func(p plain) http.ResponseWriter {
			return struct {
				plain
				hijacks
			}{plain: p}
		}, true},
		{"flusher, hijacker", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				hijacks
			}{plain: p}
		}, true},
		{"flusher, pusher", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				pushes
			}{plain: p}
		}, true},
		{"flusher, notifier", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				notifies
			}{plain: p}
		}, true},
		{"HTTP/2", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				notifies
				pushes
			}{plain: p}
		}, true},
		{"flusher, hijacker, notifier", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				hijacks
				notifies
			}{plain: p}
		}, true},
		{"flusher, hijacker, pusher", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				hijacks
				pushes
			}{plain: p}
		}, true},
		{"flusher, hijacker, reader", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				hijacks
				reads
			}{plain: p}
		}, true},
		{"HTTP/1", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				hijacks
				notifies
				reads
			}{plain: p}
		}, true},
		{"flusher, reader", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				reads
			}{plain: p}
		}, false},
		{"reader alone", func(p plain) http.ResponseWriter {
			return struct {
				plain
				reads
			}{plain: p}
		}, false},
		{"notifier alone", func(p plain) http.ResponseWriter {
			return struct {
				plain
				notifies
			}{plain: p}
		}, false},
		{"hijacker, pusher, reader", func(p plain) http.ResponseWriter {
			return struct {
				plain
				hijacks
				pushes
				reads
			}{plain: p}
		}, false},
		{"everything", func(p plain) http.ResponseWriter {
			return struct {
				plain
				flushes
				hijacks
				notifies
				pushes
				reads
			}{plain: p}
		}, false},
	} {
		w := c.w(plain{httptest.NewRecorder()})
		want := interfaces(w)
		b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := interfaces(w)
			lacks := slices.ContainsFunc(got, func(name string) bool { return !slices.Contains(want, name) })
			if c.exact && !slices.Equal(got, want) || lacks {
				t.Errorf("%s: got %v, want %v (exactly: %t)", c.name, got, want, c.exact)
			}
		})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	}
}

// The writers that are really there: net/http's for each protocol, http.TimeoutHandler's, httptest's.
func TestWriterInterfacesOfServers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	compare := func(wrap func(http.Handler) http.Handler) http.Handler {
		return wrap(http.HandlerFunc(func(outside http.ResponseWriter, r *http.Request) {
			want := interfaces(outside)
			b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := interfaces(w); !slices.Equal(got, want) {
					t.Errorf("%s: got %v, want %v", r.Proto, got, want)
				}
				w.Write([]byte(strings.Join(want, " ")))
			})).ServeHTTP(outside, r)
		}))
	}
	straight := compare(func(h http.Handler) http.Handler { return h })
	timeout := compare(func(h http.Handler) http.Handler { return http.TimeoutHandler(h, 1<<40, "") })
	eachProtocol(t, straight, func(t *testing.T, c *wire) {
		want := "Flusher CloseNotifier Pusher"
		if c.protocol == "HTTP/1.1" {
			want = "Flusher Hijacker CloseNotifier ReaderFrom"
		}
		if got := body(t, c.get(t, "/", "")); got != want {
			t.Errorf("got %s in the server, want %s", got, want)
		}
	})
	eachProtocol(t, timeout, func(t *testing.T, c *wire) {
		if got := body(t, c.get(t, "/", "")); got != "Pusher" {
			t.Errorf("got %s of http.TimeoutHandler, want Pusher", got)
		}
	})
	w := httptest.NewRecorder()
	straight.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if got := w.Body.String(); got != "Flusher" {
		t.Errorf("got %s of httptest, want Flusher", got)
	}
}

// What a controller can do with the server's writer, it can do through ours, and nothing else.
func TestResponseController(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	calls := func(w http.ResponseWriter) (unsupported []string) {
		c := http.NewResponseController(w)
		for _, call := range []struct {
			name string
			do   func() error
		}{
			{"EnableFullDuplex", c.EnableFullDuplex},
			{"SetReadDeadline", func() error { return c.SetReadDeadline(epoch.AddDate(100, 0, 0)) }},
			{"SetWriteDeadline", func() error { return c.SetWriteDeadline(epoch.AddDate(100, 0, 0)) }},
			{"Flush", c.Flush},
		} {
			if err := call.do(); errors.Is(err, http.ErrNotSupported) {
				unsupported = append(unsupported, call.name)
			} else if err != nil {
				t.Errorf("%s: %v", call.name, err)
			}
		}
		return unsupported
	}
	direct := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Join(calls(w), " "))
	})
	mux := http.NewServeMux()
	mux.Handle("/direct", direct)
	mux.Handle("/session", b.Handler(direct))
	mux.Handle("/direct/timeout", http.TimeoutHandler(direct, 1<<40, ""))
	mux.Handle("/session/timeout", http.TimeoutHandler(b.Handler(direct), 1<<40, ""))
	eachProtocol(t, mux, func(t *testing.T, c *wire) {
		for _, path := range []string{"", "/timeout"} {
			want, got := body(t, c.get(t, "/direct"+path, "")), body(t, c.get(t, "/session"+path, ""))
			if got != want {
				t.Errorf("%s: got unsupported %q, want %q", path, got, want)
			}
		}
	})
}

// conn notes what its ReadFrom, which leads to sendfile, is given.
type conn struct {
	net.Conn
	read func(io.Reader)
}

func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.read(r)
	return c.Conn.(io.ReaderFrom).ReadFrom(r)
}

type listener struct {
	net.Listener
	read func(io.Reader)
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &conn{c, l.read}, err
}

// A file still goes from the kernel to the socket: the connection's own ReadFrom gets it, with a session in between and
// its cookie in the header.
func TestSendfile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	files := make(chan string, 10)
	srv := httptest.NewUnstartedServer(b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setPlain(session.From(r))
		http.ServeFile(w, r, "session.go")
	})))
	srv.Listener = listener{srv.Listener, func(r io.Reader) {
		if l, ok := r.(*io.LimitedReader); ok {
			r = l.R
		}
		if f, ok := r.(interface{ Name() string }); ok {
			files <- f.Name()
		} else {
			files <- "no file"
		}
	}}
	srv.Start()
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text := body(t, res); !strings.HasPrefix(text, "package session\n") || int64(len(text)) != res.ContentLength {
		t.Errorf("got %d bytes, want the file", len(text))
	}
	equal(t, "cookie", sets(res), []string{b.name + "=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"})
	select {
	case name := <-files:
		if name != "session.go" {
			t.Errorf("got %s passed to the connection, want session.go", name)
		}
	default:
		t.Error("the file was copied through memory")
	}
}

// A deadline of the request's context that passes while the store hangs is that of the request, and ends it.
func TestLoadEndsWithContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, setPlain)
	ctx, cancel := context.WithCancelCause(t.Context())
	b.store.fail(func(string) error { cancel(errDown); return ctx.Err() }, nil)
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.Header.Set("Cookie", cookie)
	b.serve(t, r, func(w http.ResponseWriter, r *http.Request) {
		if s, err := session.Open(r); s != nil || !errors.Is(err, errDown) ||
			strings.Contains(err.Error(), value(cookie)) {
			t.Errorf("got %v, want the context's cause", err)
		}
	})
}

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

// httputil.ReverseProxy panics with http.ErrAbortHandler when it can't write, and huma with an error that wraps
// Write's. What replaced their answer must reach the client all the same. Any other panic is the application's and goes
// on.
func TestReplacedAnswerSurvivesAbort(t *testing.T) {
	t.Parallel()
	spy := newSpy()
	m := sessiontest.New(t, func(c *session.Config) { c.Store = spy })
	spy.fail(down(), nil)
	ofWrite, bug := errors.New("stands for the error of Write"), errors.New("a bug")
	for value, want := range map[any]any{http.ErrAbortHandler: nil, ofWrite: nil, "a bug": "a bug", bug: bug,
		nil: nil} {
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session.From(r)
			switch _, err := w.Write([]byte("x")); {
			case err == nil || value == nil:
			case value == ofWrite:
				panic(fmt.Errorf("write: %w", err))
			default:
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
