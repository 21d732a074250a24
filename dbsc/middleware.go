package dbsc

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// Middleware returns a handler that gives next the sessions of their own browsers alone. It has to be inside
// [session.Manager.Handler]. A session that is bound, in a request without a valid bound cookie, is withheld: it reads
// empty and anonymous and takes no changes, as one that has ended does; a Login makes a new one. The response to a
// Login has a header that asks the browser to register a key.
//
// A request that doesn't look at its session costs nothing, one of a bound session one MAC.
func (d *Server) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.isOwn(r) {
			next.ServeHTTP(w, r)
			return
		}
		watch := &watch{d: d, r: r, detour: d.mayNeedDetour(r)}
		d.sessions.Intercept(r, watch)
		if watch.detour {
			if d.sessions.Open(r); watch.withheld == ReasonMissing {
				detour(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// mayNeedDetour reports whether the request opens a page by a link of another origin, and has no bound cookie. The
// browser refreshes that only for requests of our own origin: a refresh for another one would be a POST without the
// session's cookie (SameSite).
func (d *Server) mayNeedDetour(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" ||
		r.Header.Get("Sec-Fetch-Dest") != "document" {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "cross-site" && site != "same-site" {
		return false
	}
	_, ok := firstCookie(r.Header, d.options.CookieName)
	return !ok && skipReason(r.Header) == ""
}

// detour sends a page that opens itself again, now by a request of our own origin.
func detour(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Refresh", "0")
	io.WriteString(w, `<!doctype html><html lang="en"><title>One moment</title><a href="">Continue</a>`)
}

// isOwn reports whether the request is for one of our endpoints, which check it themselves.
func (d *Server) isOwn(r *http.Request) bool {
	name, ok := strings.CutPrefix(r.URL.Path, d.options.Path)
	return ok && (name == register || name == refresh)
}

// watch is the Interceptor of one request.
type watch struct {
	d        *Server
	r        *http.Request
	token    string       // of the session that the request came with
	info     session.Info // of the same
	detour   bool         // the browser gets another chance to send a bound cookie
	withheld Reason       // why the session was withheld; "": it was not
}

// Loaded implements [session.Interceptor].
func (w *watch) Loaded(s *session.Session, _ session.Reason) session.Verdict {
	if s.Principal() == "" {
		return session.Pass
	}
	i := s.Info()
	if i.CreatedAt.IsZero() {
		return session.Pass // Config.Adopt has logged somebody in: Sending is to see that
	}
	w.token, w.info = s.Token(), i
	reason := w.d.judge(w.r, s, i)
	switch reason {
	case "", ReasonPending:
		return session.Pass
	case ReasonUnbound:
		if !w.d.demands(s) {
			return session.Pass
		}
	}
	w.withheld = reason
	switch skipped := skipReason(w.r.Header); {
	case w.detour && reason == ReasonMissing: // no event: it is not refused yet
	case reason == ReasonMissing && skipped != "":
		w.d.emit(w.r, s, EventSkipped, skipped)
	default:
		w.d.emit(w.r, s, EventRefused, reason)
	}
	return session.Withhold
}

// Sending implements [session.Interceptor]. It offers a registration after a Login or Elevate, and ends the bound
// cookie after a Logout.
func (w *watch) Sending(s *session.Session, h http.Header) {
	if s.Token() == w.token {
		return // no Login, no Elevate, and no Logout
	}
	switch i := s.Info(); {
	case i.Principal == "":
		if _, ok := firstCookie(w.r.Header, w.d.options.CookieName); ok && w.info.Handle != "" && w.withheld == "" {
			h.Add("Set-Cookie", w.d.cookie("", -1).String())
		}
	case i.Handle != w.info.Handle, w.elevated(s):
		w.d.offer(h, i.Handle)
		w.d.emit(w.r, s, EventOffered, "")
	}
}

// elevated reports whether this request has elevated a session that is not bound.
func (w *watch) elevated(s *session.Session) bool {
	until := s.Auth().Until
	if until.IsZero() || until.Equal(w.info.Auth().Until) {
		return false
	}
	id, _, _ := bindingOf(s)
	return id == ""
}

// offer asks the browser to register a key. Until it has done so, the bound cookie says when it was asked: the
// session's CreatedAt may be that of a login at another system, long before.
func (d *Server) offer(h http.Header, handle string) {
	h.Add("Secure-Session-Registration", `(ES256 RS256);path="`+d.options.Path+register+`";challenge="`+
		d.sign(forRegister, handle)+`"`)
	until := d.options.Window + d.options.Skew
	h.Add("Set-Cookie", d.cookie(d.sign(forPending, handle), int(until/time.Second)).String())
}

// Check returns why the request's session is not known to be used by the device that it is bound to; "" if it is. It is
// for handlers that ask for more than a login, such as one that is about to call [session.Session.Elevate]. The request
// has to be inside [session.Manager.Handler]. Check is safe without the [Server.Middleware], and costs one more MAC.
//
// While the store is unavailable Check returns [ReasonAnonymous], and the Handler replaces the response: see
// [session.From].
func (d *Server) Check(r *http.Request) Reason {
	s := d.sessions.From(r)
	i := s.Info()
	if i.Principal == "" {
		return ReasonAnonymous
	}
	return d.judge(r, s, i)
}

// judge returns why a session of somebody is not known to be used by its device; "" if it is.
func (d *Server) judge(r *http.Request, s *session.Session, i session.Info) Reason {
	id, at, _ := bindingOf(s)
	value, ok := firstCookie(r.Header, d.options.CookieName)
	if id == "" {
		if i.CreatedAt.IsZero() || ok && d.check(forPending, i.Handle, value, d.options.Window+d.options.Skew) == "" {
			return ReasonPending // the Login is of this request, or not long ago
		}
		return ReasonUnbound
	}
	reason := ReasonMissing
	if ok {
		reason = ReasonForged
		if of(id, i.Handle) {
			reason = d.check(forCookie, id, value, d.options.Life+d.options.Skew)
		}
	}
	if reason != "" && time.Since(at) <= d.options.Skew {
		return ReasonPending // the request was sent before the browser had the cookie
	}
	return reason
}

// demands reports whether a session has to be bound.
func (d *Server) demands(s *session.Session) bool {
	return d.options.Policy == Require || d.options.Level > 0 && s.Auth().Level >= d.options.Level
}

// firstCookie returns the value of the request's first cookie of a name. The name begins with __Host-, so a browser has
// only one.
func firstCookie(h http.Header, name string) (string, bool) {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(pair), name); ok && strings.HasPrefix(value, "=") {
				return value[1:], true
			}
		}
	}
	return "", false
}

// skipReason returns why the browser says that it sends no bound cookie, in the header Secure-Session-Skipped; "" if it
// says nothing that we know.
func skipReason(h http.Header) Reason {
	for _, line := range h["Secure-Session-Skipped"] {
		for item := range strings.SplitSeq(line, ",") {
			token, _, _ := strings.Cut(item, ";")
			switch reason := Reason(strings.TrimSpace(token)); reason {
			case ReasonQuota, ReasonUnreachable, ReasonServerError:
				return reason
			}
		}
	}
	return ""
}

// Require returns a handler that runs next only for a session that somebody has logged in to and that is bound to the
// device which sends the request. It checks that itself, so it is safe without the [Server.Middleware]; it costs one
// more MAC. All other requests get the response of [Options.Refuse].
//
// Within [Options.Window] after a Login the browser may still be about to register its key. The default response is 503
// then, which a browser that shows it as a page repeats after a second.
func (d *Server) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := d.sessions.Open(r)
		if err != nil {
			d.sessions.Error(w, r, err)
			return
		}
		reason := d.Check(r)
		if reason == "" {
			next.ServeHTTP(w, r)
			return
		}
		if reason != ReasonAnonymous && reason != ReasonPending {
			d.emit(r, s, EventRefused, reason)
		}
		if d.options.Refuse != nil {
			d.options.Refuse(w, r, reason)
			return
		}
		refuse(w, r, reason)
	})
}

func refuse(w http.ResponseWriter, r *http.Request, reason Reason) {
	w.Header().Set("Cache-Control", "no-store")
	switch reason {
	case ReasonPending:
		w.Header().Set("Retry-After", "1")
		if r.Method == http.MethodGet {
			w.Header().Set("Refresh", "1")
		}
		http.Error(w, "Your browser is being bound to your login. Please try again in a second.",
			http.StatusServiceUnavailable)
	case ReasonUnbound:
		http.Error(w, "This page needs a browser that can bind your login to this device (Device Bound "+
			"Session Credentials).", http.StatusForbidden)
	default:
		http.Error(w, "Please log in.", http.StatusUnauthorized)
	}
}
