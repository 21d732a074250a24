// Package guard has middleware for routes that need a login, a recent login, or a login by more than a password. It
// goes inside [session.Manager.Handler]:
//
//	mux.Handle("GET /account", guard.Login("/login")(account))
//	mux.Handle("POST /password", guard.Fresh(10*time.Minute, "/confirm")(change))
//	mux.Handle("/admin/", guard.Level(2, "/second-factor")(admin))
//
// If a request doesn't pass, a guard redirects it to a page of the application. After the login that page redirects to
// [Next]. If the session can't be read, the response is that of [session.Config.ErrorHandler], by default 503, and
// never a redirect: an outage must not look like a logout. If a request passes several Managers, a [Guard] says which
// one counts.
//
// If [Why] is not empty, the login page must show its form even to users who are logged in: a page that redirects them
// back at once would cause a loop. To end such a loop, a guard that has redirected a logged-in user from the same page
// three times within some seconds responds with 403.
package guard

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// Login lets requests through whose user is logged in. Others are sent to loginURL: a page (a GET or HEAD that
// navigates) by a redirect (303) with ?next=, a request of htmx by 401 with HX-Redirect, and anything else gets 401. It
// panics if loginURL is no URL.
func Login(loginURL string) func(http.Handler) http.Handler { return Guard{}.Login(loginURL) }

// Fresh lets requests through whose user was authenticated less than maxAge ago ([session.Auth.Time]; ASVS 5.0, 7.5.1
// and 7.5.3). It reloads the session first, so that an elevation or a logout of a moment ago counts. Others are sent to
// reauthURL as by [Login], with ?why=fresh; there the application authenticates the user, and calls Elevate or Login.
// With a layout that is shared with Flask, which stores no such time, the response is 500 and says so. It panics if
// maxAge is not positive or reauthURL is no URL.
func Fresh(maxAge time.Duration, reauthURL string) func(http.Handler) http.Handler {
	return Guard{}.Fresh(maxAge, reauthURL)
}

// Level lets requests through whose user was authenticated with at least the given level, 1 to 3
// ([session.Auth.Level]). Level 1 accepts every login. Others are sent to stepUpURL as by [Login], with ?why=level;
// there the application authenticates the user by a further method, and calls Elevate. It panics if level is out of
// bounds or stepUpURL is no URL.
func Level(level int, stepUpURL string) func(http.Handler) http.Handler {
	return Guard{}.Level(level, stepUpURL)
}

// Guard makes the guards of one Manager, for applications whose requests pass several. The zero Guard is for the
// innermost one.
type Guard struct {
	Manager *session.Manager
}

func (g Guard) open(r *http.Request) (*session.Session, error) {
	if g.Manager == nil {
		return session.Open(r)
	}
	return g.Manager.Open(r)
}

func (g Guard) fail(w http.ResponseWriter, r *http.Request, err error) {
	if g.Manager == nil {
		session.Error(w, r, err)
		return
	}
	g.Manager.Error(w, r, err)
}

// Login is the function [Login] for this Manager.
func (g Guard) Login(loginURL string) func(http.Handler) http.Handler {
	return g.guard(page(loginURL, ""), func(_ *http.Request, s *session.Session) (bool, error) {
		return s.Principal() != "", nil
	})
}

// errNoTime is for layouts that keep a login, but not when it was.
var errNoTime = errors.New("guard: Fresh needs the time of the login, which the layout of these sessions, " +
	"shared with Flask, does not keep")

// Fresh is the function [Fresh] for this Manager.
func (g Guard) Fresh(maxAge time.Duration, reauthURL string) func(http.Handler) http.Handler {
	if maxAge <= 0 {
		panic(fmt.Sprintf("guard: Fresh: maxAge %v is not positive", maxAge))
	}
	return g.guard(page(reauthURL, "fresh"), func(r *http.Request, s *session.Session) (bool, error) {
		switch err := s.Reload(r.Context()); {
		case errors.Is(err, session.ErrEnded):
			return false, nil
		case err != nil:
			return false, err
		}
		switch auth := s.Auth(); {
		case s.Principal() == "":
			return false, nil
		case auth.Time.IsZero():
			return false, errNoTime
		default:
			return time.Since(auth.Time) < maxAge, nil
		}
	})
}

// Level is the function [Level] for this Manager.
func (g Guard) Level(level int, stepUpURL string) func(http.Handler) http.Handler {
	if level < 1 || level > 3 {
		panic(fmt.Sprintf("guard: Level: level %d is not 1 to 3", level))
	}
	return g.guard(page(stepUpURL, "level"), func(_ *http.Request, s *session.Session) (bool, error) {
		return s.Principal() != "" && (level == 1 || s.Auth().Level >= level), nil
	})
}

// guard returns a middleware for requests whose session passes.
func (g Guard) guard(page func(next string) string,
	passes func(*http.Request, *session.Session) (bool, error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := g.open(r)
			ok := false
			if err == nil {
				ok, err = passes(r, s)
			}
			switch {
			case err == errNoTime:
				w.Header().Set("Cache-Control", "no-store")
				http.Error(w, err.Error(), http.StatusInternalServerError)
			case err != nil:
				g.fail(w, r, err)
			case ok:
				next.ServeHTTP(w, r)
			default:
				refuse(w, r, page, s.Principal() != "")
			}
		})
	}
}

// page returns the URL of a page with the parameters next and why; those that are empty are left out.
func page(text, why string) func(next string) string {
	u, err := url.Parse(text)
	if err != nil || text == "" {
		panic("guard: the page to send users to is no URL: it should be a path such as /login")
	}
	return func(next string) string {
		with, query := *u, u.Query()
		if next != "" {
			query.Set("next", next)
		}
		if why != "" {
			query.Set("why", why)
		}
		with.RawQuery = query.Encode()
		return with.String()
	}
}

// refuse answers a request that doesn't pass. known: its user is logged in, but not freshly or highly enough.
func refuse(w http.ResponseWriter, r *http.Request, page func(next string) string, known bool) {
	h := w.Header()
	h.Add("Vary", "HX-Request, Sec-Fetch-Mode, Accept")
	h.Set("Cache-Control", "no-store")
	switch {
	case r.Header.Get("HX-Request") == "true": // https://htmx.org/reference/#request_headers
		h.Set("HX-Redirect", page(current(r)))
	case navigates(r) && known && round(w, r) > rounds:
		http.Error(w, "You are logged in, but this page needs you to log in again, and the page for "+
			"that has sent you back.", http.StatusForbidden)
		return
	case navigates(r):
		http.Redirect(w, r, page(requested(r)), http.StatusSeeOther)
		return
	}
	// RFC 9110, section 15.5.2; browsers ask nothing for a scheme that they don't know
	h.Set("WWW-Authenticate", "Session")
	http.Error(w, "Please log in.", http.StatusUnauthorized)
}

// navigates reports whether r asks for a page that a person is going to look at. Clients without Fetch Metadata say it
// by Accept.
func navigates(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// rounds is how often a browser is sent away from one page within lapse before it is told that it goes in circles. A
// user who isn't logged in can't: no page for logins sends such a user back.
const (
	rounds = 3
	lapse  = 10 * time.Second
)

// round counts how often the browser was sent away from this page within lapse, in a cookie that nothing else depends
// on. Other pages don't count: a browser that starts opens all its tabs at once.
func round(w http.ResponseWriter, r *http.Request) (n int) {
	const name = "guard-round"
	hash := fnv.New32a()
	hash.Write([]byte(requested(r)))
	here := strconv.FormatUint(uint64(hash.Sum32()), 16)
	if c, err := r.Cookie(name); err == nil {
		if count, page, _ := strings.Cut(c.Value, "-"); page == here {
			n, _ = strconv.Atoi(count)
		}
	}
	n++
	http.SetCookie(w, &http.Cookie{Name: name, Value: strconv.Itoa(n) + "-" + here,
		Path: "/", MaxAge: int(lapse / time.Second),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
	return n
}
