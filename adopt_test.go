package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/hipflask/session"
)

// legacy is an Adopt that takes over a cookie of an older system.
func legacy(r *http.Request, s *session.Session) error {
	old, err := r.Cookie("PHPSESSID")
	if err != nil {
		return nil
	}
	switch old.Value {
	case "broken":
		return errors.New("the old system does not answer")
	case "outage":
		return fmt.Errorf("asking the old system: %w", session.ErrUnavailable)
	case "panic":
		panic("in Adopt")
	}
	s.Login(old.Value)
	s.Set("adopted", true)
	return nil
}

// adopting is a Manager that adopts, with a handler that shows its session. It counts the calls.
func adopting(t *testing.T, calls *int, options ...func(*session.Config)) *bench {
	return newBench(t, append(options, func(c *session.Config) {
		c.InsecureHTTP = true
		c.Adopt = func(r *http.Request, s *session.Session) error {
			*calls++
			return legacy(r, s)
		}
	})...)
}

func show(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, contents(session.From(r))) }

func TestAdopt(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		var calls int
		b := adopting(t, &calls, option)
		b.get(t, "PHPSESSID=ann", func(http.ResponseWriter, *http.Request) {})
		check(t, kind+": a request that does not look at its session: calls", calls, 0)

		res := b.get(t, "PHPSESSID=ann", show)
		check(t, kind+": the first request", body(t, res), "ann: [adopted=true]")
		check(t, kind+": calls", calls, 1)
		if len(res.Cookies()) != 1 {
			t.Fatalf("%s: got %d cookies, want 1", kind, len(res.Cookies()))
		}
		ours := res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
		res = b.get(t, "PHPSESSID=ann; "+ours, show)
		check(t, kind+": the second request", body(t, res), "ann: [adopted=true]")
		check(t, kind+": calls", calls, 1)
		silent(t, kind+": the second request", res)

		res = b.get(t, "PHPSESSID=ben; session=forged", show)
		check(t, kind+": beside a forged cookie", body(t, res), "ben: [adopted=true]")
		check(t, kind+": calls", calls, 2)

		res = b.get(t, "", show)
		check(t, kind+": nothing to adopt", body(t, res), nothing)
		silent(t, kind+": nothing to adopt", res)
	}
}

// A session that ended, or that a login took over, is not brought back by the old system's cookie.
func TestAdoptSparesWhatEnded(t *testing.T) {
	t.Parallel()
	var calls int
	b := adopting(t, &calls)
	ours := "session=" + value(b.cookie(t, func(s *session.Session) { s.Login("ann") }))
	b.get(t, ours, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Logout() })
	res := b.get(t, "PHPSESSID=ann; "+ours, show)
	check(t, "after a logout", body(t, res), nothing)
	silent(t, "after a logout", res)
	check(t, "calls", calls, 0)
}

func TestAdoptIsNotForAmbiguousCookies(t *testing.T) {
	t.Parallel()
	var calls int
	b := adopting(t, &calls)
	one, two := value(b.cookie(t, setPlain)), value(b.cookie(t, setPlain))
	check(t, "contents", body(t, b.get(t, "PHPSESSID=ann; session="+one+"; session="+two, show)), nothing)
	check(t, "calls", calls, 0)
}

// The request that Adopt gets has the session: From, Open and FromContext don't wait for the load that calls Adopt.
func TestAdoptMayAskForTheSession(t *testing.T) {
	t.Parallel()
	called := false
	m := server(t, func(c *session.Config) {
		c.Adopt = func(r *http.Request, s *session.Session) error {
			called = true
			got, err := session.Open(r)
			fromContext, ok := session.FromContext(r.Context())
			check(t, "the session", session.From(r) == s && got == s && err == nil && fromContext == s && ok, true)
			check(t, "new", s.IsNew(), true)
			return nil
		}
	})
	newVisitor(t).do(m, func(*session.Session) {})
	check(t, "called", called, true)
	called = false
	load(t, m, "")
	check(t, "called by Load", called, false)
}

func TestAdoptErrors(t *testing.T) {
	t.Parallel()
	for old, want := range map[string]int{"broken": http.StatusInternalServerError,
		"outage": http.StatusServiceUnavailable} {
		var calls int
		b := adopting(t, &calls)
		res := b.get(t, "PHPSESSID="+old, func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			if s.Err() == nil {
				t.Errorf("%s: Err is nil", old)
			}
			s.Set("a", 1)
			show(w, r)
		})
		check(t, old+": status", res.StatusCode, want)
		silent(t, old, res)
		check(t, old+": calls", calls, 1)
		for _, call := range b.store.took() {
			t.Errorf("%s: got a %s of the store", old, call)
		}
		b.get(t, "PHPSESSID="+old, func(_ http.ResponseWriter, r *http.Request) {
			s, err := session.Open(r)
			check(t, old+": Open", s == nil && err != nil, true)
			_, again := session.Open(r)
			check(t, old+": Open again", again, err)
		})
		check(t, old+": calls", calls, 2)
	}
}

// A panic in Adopt goes to the recoverer; the session counts as not loaded, also if that is inside of the Handler.
func TestAdoptMayPanic(t *testing.T) {
	t.Parallel()
	var calls int
	b := adopting(t, &calls)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "PHPSESSID=panic")
	b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		func() {
			defer func() { check(t, "panic", recover(), any("in Adopt")) }()
			session.From(r)
		}()
		s := session.From(r)
		check(t, "contents", contents(s), nothing)
		s.Set("a", 1)
	})).ServeHTTP(w, r)
	check(t, "status", w.Code, http.StatusInternalServerError)
	silent(t, "answer", w.Result())
}

// An adopted login that is older than the lifetime is over within the request that adopts it, also if Adopt saves it
// itself; nothing that Adopt has set is left.
func TestAdoptedLoginIsOverdue(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		for _, c := range []struct {
			age, lifetime time.Duration
			saves         bool
			want          string
		}{
			{59 * time.Minute, time.Hour, false, "ann: [a=1]"}, {59 * time.Minute, time.Hour, true, "ann: [a=1]"},
			{61 * time.Minute, time.Hour, false, nothing}, {61 * time.Minute, time.Hour, true, nothing},
			{1000 * time.Hour, -1, false, "ann: [a=1]"},
		} {
			var events []session.Event
			b := newBench(t, option, func(o *session.Config) {
				o.InsecureHTTP, o.Lifetime = true, c.lifetime
				o.OnEvent = func(_ context.Context, e session.Event) { events = append(events, e) }
				o.Adopt = func(r *http.Request, s *session.Session) error {
					s.LoginWith("ann", session.Auth{Time: time.Now().Add(-c.age)})
					s.Set("a", 1)
					if c.saves {
						return s.Save(r.Context())
					}
					return nil
				}
			})
			res := b.get(t, "", show)
			check(t, fmt.Sprintf("%s: %+v", kind, c), body(t, res), c.want)
			overdue := slices.ContainsFunc(events, func(e session.Event) bool {
				return e.Kind == session.EventRejected && e.Reason == session.ReasonLifetime && e.Principal == "ann"
			})
			check(t, fmt.Sprintf("%s: %+v: an event", kind, c), overdue, c.want == nothing)
			for _, cookie := range res.Cookies() {
				if c.want == nothing && cookie.MaxAge >= 0 {
					t.Errorf("%s: %+v: a cookie was sent", kind, c)
				}
			}
		}
	}
}
