package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session"
)

const aCookie = "=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"

// Over each protocol, however the answer begins: its cookie has arrived, and its session is in the store, before the
// handler has returned.
func TestServerFirstBytes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := http.NewServeMux()
	for name, begin := range firstBytes {
		if name == "WriteHeader of 101" || strings.HasPrefix(name, "deadline") {
			continue // has a test of its own; spoils the connection
		}
		mux.HandleFunc("/"+strings.ReplaceAll(name, " ", "-"), func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			setPlain(s)
			begin(w, r)
			if _, err := b.Load(context.WithoutCancel(r.Context()), s.Token()); err != nil && name != "nothing" {
				t.Errorf("%s: got %v from the store, want the session there", name, err)
			}
		})
	}
	eachProtocol(t, b.Handler(mux), func(t *testing.T, c *wire) {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for name := range firstBytes {
			for _, method := range []string{"GET", "HEAD"} {
				res := c.do(t, c.request(t, method, "/"+strings.ReplaceAll(name, " ", "-"), ""))
				if res.StatusCode == http.StatusNotFound {
					continue
				}
				equal(t, method+" "+name, sets(res), []string{b.name + aCookie})
				if res.Header.Get("Vary") != "Cookie" || res.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s %s: got %v, want Vary and no-store", method, name, res.Header)
				}
				if v, _ := mustLoad(t, b, res.Cookies()[0].Value).Get("color"); v != "green" {
					t.Errorf("%s %s: got %v, want the session", method, name, v)
				}
			}
		}
	})
}

// 103 and 100 are no answer yet: they carry no cookie, and what is set after them is in time.
func TestServerInformational(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	handler := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		data, _ := io.ReadAll(r.Body) // answers 100 if the client waits for it
		setPlain(session.From(r))
		w.WriteHeader(http.StatusEarlyHints)
		session.From(r).Login("ann")
		w.Write(data)
	}))
	eachProtocol(t, handler, func(t *testing.T, c *wire) {
		r := c.request(t, "POST", "/", "")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("upload")), 6
		r.Header.Set("Expect", "100-continue")
		var codes []int
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				codes = append(codes, code)
				if h.Get("Set-Cookie") != "" || code == http.StatusEarlyHints && h.Get("Link") == "" {
					t.Errorf("%d: got %v, want the link and no cookie", code, h)
				}
				return nil
			},
		}))
		res := c.do(t, r)
		if got := body(t, res); got != "upload" {
			t.Errorf("got %q, want upload", got)
		}
		equal(t, "cookies", sets(res), []string{b.name + aCookie})
		// HTTP/2's client takes 100 for itself
		if fmt.Sprint(codes) != "[103 100 103]" && fmt.Sprint(codes) != "[103 103]" {
			t.Errorf("got %v, want the hints", codes)
		}
		if who := mustLoad(t, b, res.Cookies()[0].Value).Principal(); who != "ann" {
			t.Errorf("got %q logged in, want ann", who)
		}
	})
}

// Answers without a body, parts of one, and trailers come as the handler made them, with the cookie.
func TestServerKindsOfAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		setPlain(session.From(r))
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "file.txt", epoch, strings.NewReader("0123456789"))
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) {
		setPlain(session.From(r))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		setPlain(session.From(r))
		w.Write([]byte("data"))
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
	})
	eachProtocol(t, b.Handler(mux), func(t *testing.T, c *wire) {
		for _, a := range []struct {
			method, path, field, value string
			code                       int
			body, header               string
		}{
			{"GET", "/file", "", "", 200, "0123456789", "Content-Length: 10"},
			{"HEAD", "/file", "", "", 200, "", "Content-Length: 10"},
			{"GET", "/file", "If-None-Match", `"v1"`, 304, "", `Etag: "v1"`},
			{"GET", "/file", "Range", "bytes=2-4", 206, "234", "Content-Range: bytes 2-4/10"},
			{"GET", "/file", "Range", "bytes=20-", 416, "invalid range: failed to overlap\n",
				"Content-Range: bytes */10"},
			{"GET", "/empty", "", "", 204, "", "Vary: Cookie"},
			{"GET", "/trailer", "", "", 200, "data", "Vary: Cookie"},
		} {
			r := c.request(t, a.method, a.path, "")
			if a.field != "" {
				r.Header.Set(a.field, a.value)
			}
			res := c.do(t, r)
			name, want, _ := strings.Cut(a.header, ": ")
			if got := body(t, res); res.StatusCode != a.code || got != a.body || res.Header.Get(name) != want {
				t.Errorf("%s %s %s: got %d %q %v, want %d %q %s", a.method, a.path, a.value, res.StatusCode,
					got, res.Header, a.code, a.body, a.header)
			}
			equal(t, a.path, sets(res), []string{b.name + aCookie})
			if a.path == "/trailer" && (res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("X-Late") != "43") {
				t.Errorf("got trailer %v, want both", res.Trailer)
			}
		}
	})
}

// Server-sent events, with a session that changes while they stream: each change is stored when Save returns, the last
// when the handler does.
func TestServerStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	count := session.Key[int]("count")
	handler := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			count.Update(s, func(n int) int { return n + 1 })
			if err := s.Save(r.Context()); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "data: %d\n\n", count.Or(s, 0))
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
		count.Update(s, func(n int) int { return n + 100 })
	}))
	eachProtocol(t, handler, func(t *testing.T, c *wire) {
		cookie := b.cookie(t, setPlain)
		res := c.get(t, "/", cookie)
		lines := bufio.NewScanner(res.Body)
		for want := 1; lines.Scan(); {
			if lines.Text() == "" {
				continue
			}
			if got := count.Or(mustLoad(t, b, value(cookie)), 0); lines.Text() != fmt.Sprintf("data: %d", want) ||
				got < want {
				t.Errorf("got %q with %d stored, want data: %d and as many", lines.Text(), got, want)
			}
			want++
		}
		if got := count.Or(mustLoad(t, b, value(cookie)), 0); got != 103 {
			t.Errorf("got a count of %d, want 103", got)
		}
	})
}

// A save that fails after the first byte, and a panic, break the answer off: no client can take it for complete.
func TestServerBreaksOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Keys()
		w.Write([]byte("all that there is"))
		session.From(r).Set("large", strings.Repeat("x", 2<<20))
	})
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
		setPlain(session.From(r))
		w.Write([]byte("half of what there is"))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	eachProtocol(t, b.Handler(mux), func(t *testing.T, c *wire) {
		for _, path := range []string{"/late", "/panic"} {
			res, err := c.Do(c.request(t, "GET", path, b.cookie(t, setPlain)))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil {
				t.Errorf("%s: got a whole answer", path)
			}
		}
	})
}

// A real client that goes away: the handler learns it, and its change is stored all the same.
func TestServerClientGoesAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	type talk struct {
		began chan bool
		saved chan error
	}
	var talks sync.Map
	handler := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, _ := talks.Load(r.URL.Path)
		s := session.From(r)
		v.(talk).began <- true
		<-r.Context().Done()
		s.Set("color", "red")
		v.(talk).saved <- s.Save(r.Context())
	}))
	eachProtocol(t, handler, func(t *testing.T, c *wire) {
		path, k := "/"+t.Name(), talk{make(chan bool), make(chan error)}
		talks.Store(path, k)
		cookie := b.cookie(t, setPlain)
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-k.began
			hangUp()
		}()
		if _, err := c.Do(c.request(t, "GET", path, cookie).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if err := <-k.saved; err != nil {
			t.Errorf("Save: %v", err)
		}
		if got, _ := mustLoad(t, b, value(cookie)).Get("color"); got != "red" {
			t.Errorf("got %v, want red", got)
		}
	})
}

// Hijack, with an answer of 101 before and without: what is stored already is stored; a cookie is sent with the 101 or
// never, and what would need one without it is not stored.
func TestServerHijack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	hijack := func(t *testing.T, w http.ResponseWriter) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
		rw.Flush()
	}
	var s *session.Session
	mux := http.NewServeMux()
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		s = session.From(r)
		s.Set("color", "red")
		hijack(t, w)
		s.Set("after", 1)
	})
	mux.HandleFunc("/saved", func(w http.ResponseWriter, r *http.Request) {
		s = session.From(r)
		s.Renew()
		if err := s.Save(r.Context()); err != nil {
			t.Error(err)
		}
		hijack(t, w)
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		s = session.From(r)
		s.Logout()
		hijack(t, w)
	})
	mux.HandleFunc("/101", func(w http.ResponseWriter, r *http.Request) {
		s = session.From(r)
		s.Set("color", "red")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "chat")
		w.WriteHeader(http.StatusSwitchingProtocols)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	})
	returned := make(chan bool, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { returned <- true }()
		b.Handler(mux).ServeHTTP(w, r)
	}))
	defer srv.Close()
	get := func(path, cookie string) *http.Response {
		t.Helper()
		c := &wire{srv.Client(), "HTTP/1.1", srv.URL}
		r := c.request(t, "GET", path, cookie)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "chat")
		res := c.do(t, r)
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%s: got %d, want 101", path, res.StatusCode)
		}
		<-returned
		return res
	}

	cookie := b.cookie(t, setPlain)
	equal(t, "hijack", sets(get("/hijack", cookie)), nil)
	if got := mustLoad(t, b, value(cookie)).Keys(); len(got) != 2 {
		t.Errorf("got %q stored, want the changes before and after", got)
	}
	if err := s.Err(); err != nil {
		t.Errorf("got Err %v, want the change stored", err)
	}
	equal(t, "events", b.events.took(), []string{})
	b.store.took()

	equal(t, "hijack of a new session", sets(get("/hijack", "")), nil)
	if err := s.Err(); !errors.Is(err, session.ErrTooLate) {
		t.Errorf("got Err %v, want %v", err, session.ErrTooLate)
	}
	equal(t, "store", b.store.took(), nil)
	// before and after the hijack
	equal(t, "events of a new session", b.events.took(), []string{"too late", "too late"})

	equal(t, "hijack after Save", sets(get("/saved", cookie)), nil)
	if err := s.Err(); !errors.Is(err, session.ErrTooLate) {
		t.Errorf("after Save: got Err %v, want %v", err, session.ErrTooLate)
	}
	equal(t, "events after Save", b.events.took(), []string{"renewed", "too late"})
	cookie = b.cookie(t, func(s *session.Session) { s.Login("ann") })
	equal(t, "hijack after Logout", sets(get("/logout", cookie)), nil)
	if _, err := b.Load(t.Context(), value(cookie)); !errors.Is(err, session.ErrEnded) || s.Err() != nil {
		t.Errorf("after Logout: got %v, and Err %v, want it ended and no failure", err, s.Err())
	}
	equal(t, "events after Logout", b.events.took(), []string{"logout"})
	equal(t, "101", sets(get("/101", "")), []string{b.name + aCookie})
}

// deadline is a context whose deadline is over when the handler says so, however busy the machine is.
type deadline struct {
	context.Context
	over chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.over }

func (d deadline) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func (d deadline) Value(key any) any {
	if key == (deadline{}) {
		return d.over
	}
	return d.Context.Value(key)
}

// http.TimeoutHandler on either side.
func TestServerTimeoutHandler(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const never = time.Duration(1 << 60)
	work := func(w http.ResponseWriter, r *http.Request) {
		setPlain(session.From(r))
		w.Write([]byte("done"))
	}
	hang := func(w http.ResponseWriter, r *http.Request) {
		setPlain(session.From(r))
		close(r.Context().Value(deadline{}).(chan struct{}))
		<-r.Context().Done()
		w.Write([]byte("too late"))
	}
	timeout := func(h http.Handler) http.Handler {
		h = http.TimeoutHandler(h, never, "timeout")
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r.WithContext(deadline{r.Context(), make(chan struct{})}))
		})
	}
	mux := http.NewServeMux()
	mux.Handle("/outside", timeout(b.Handler(http.HandlerFunc(work))))
	mux.Handle("/inside", b.Handler(timeout(http.HandlerFunc(work))))
	mux.Handle("/outside/hangs", timeout(b.Handler(http.HandlerFunc(hang))))
	mux.Handle("/inside/hangs", b.Handler(timeout(http.HandlerFunc(hang))))
	eachProtocol(t, mux, func(t *testing.T, c *wire) {
		for path, want := range map[string]struct {
			code int
			sets []string
			body string
		}{
			"/outside":       {200, []string{b.name + aCookie}, "done"},
			"/inside":        {200, []string{b.name + aCookie}, "done"},
			"/outside/hangs": {503, nil, "timeout"},
			"/inside/hangs":  {503, []string{b.name + aCookie}, "timeout"},
		} {
			res := c.get(t, path, "")
			if got := body(t, res); res.StatusCode != want.code || got != want.body {
				t.Errorf("%s: got %d %q, want %d %q", path, res.StatusCode, got, want.code, want.body)
			}
			equal(t, path, sets(res), want.sets)
		}
	})
}
