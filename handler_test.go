package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store/memstore"
)

// Two Managers have a session each, from the inside of both; the nearest is From's.
func TestNestedManagers(t *testing.T) {
	t.Parallel()
	outer, inner := newBench(t), newBench(t, func(c *session.Config) { c.Cookie.Name = "__Host-inner" })
	var seen []string
	h := outer.Handler(inner.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, fmt.Sprint(outer.From(r).Keys(), inner.From(r).Keys(), session.From(r) == inner.From(r)))
		outer.From(r).Set("outer", 1)
		session.From(r).Set("inner", 1)
		w.Write([]byte("x"))
	})))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	cookies := w.Result().Cookies()
	if len(cookies) != 2 || cookies[0].Name == cookies[1].Name {
		t.Fatalf("got %d cookies, want one of each", len(cookies))
	}
	r := httptest.NewRequest("GET", "/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
	equal(t, "keys", seen, []string{"[] [] true", "[outer] [inner] true"})

	// Between the two, the outer one is the nearest, and the inner one is not there.
	between := outer.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session.From(r) != outer.From(r) {
			t.Error("the nearest is not the outer Manager's")
		}
		if v := recovered(func() { inner.From(r) }); v == nil || !strings.Contains(fmt.Sprint(v), "without a Handler") {
			t.Errorf("got %v from the inner Manager, want a panic that tells the way out", v)
		}
	}))
	between.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// The inner answer replaced, or the outer one: never a mixture, and the other session is not lost.
func TestNestedFailures(t *testing.T) {
	t.Parallel()
	outer, inner := newBench(t), newBench(t, func(c *session.Config) { c.Cookie.Name = "__Host-inner" })
	h := outer.Handler(inner.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setPlain(outer.From(r))
		setPlain(inner.From(r))
		w.Write([]byte("page"))
	})))
	for what, b := range map[string]*bench{"outer": outer, "inner": inner} {
		b.store.fail(down(), nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "page") {
			t.Errorf("%s down: got %d %q, want 503", what, w.Code, w.Body)
		}
		for _, c := range w.Result().Cookies() {
			if c.Name == b.name {
				t.Errorf("%s down: got its cookie", what)
			}
		}
		b.store.fail(nil, nil)
	}
}

// A Manager within itself passes through: one session, one save.
func TestManagerWithinItself(t *testing.T) {
	t.Parallel()
	a, b := newBench(t), newBench(t, func(c *session.Config) { c.Cookie.Name = "__Host-b" })
	h := a.Handler(a.Handler(b.Handler(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setPlain(a.From(r))
		if session.From(r) != b.From(r) {
			t.Error("the Handler that passes through counts as the nearest")
		}
	})))))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	equal(t, "cookies", sets(w.Result()), []string{a.name + aCookie})
	equal(t, "store", a.store.took(), []string{"create"})
}

// Two that would overwrite each other's cookie: the first request says so, naming the field and no secret.
func TestNestedManagersOfOneName(t *testing.T) {
	t.Parallel()
	bearer := func(c *session.Config) { c.BearerToken = true }
	for _, pair := range [][2]*bench{{newBench(t), newBench(t)}, {newBench(t), newBench(t, encrypted)},
		{newBench(t, bearer), newBench(t, bearer)}} {
		served := false
		h := pair[0].Handler(pair[1].Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			served = true
		})))
		v := recovered(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) })
		if text := fmt.Sprint(v); !strings.Contains(text, "Cookie.Name") || strings.Contains(text, secret) || served {
			t.Errorf("got panic %v, served: %t, want one that names Cookie.Name", v, served)
		}
	}
}

// Copies of the request have its session, and so have contexts made of its own; others have none.
func TestRequestCopies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, setPlain)
	type key struct{}
	b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		ctx := context.WithValue(r.Context(), key{}, 1)
		for name, r := range map[string]*http.Request{
			"WithContext": r.WithContext(ctx), "Clone": r.Clone(ctx), "shallow": new(http.Request{}).WithContext(ctx),
			"WithoutCancel": r.WithContext(context.WithoutCancel(ctx)),
		} {
			opened, err := session.Open(r)
			inContext, ok := session.FromContext(r.Context())
			if session.From(r) != s || b.From(r) != s || opened != s || err != nil || inContext != s || !ok {
				t.Errorf("%s: got another session", name)
			}
		}
	})
	equal(t, "store", b.store.took(), []string{"load"})
	r := httptest.NewRequest("GET", "/", nil)
	for name, f := range map[string]func(){
		"From": func() { session.From(r) }, "Manager.From": func() { b.From(r) }, "Open": func() { session.Open(r) },
		"Preload": func() { b.Preload(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r) },
	} {
		if v := recovered(f); v == nil || !strings.Contains(fmt.Sprint(v), "(*Manager).Handler") {
			t.Errorf("%s: got panic %v, want one that tells the way out", name, v)
		}
	}
	if s, ok := session.FromContext(t.Context()); ok || s != nil {
		t.Error("got a session of a context without one")
	}
	s := mustLoad(t, b, "")
	ctx := session.NewContext(t.Context(), s)
	if got, ok := session.FromContext(ctx); !ok || got != s || session.From(r.WithContext(ctx)) != s ||
		b.From(r.WithContext(ctx)) != s {
		t.Error("NewContext: got another session")
	}
}

// What is around the Handler sees the route that the router inside has found.
func TestPatternIsSeenOutside(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /user/{name}", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("GET /panic", func(w http.ResponseWriter, r *http.Request) { panic("a bug") })
	for path, want := range map[string]string{"/user/ann": "GET /user/{name}", "/panic": "GET /panic", "/nowhere": ""} {
		r := httptest.NewRequest("GET", path, nil)
		recovered(func() { b.Handler(b.Handler(mux)).ServeHTTP(httptest.NewRecorder(), r) })
		if r.Pattern != want {
			t.Errorf("%s: got pattern %q, want %q", path, r.Pattern, want)
		}
	}
}

// A session that can't be read: From fails closed whatever the handler does, Open leaves the answer to it, Preload does
// not let it run. The cookie stays as it is.
func TestFailingLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	b.store.fail(down(), nil)
	answer := func(what string, code int, text string, handler http.HandlerFunc) {
		t.Helper()
		res := b.get(t, cookie, handler)
		if got := body(t, res); res.StatusCode != code || !strings.HasPrefix(got, text) {
			t.Errorf("%s: got %d %q, want %d %q", what, res.StatusCode, got, code, text)
		}
		if res.Header["Set-Cookie"] != nil || res.Header.Get("Vary") != "Cookie" {
			t.Errorf("%s: got %v, want no cookie and Vary", what, res.Header)
		}
		if calls := b.store.took(); !slices.Equal(calls, []string{"load"}) {
			t.Errorf("%s: got %q of the store, want one load", what, calls)
		}
		equal(t, what, b.events.took(), []string{"unavailable"})
	}
	const unreachable = "Your session can't be reached"
	answer("From", 503, unreachable, func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if s != session.From(r) || !errors.Is(s.Err(), session.ErrUnavailable) {
			t.Errorf("got Err %v, want %v", s.Err(), session.ErrUnavailable)
		}
		s.Login("bob")
		s.Set("a", 1)
		s.Flash("hello")
		s.Renew()
		s.SetPersistent(true)
		s.SetLabel("x")
		n := session.Key[int]("n").Update(s, func(n int) int { t.Error("an update ran"); return n })
		_, ok, takeErr := session.Key[int]("n").Take(r.Context(), s)
		s.Logout()
		if s.Len() != 0 || s.Principal() != "" || s.Token() != "" || n != 0 || ok || takeErr == nil ||
			s.Save(r.Context()) == nil {
			t.Errorf("the session does not read empty: %v, %q", s.Keys(), s.Principal())
		}
		w.Write([]byte("page"))
	})
	answer("From, after Open", 503, unreachable, func(w http.ResponseWriter, r *http.Request) {
		session.Open(r)
		session.From(r)
	})
	answer("Open", http.StatusTeapot, "mine", func(w http.ResponseWriter, r *http.Request) {
		s, err := session.Open(r)
		if s != nil || !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("got %v, %v, want an error alone", s, err)
		}
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte("mine"))
	})
	answer("Open and Error", 503, unreachable, func(w http.ResponseWriter, r *http.Request) {
		_, err := session.Open(r)
		b.Error(w, r, err)
	})
	answer("Preload", 503, unreachable, func(w http.ResponseWriter, r *http.Request) {
		b.Preload(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			t.Error("the handler ran")
		})).ServeHTTP(w, r)
	})
	b.store.fail(nil, nil)
	ran := false
	b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		b.Preload(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ran = session.From(r).Principal() == "ann"
		})).ServeHTTP(w, r)
	})
	if !ran {
		t.Error("Preload: the handler did not run with the session")
	}
}

// The application's own ErrorHandler has the last word, but an answer is given in any case.
func TestErrorHandler(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		code    int
		body    string
		header  string
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, 500, "", ""},
		"a header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Own", "1")
		}, 500, "", "1"},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
		}, 500, "", ""},
		"a status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}, 502, "", ""},
		"a body": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("down")) }, 200, "down", ""},
		"its own session": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, session.From(r).Err() != nil)
		}, 200, "true", ""},
	} {
		var got error
		b := newBench(t, func(config *session.Config) {
			config.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
				got = err
				c.handler(w, r)
			}
		})
		b.store.fail(down(), nil)
		srv := httptest.NewServer(b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Own", "handler's")
			setPlain(session.From(r))
			http.Redirect(w, r, "/", http.StatusSeeOther)
		})))
		res, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if text := body(t, res); res.StatusCode != c.code || text != c.body || res.Header.Get("X-Own") != c.header ||
			res.Header.Get("Location") != "" {
			t.Errorf("%s: got %d %q %v, want %d %q", name, res.StatusCode, text, res.Header, c.code, c.body)
		}
		if !errors.Is(got, session.ErrUnavailable) {
			t.Errorf("%s: got %v, want %v", name, got, session.ErrUnavailable)
		}
		res.Body.Close()
		srv.Close()
	}

	m := sessiontest.New(t)
	for _, c := range []struct {
		err   error
		code  int
		text  string
		retry string
	}{
		{session.ErrUnavailable, 503, "Your session can't be reached at the moment. Please try again " +
			"in a few seconds.\n", "soon"},
		{fmt.Errorf("x: %w", session.ErrUncertain), 503,
			"Your session can't be reached at the moment. Please try again in a few seconds.\n", "soon"},
		{fmt.Errorf("x: %w", session.ErrEnded), 401, "Your session has ended.\n", ""},
		{session.ErrTooLarge, 500, "Your session could not be saved.\n", ""},
		{errors.New("planted-secret"), 500, "Your session could not be saved.\n", ""},
	} {
		w := httptest.NewRecorder()
		m.Error(w, httptest.NewRequest("GET", "/", nil), c.err)
		if w.Code != c.code || w.Body.String() != c.text || soon(w.Header()) != c.retry ||
			w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v: got %d %q %v, want %d %q, Retry-After %q", c.err, w.Code, w.Body, w.Header(),
				c.code, c.text, c.retry)
		}
	}
}

// A failed save is over when the handler answers for it: nothing is stored later, and no cookie comes with the error.
func TestErrorStoresNothing(t *testing.T) {
	t.Parallel()
	for _, withCookie := range []bool{false, true} {
		b := newBench(t)
		cookie := ""
		if withCookie {
			cookie = b.cookie(t, setPlain)
		}
		b.store.fail(down("create", "replace"), nil)
		res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			s.Set("late", 1)
			err := s.Save(r.Context())
			if !errors.Is(err, session.ErrUnavailable) && !errors.Is(err, session.ErrUncertain) {
				t.Errorf("got %v, want the outage", err)
			}
			b.store.fail(nil, nil) // the store is back
			b.Error(w, r, err)
		})
		check(t, "status", res.StatusCode, http.StatusServiceUnavailable)
		if n := len(res.Cookies()); n > 0 {
			t.Errorf("got %d cookies with the error, want none", n)
		}
		if withCookie {
			if got := mustLoad(t, b, value(cookie)).Keys(); !slices.Equal(got, []string{"color"}) {
				t.Errorf("got %q stored, want the session as it was", got)
			}
		}
	}
}

// A request whose time is up before its session is read is no failure to save.
func TestErrorOfALateRequest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, setPlain)
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now().Add(-time.Second))
		},
		"a cause of its own": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(errors.New("too slow"))
			return ctx, func() {}
		},
	} {
		ctx, cancel := end(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("Cookie", cookie)
		res := b.serve(t, r, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Get("color") })
		cancel()
		check(t, name, res.StatusCode, http.StatusServiceUnavailable)
	}
}

// Peek shows the session and doesn't prolong it, unless the request looks at it as well.
func TestPeek(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := server(t, func(c *session.Config) { c.Store, c.IdleTimeout = memstore.New(nil), 10*time.Minute })
		peeks := func(c *visitor, more func(r *http.Request)) (i session.Info, live bool) {
			t.Helper()
			w := httptest.NewRecorder()
			m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				i, live = session.Peek(r)
				if more != nil {
					more(r)
				}
			})).ServeHTTP(w, c.request())
			check(t, "status", w.Code, http.StatusOK)
			return i, live
		}
		c := newVisitor(t)
		if i, live := peeks(c, nil); live || i != (session.Info{}) {
			t.Errorf("without a session: got %v, %v", i, live)
		}
		c.do(m, func(s *session.Session) { s.Login("ann") })
		for range 9 {
			time.Sleep(time.Minute)
			if _, live := peeks(c, nil); !live {
				t.Fatal("the session has ended too early")
			}
		}
		i, _ := peeks(c, nil)
		if left := time.Until(i.ExpiresAt); i.Principal != "ann" || left <= 0 || left > time.Minute {
			t.Errorf("got %v, which has %v left", i, left)
		}
		peeks(c, func(r *http.Request) { session.From(r) })
		time.Sleep(5 * time.Minute)
		if _, live := peeks(c, nil); !live {
			t.Error("From after Peek doesn't count as activity")
		}
		time.Sleep(5 * time.Minute)
		if _, live := peeks(c, nil); live {
			t.Error("Peek has prolonged the session")
		}
	})
}

// An outage is no end of the session: Peek must not look like one.
func TestPeekInAnOutage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	b.store.fail(down(), nil)
	res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		if _, live := session.Peek(r); !live {
			w.Write([]byte("You are logged out."))
		}
	})
	check(t, "status", res.StatusCode, http.StatusServiceUnavailable)
}
