package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hipflask/session"
)

// firstBytes are the ways in which an answer can begin.
var firstBytes = map[string]http.HandlerFunc{
	"nothing":     func(http.ResponseWriter, *http.Request) {},
	"Write":       func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) },
	"empty Write": func(w http.ResponseWriter, _ *http.Request) { w.Write(nil) },
	"WriteString": func(w http.ResponseWriter, _ *http.Request) {
		w.(interface{ WriteString(string) (int, error) }).WriteString("x")
	},
	"WriteHeader": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
	"103 and Write": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Write([]byte("x"))
	},
	"Flush": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	"FlushError": func(w http.ResponseWriter, _ *http.Request) {
		w.(interface{ FlushError() error }).FlushError()
	},
	"controller's Flush": func(w http.ResponseWriter, _ *http.Request) { http.NewResponseController(w).Flush() },
	"unwrapped Flush":    func(w http.ResponseWriter, _ *http.Request) { unwrap(w).(http.Flusher).Flush() },
	"unwrapped Write":    func(w http.ResponseWriter, _ *http.Request) { unwrap(w).Write([]byte("x")) },
	"unwrapped header":   func(w http.ResponseWriter, _ *http.Request) { unwrap(w).WriteHeader(http.StatusAccepted) },
	"io.Copy":            func(w http.ResponseWriter, _ *http.Request) { strings.NewReader("x").WriteTo(w) },
	"http.Error":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusTeapot) },
	"http.Redirect": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
	},
	"http.ServeContent": func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x", epoch, strings.NewReader("x"))
	},
	"WriteHeader of 101": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusSwitchingProtocols) },
	"WriteHeader of 304": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
	"deadline and a Write": func(w http.ResponseWriter, _ *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(epoch)
		w.Write([]byte("x"))
	},
}

func unwrap(w http.ResponseWriter) http.ResponseWriter {
	return w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
}

// tape is an http.ResponseWriter that notes, beside the store's calls, when something leaves.
type tape struct {
	*httptest.ResponseRecorder
	store *spyStore
}

func (w *tape) left(what string) { w.store.note(what, "") }

func (w *tape) Write(b []byte) (int, error) {
	w.left("sent")
	return w.ResponseRecorder.Write(b)
}

func (w *tape) WriteString(s string) (int, error) {
	w.left("sent")
	return w.ResponseRecorder.WriteString(s)
}

func (w *tape) WriteHeader(code int) {
	if code != http.StatusEarlyHints {
		w.left("sent")
		w.ResponseRecorder.WriteHeader(code)
	}
}

func (w *tape) Flush() {
	w.left("sent")
	w.ResponseRecorder.Flush()
}

// However an answer begins, the session is stored before, and the cookie is in the header (P5). If that fails, nothing
// of the handler's answer leaves: neither status nor header nor body (P4).
func TestSavedBeforeFirstByte(t *testing.T) {
	t.Parallel()
	for name, begin := range firstBytes {
		b := newBench(t)
		handler := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Handler", "set")
			w.Header().Set("X-Outer", "changed")
			w.Header().Set("Content-Length", "1")
			w.Header().Set("Content-Type", "text/x-handler")
			w.Header().Set("ETag", `"1"`)
			setPlain(session.From(r))
			begin(w, r)
		}))
		serve := func() *http.Response {
			w := &tape{httptest.NewRecorder(), b.store}
			w.Header().Set("X-Outer", "kept")
			handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			return w.Result()
		}
		res := serve()
		calls := b.store.took()
		if len(calls) == 0 || calls[0] != "create" || slices.Contains(calls[1:], "create") {
			t.Errorf("%s: got %q, want the session created before anything is sent", name, calls)
		}
		equal(t, name+": cookie", sets(res), []string{b.name + "=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"})
		if res.Header.Get("X-Handler") != "set" || res.StatusCode == http.StatusServiceUnavailable {
			t.Errorf("%s: got %d %v, want the handler's answer", name, res.StatusCode, res.Header)
		}

		b.store.fail(down(), nil)
		res = serve()
		text := body(t, res)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" ||
			!strings.HasPrefix(text, "Your session can't be reached") {
			t.Errorf("%s: in an outage: got %d %q, want 503 and Retry-After", name, res.StatusCode, text)
		}
		for field, want := range map[string]string{
			"X-Outer": "kept", "X-Handler": "", "ETag": "", "Content-Length": "", "Set-Cookie": "",
			"Cache-Control": "no-store", "Vary": "Cookie", "Content-Type": "text/plain; charset=utf-8",
		} {
			if got := strings.Join(res.Header[field], "|"); field != "ETag" && got != want {
				t.Errorf("%s: in an outage: got %s %q, want %q", name, field, got, want)
			}
		}
	}
}

// After the answer was replaced the handler's Writes fail with the reason, and go nowhere.
func TestWritesAfterReplacement(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, setPlain)
	b.store.fail(downAfter(1), nil)
	res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		session.From(r).Set("color", "red")
		for _, write := range []func() error{
			func() error { _, err := w.Write([]byte("secret page")); return err },
			func() error { _, err := fmt.Fprint(w, "secret page"); return err },
			func() error { return http.NewResponseController(w).Flush() },
			func() error { return w.(interface{ FlushError() error }).FlushError() },
		} {
			if err := write(); !errors.Is(err, session.ErrUncertain) && !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("got %v, want the reason", err)
			}
		}
		w.WriteHeader(http.StatusOK)
		if err := session.From(r).Err(); err == nil {
			t.Error("Err is nil")
		}
	})
	if text := body(t, res); res.StatusCode != http.StatusServiceUnavailable || strings.Contains(text, "secret page") {
		t.Errorf("got %d %q, want 503 alone", res.StatusCode, text)
	}
}

// Changes after the first byte are stored when the handler returns, if they need no cookie.
func TestChangesAfterFirstByte(t *testing.T) {
	t.Parallel()
	for name, begin := range firstBytes {
		if name == "nothing" {
			continue
		}
		b := newBench(t)
		cookie := b.cookie(t, setPlain)
		n := 0
		after := func(w http.ResponseWriter, r *http.Request) {
			begin(w, r)
			n++
			session.From(r).Set("late", n)
		}
		res := b.get(t, cookie, after)
		equal(t, name+": store", b.store.took(), []string{"load", "replace"})
		if v, _ := mustLoad(t, b, value(cookie)).Get("late"); v != int64(1) || len(res.Cookies()) > 0 {
			t.Errorf("%s: got %v and %d cookies, want the change stored, no cookie", name, v, len(res.Cookies()))
		}

		// If that fails, the connection is cut: nobody may take the answer for complete.
		b.store.fail(downAfter(1), nil)
		if v := recovered(func() { b.get(t, cookie, after) }); v != http.ErrAbortHandler {
			t.Errorf("%s: got panic %v, want http.ErrAbortHandler", name, v)
		}
		b.store.fail(down("load"), nil)
		if v := recovered(func() { b.get(t, cookie, after) }); v != http.ErrAbortHandler {
			t.Errorf("%s: when it can't be loaded: got panic %v, want http.ErrAbortHandler", name, v)
		}
	}
}

func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// Where a new cookie would be needed it is too late: Err says so, an event names the key, nothing is stored, and the
// answer stands.
func TestTooLate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cookie bool
		do     func(*session.Session)
		key    string
	}{
		"first change":    {false, setPlain, "color"},
		"first flash":     {false, func(s *session.Session) { s.Flash("hello") }, "_flashes"},
		"first login":     {false, func(s *session.Session) { s.Login("ann") }, ""},
		"login":           {true, func(s *session.Session) { s.Login("ann") }, ""},
		"login and value": {true, func(s *session.Session) { s.Login("ann"); s.Set("cart", 1) }, "cart"},
		"renew":           {true, func(s *session.Session) { s.Renew() }, ""},
		"persistent":      {true, func(s *session.Session) { s.SetPersistent(true) }, "_permanent"},
	} {
		for kind, option := range kinds {
			b := newBench(t, option)
			cookie := ""
			if c.cookie {
				cookie = b.cookie(t, func(s *session.Session) { s.Set("old", 1) })
			}
			var during error
			var s *session.Session
			res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				session.From(r).Keys()
				w.Write([]byte("page"))
				s = session.From(r)
				c.do(s)
				during = s.Save(r.Context())
			})
			what := kind + ": " + name
			if !errors.Is(during, session.ErrTooLate) || !errors.Is(s.Err(), session.ErrTooLate) {
				t.Errorf("%s: got %v from Save and Err %v, want %v", what, during, s.Err(), session.ErrTooLate)
			}
			if text := body(t, res); res.StatusCode != http.StatusOK || text != "page" || len(res.Cookies()) > 0 {
				t.Errorf("%s: got %d %q, want the answer to stand", what, res.StatusCode, text)
			}
			if got := strings.Join(b.store.took(), ""); got != "" && got != "load" {
				t.Errorf("%s: got %q, want nothing stored", what, got)
			}
			b.events.mu.Lock()
			if e := b.events.events; len(e) != 1 || e[0].Kind != session.EventTooLate || e[0].Key != c.key {
				t.Errorf("%s: got events %+v, want one of a change of %q that was too late", what, e, c.key)
			}
			b.events.mu.Unlock()
			if c.cookie {
				if got := mustLoad(t, b, value(cookie)).Keys(); !slices.Equal(got, []string{"old"}) {
					t.Errorf("%s: got %q stored, want the session as it was", what, got)
				}
			}
		}
	}
}

// A logout that comes after the first byte still ends the session in the store.
func TestLogoutAfterFirstByte(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("bye"))
		session.From(r).Logout()
		if err := session.From(r).Save(r.Context()); err != nil {
			t.Errorf("got %v, want the session ended", err)
		}
	})
	equal(t, "events", b.events.took(), []string{"read late", "logout"})
	if _, err := b.Load(t.Context(), value(cookie)); !errors.Is(err, session.ErrEnded) {
		t.Errorf("got %v, want %v", err, session.ErrEnded)
	}
}

// A handler that panics saves nothing, unless a recoverer inside answers for it.
func TestPanics(t *testing.T) {
	t.Parallel()
	for _, v := range []any{"a bug", http.ErrAbortHandler, errors.New("x"), 0} {
		b := newBench(t)
		cookie := b.cookie(t, setPlain)
		fail := func(_ http.ResponseWriter, r *http.Request) {
			session.From(r).Set("color", "red")
			session.From(r).Flash("half done")
			panic(v)
		}
		if got := recovered(func() { b.get(t, cookie, fail) }); got != v {
			t.Errorf("got panic %v further out, want %v", got, v)
		}
		equal(t, "store", b.store.took(), []string{"load"})

		recoverer := func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				recover()
				http.Error(w, "sorry", http.StatusInternalServerError)
			}()
			fail(w, r)
		}
		res := b.get(t, cookie, recoverer)
		if got, _ := mustLoad(t, b, value(cookie)).Get("color"); got != "red" || body(t, res) != "sorry\n" {
			t.Errorf("got %v stored, want the recoverer's answer saved as any", got)
		}
	}

	// A function of the application that panics within the save, inside the first Write.
	b := newBench(t)
	cookie := b.cookie(t, setPlain)
	if got := recovered(func() {
		b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
			runs := 0
			session.Key[int]("n").Update(session.From(r), func(n int) int {
				if runs++; runs > 1 {
					panic("a bug in the update")
				}
				return n
			})
			w.Write([]byte("page"))
		})
	}); got != "a bug in the update" {
		t.Errorf("got panic %v, want the application's", got)
	}
	// no lock is left behind
	b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Set("color", "red") })
	if got, _ := mustLoad(t, b, value(cookie)).Get("color"); got != "red" {
		t.Errorf("got %v after the panic, want the session to work on", got)
	}
}

// A value that can't be encoded, or a session that is too large: the answer is a 500, the log names the key, not the
// value, and the session stays as it was.
func TestUnsavableValues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(*session.Session)
		want error
	}{
		"Set":     {func(s *session.Session) { s.Set("basket", []any{"planted-value", make(chan int)}) }, nil},
		"Key.Set": {func(s *session.Session) { session.Key[func()]("basket").Set(s, func() {}) }, nil},
		"Update": {func(s *session.Session) {
			session.Key[any]("basket").Update(s, func(any) any { return "planted-value\xff" })
		}, nil},
		"too large": {func(s *session.Session) {
			s.Set("basket", "planted-value"+strings.Repeat("x", 5000))
		}, session.ErrTooLarge},
	} {
		for kind, option := range kinds {
			var log bytes.Buffer
			b := newBench(t, option, logTo(&log), func(c *session.Config) { c.MaxBytes = 4000 })
			cookie := b.cookie(t, setPlain)
			var s *session.Session
			res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				s = session.From(r)
				s.Set("other", 1)
				c.do(s)
				w.Header().Set("X-Handler", "set")
				w.Write([]byte("page"))
			})
			what := kind + ": " + name
			if text := body(t, res); res.StatusCode != http.StatusInternalServerError ||
				text != "Your session could not be saved.\n" || res.Header.Get("X-Handler") != "" {
				t.Errorf("%s: got %d %q, want the default answer for a failure", what, res.StatusCode, text)
			}
			if err := s.Err(); err == nil || c.want != nil && !errors.Is(err, c.want) ||
				!strings.Contains(err.Error(), `"basket"`) {
				t.Errorf("%s: got Err %v, want it to name the key", what, err)
			}
			equal(t, what+": events", b.events.took(), []string{"failed"})
			if out := log.String(); !strings.Contains(out, "basket") || strings.Contains(out, "planted") {
				t.Errorf("%s: got log %q, want the key's name and no value", what, out)
			}
			if got := mustLoad(t, b, value(cookie)).Keys(); !slices.Equal(got, []string{"color"}) {
				t.Errorf("%s: got %q stored, want the session as it was", what, got)
			}
		}
	}
}

// A client that hangs up cancels the load, which is no outage, but not the save (P5).
func TestClientHangsUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, setPlain)
	request := func(h http.HandlerFunc) {
		t.Helper()
		ctx, hangUp := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(context.WithValue(ctx, cancelKey{}, hangUp), "GET", "/", nil)
		r.Header.Set("Cookie", cookie)
		b.serve(t, r, h)
	}
	hangUp := func(r *http.Request) { r.Context().Value(cancelKey{}).(context.CancelFunc)() }
	for _, when := range []string{"before the first byte", "after the first byte"} {
		request(func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			if strings.HasPrefix(when, "after") {
				w.Write([]byte("x"))
			}
			hangUp(r)
			s.Set("when", when)
		})
		if got, _ := mustLoad(t, b, value(cookie)).Get("when"); got != when {
			t.Errorf("%s: got %v, want the change stored", when, got)
		}
	}
	b.events.took()
	b.store.fail(func(op string) error { return context.Canceled }, nil)
	request(func(w http.ResponseWriter, r *http.Request) {
		hangUp(r)
		if _, err := session.Open(r); !errors.Is(err, context.Canceled) || errors.Is(err, session.ErrUnavailable) {
			t.Errorf("got %v, want %v alone", err, context.Canceled)
		}
	})
	equal(t, "events", b.events.took(), []string{})
}

type cancelKey struct{}

// A goroutine that outlives its request has a session that still can be saved, except for what needs a cookie.
func TestGoroutineOutlivesRequest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, cookie := range []string{b.cookie(t, setPlain), ""} {
		returned, finished := make(chan bool), make(chan error)
		b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			go func() {
				<-returned
				s.Set("later", 1)
				finished <- s.Save(context.Background())
			}()
		})
		close(returned)
		err := <-finished
		if cookie == "" {
			if !errors.Is(err, session.ErrTooLate) {
				t.Errorf("without a cookie: got %v, want %v", err, session.ErrTooLate)
			}
			continue
		}
		if got, _ := mustLoad(t, b, value(cookie)).Get("later"); got != int64(1) || err != nil {
			t.Errorf("got %v, %v, want the change stored", got, err)
		}
	}
}
