package session_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
)

// interceptor remembers what it was shown.
type interceptor struct {
	verdict session.Verdict
	calls   []string
}

func (i *interceptor) Loaded(s *session.Session, refused session.Reason) session.Verdict {
	i.calls = append(i.calls, fmt.Sprintf("loaded %s %q", s.Principal(), string(refused)))
	return i.verdict
}

func (i *interceptor) Sending(s *session.Session, h http.Header) {
	i.calls = append(i.calls, fmt.Sprintf("sending %s %d", s.Principal(), len(h["Set-Cookie"])))
	h.Set("Intercepted", "yes")
}

// intercept serves a request with the interceptors around the handler.
func (b *bench) intercept(t *testing.T, cookie string, handler http.HandlerFunc,
	interceptors ...session.Interceptor) *http.Response {
	t.Helper()
	return b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		for _, i := range interceptors {
			b.Intercept(r, i)
		}
		handler(w, r)
	})
}

func greenOf(name string) func(*session.Session) {
	return func(s *session.Session) {
		s.Set("color", "green")
		s.Login(name)
	}
}

func TestInterceptPasses(t *testing.T) {
	b := newBench(t)
	cookie := b.cookie(t, greenOf("ann"))
	i := &interceptor{}
	res := b.intercept(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		session.From(r)
		if got, _ := s.Get("color"); got != "green" || s.Principal() != "ann" {
			t.Errorf("got %v of %q, want the session of ann", got, s.Principal())
		}
		s.Login("bob")
	}, i)
	equal(t, "calls", i.calls, []string{`loaded ann ""`, "sending bob 1"})
	if res.Header.Get("Intercepted") != "yes" {
		t.Error("the header that Sending set was not sent")
	}
}

func TestInterceptIsToldWhy(t *testing.T) {
	b := newBench(t)
	cookie := b.cookie(t, greenOf("ann"))
	b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) { session.From(r).Logout() })
	i := &interceptor{}
	b.intercept(t, cookie, func(w http.ResponseWriter, r *http.Request) { session.From(r) }, i)
	equal(t, "calls", i.calls, []string{`loaded  "ended"`, "sending  0"})
}

func TestInterceptCostsNothing(t *testing.T) {
	b := newBench(t)
	cookie := b.cookie(t, greenOf("ann"))
	i := &interceptor{}
	b.intercept(t, cookie, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "static") }, i)
	equal(t, "calls of a request that doesn't look at its session", i.calls, nil)
	equal(t, "operations of the store", b.store.took(), nil)
}

func TestInterceptMissesFailures(t *testing.T) {
	b := newBench(t)
	cookie := b.cookie(t, greenOf("ann"))
	b.store.fail(down(), nil)
	i := &interceptor{}
	b.intercept(t, cookie, func(w http.ResponseWriter, r *http.Request) { session.From(r) }, i)
	equal(t, "calls, if the session can't be loaded", i.calls, nil)
	b.store.fail(down("replace"), nil)
	b.intercept(t, cookie, func(w http.ResponseWriter, r *http.Request) { session.From(r).Set("color", "blue") }, i)
	equal(t, "calls, if the session can't be saved", i.calls, []string{`loaded ann ""`})
}

func TestWithhold(t *testing.T) {
	for name, options := range map[string][]func(*session.Config){"store": nil, "encrypted": {encrypted}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, options...)
			cookie := b.cookie(t, greenOf("ann"))
			no := &interceptor{verdict: session.Withhold}
			for _, late := range []bool{false, true} { // whether the session is opened before Intercept is called
				res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
					if late {
						session.From(r).Set("color", "blue")
						session.From(r).Logout()
					}
					b.Intercept(r, no)
					s := session.From(r)
					_, there := s.Get("color")
					if i := s.Info(); there || s.Len() > 0 || i.Principal != "" || i.Handle != "" ||
						s.Token() != "" || !s.IsNew() {
						t.Errorf("got %+v with %v, token %q; want nothing of a session that is withheld",
							i, s.Keys(), s.Token())
					}
					s.Set("color", "red")
					s.SetLabel("thief")
					s.Renew()
					if n, err := s.RevokeOthers(r.Context()); n != 0 || err != session.ErrEnded && err != nil {
						t.Errorf("RevokeOthers: got %d, %v; want nothing ended", n, err)
					}
				})
				equal(t, "cookies", sets(res), nil)
			}
			if options == nil {
				equal(t, "operations of the store", b.store.took(), []string{"load", "load"})
			}
			b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				if got, _ := session.From(r).Get("color"); got != "green" || session.From(r).Principal() != "ann" {
					t.Errorf("afterwards: got color %v of %q, want green of ann", got, session.From(r).Principal())
				}
			})

			// A Login makes a session of its own, beside the one that is withheld.
			res := b.intercept(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				session.From(r).Login("bob")
			}, no)
			if len(res.Cookies()) != 1 {
				t.Fatalf("after Login: got cookies %q, want one", sets(res))
			}
			for cookie, want := range map[string]string{cookie: "ann",
				hostCookie + "=" + res.Cookies()[0].Value: "bob"} {
				b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
					if got := session.From(r).Principal(); got != want {
						t.Errorf("after Login beside a session that is withheld: got %q, want %q", got, want)
					}
				})
			}
		})
	}
}

func TestPassIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *session.Config) { c.IdleTimeout = time.Hour })
		cookie := b.cookie(t, greenOf("ann"))
		open := func(w http.ResponseWriter, r *http.Request) { session.From(r) }
		time.Sleep(10 * time.Minute)
		b.intercept(t, cookie, open, &interceptor{verdict: session.PassIdle})
		equal(t, "operations of a request that is no activity", b.store.took(), []string{"load"})
		b.intercept(t, cookie, open, &interceptor{})
		equal(t, "operations of a request that is activity", b.store.took(), []string{"load", "touch"})
	})
}

func TestInterceptWithoutHandler(t *testing.T) {
	b := newBench(t)
	defer func() {
		if recover() == nil {
			t.Error("got no panic without a Handler")
		}
	}()
	b.Intercept(newVisitor(t).request(), &interceptor{})
}
