package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/internal/respond"
	"github.com/hipflask/session/store"
)

// exchange is the state of one request in one Handler. It is itself the request's context, which avoids two
// context.WithValue allocations.
type exchange struct {
	context.Context // of the request around the Handler

	m    *Manager
	res  respond.Boundary
	req  *http.Request // as the inner handler gets it
	vary [1]string     // room for the header Vary

	completed bool // the header, once; it may be completed again after the handler has returned

	// A session that is opened after the header was committed can have no cookie. The boundary is marked as committed,
	// then Commit reads opened; open sets opened, then reads Committed. So at least one of the two sees the other.
	opened    atomic.Bool
	peeked    atomic.Bool             // Peek loads the session; nobody has called From yet
	ambiguous bool                    // several cookies were live; guarded by mu
	session   atomic.Pointer[Session] // nil: not opened, or could not be loaded and From was not called

	// mu is held while the session is loaded. It guards err, refused and ambiguous, which don't change once the session
	// is loaded, and is held to replace interceptors.
	mu           sync.Mutex
	err          error  // why the session could not be loaded
	refused      Reason // why the cookie gives no session
	interceptors atomic.Pointer[[]Interceptor]
}

type nearest struct{}

// nearestTo returns the exchange of the innermost Handler around ctx; nil: there is none.
func nearestTo(ctx context.Context) *exchange {
	x, _ := ctx.Value(nearest{}).(*exchange)
	return x
}

func (x *exchange) Value(key any) any {
	if key == (nearest{}) || key == x.m {
		return x
	}
	return x.Context.Value(key)
}

// Handler returns a handler that gives next, and every handler inside it, a session: see [From]. It saves changes
// before the first byte of the response is sent, and sets the cookie if one is needed. A request that doesn't look at
// its session costs nothing.
//
// If the session can't be loaded or saved, the response of next is discarded and [Config.ErrorHandler] sends another;
// no write of next reaches the client then. Changes made after the first byte are saved when next returns. If that
// fails, the Handler cuts the connection by panicking with [http.ErrAbortHandler], so that nobody takes the response
// for complete. If next panics before the first byte, nothing is saved.
//
// A response for which a handler looked at its session has the header Vary: Cookie (or Authorization). One that sets a
// cookie has Cache-Control: no-store (ASVS 5.0, 14.2.2), whatever next has set there and in the fields of CDNs. If the
// first look comes after the first byte, Vary can't be sent any more, and [EventReadLate] reports it.
//
// Put it inside the middleware that logs, recovers and compresses, and outside the router. Inside another Handler of
// the same Manager it does nothing. If Handlers of two Managers are nested, their cookies need different names, else
// the first request panics.
func (m *Manager) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(next, w, r) })
}

func (m *Manager) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	for o := nearestTo(ctx); o != nil; o = nearestTo(o.Context) {
		if o.m == m {
			next.ServeHTTP(w, r)
			return
		}
		if o.m.config.Cookie.Name == m.config.Cookie.Name {
			panic(fmt.Sprintf("session: two Managers in one request have the same Cookie.Name %q "+
				"(or both BearerToken); give one of them another", m.config.Cookie.Name))
		}
	}
	var one struct { // in one piece, to be allocated at once
		exchange
		request http.Request
	}
	x := &one.exchange
	x.Context, x.m, x.req = ctx, m, &one.request
	one.request = *r.WithContext(x)
	writer := x.res.Start(x, w)
	defer func() {
		r.Pattern = x.req.Pattern // for loggers around us
		if r.MultipartForm == nil {
			r.MultipartForm = x.req.MultipartForm // net/http removes an upload's files by the request that it made
		}
		replaced := x.res.Replaced()
		if replaced == nil {
			return
		}
		// A response that replaced the handler's is complete, even if the handler gives up because it can't write:
		// httputil.ReverseProxy panics with ErrAbortHandler, huma with the error of Write.
		v := recover()
		if err, ok := v.(error); v != nil && !(ok && (err == http.ErrAbortHandler || errors.Is(err, replaced))) {
			panic(v)
		}
	}()
	next.ServeHTTP(writer, x.req)
	x.res.Finish()
}

// Preload returns a handler that loads the session and runs next only if that succeeds; else [Config.ErrorHandler]
// sends the response. It is for routes whose side effects must not happen in an outage, while it is unknown who the
// client is. It has to be inside [Manager.Handler], else it panics.
func (m *Manager) Preload(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := m.exchange(r).open(false)
		if err == nil {
			s.mu.Lock()
			stale := s.view.Stale // From came first
			s.mu.Unlock()
			if stale {
				err = s.Reload(r.Context())
			}
		}
		if err != nil && err != ErrEnded { // an ended session reads empty
			m.Error(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Error sends the response of [Config.ErrorHandler] for err, or the default one: 503 with Retry-After for
// [ErrUnavailable] and [ErrUncertain], and for a request whose context has ended; 401 for [ErrEnded]; else 500.
// Handlers call it for an error of [Open], [Key.Take] or [Session.Save].
//
// Error also gives up a failed save: changes that were not stored before are never stored.
func (m *Manager) Error(w http.ResponseWriter, r *http.Request, err error) {
	if x, ok := r.Context().Value(m).(*exchange); ok {
		x.giveUp()
	}
	if m.config.ErrorHandler != nil {
		m.config.ErrorHandler(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrUncertain), r.Context().Err() != nil:
		// Between 3 and 7 seconds, so that not all clients of an outage come back at once.
		w.Header().Set("Retry-After", strconv.Itoa(3+int(store.NewVersion()%5)))
		http.Error(w, "Your session can't be reached at the moment. Please try again in a few seconds.",
			http.StatusServiceUnavailable)
	case errors.Is(err, ErrEnded):
		http.Error(w, "Your session has ended.", http.StatusUnauthorized)
	default:
		http.Error(w, "Your session could not be saved.", http.StatusInternalServerError)
	}
}

// Error sends the response of [Manager.Error], of the innermost [Manager.Handler] around r. It panics if there is none.
func Error(w http.ResponseWriter, r *http.Request, err error) {
	x, ok := r.Context().Value(nearest{}).(*exchange)
	if !ok {
		panic("session: Error without a Handler: wrap the router with (*Manager).Handler")
	}
	x.m.Error(w, r, err)
}

// giveUp drops what the session was not able to save, since the handler answers for it.
func (x *exchange) giveUp() {
	if !x.opened.Load() {
		return
	}
	if s := x.session.Load(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.over = true
	}
}

// From returns the session of a request inside a [Manager.Handler], of the innermost one if several are nested. The
// first call of a request loads the session; later calls return the same one. From panics if there is no Handler.
//
// If the session can't be loaded, [Session.Err] says why, the session reads empty and ignores changes, and the response
// is replaced by that of [Config.ErrorHandler]. So a handler fails closed without error handling. But its side effects
// happen: use [Manager.Preload] to keep the handler from running, or [Open] to get the error.
func From(r *http.Request) *Session { return from(r.Context(), nearest{}) }

// From is like the function [From], but returns the session of this Manager if several are nested.
func (m *Manager) From(r *http.Request) *Session { return from(r.Context(), m) }

// Peek returns the [Info] of the request's session, as a list of sessions shows it, and whether there is a session. It
// doesn't count as activity for [Config.IdleTimeout], unless the request calls [From] as well: so a page can ask every
// minute how much time is left, and show "you will be logged out in two minutes", without prolonging the session. If
// the session can't be loaded, the response is replaced, as From says. Peek panics if there is no [Manager.Handler].
func Peek(r *http.Request) (Info, bool) { return peek(r.Context(), nearest{}) }

// Peek is the function [Peek] for the session of this Manager, if several are nested.
func (m *Manager) Peek(r *http.Request) (Info, bool) { return peek(r.Context(), m) }

func peek(ctx context.Context, key any) (Info, bool) {
	var s *Session
	switch v := ctx.Value(key).(type) {
	case *exchange:
		s = v.look()
	case *Session:
		s = v
	default:
		panic("session: Peek without a Handler: wrap the router with (*Manager).Handler")
	}
	s.mu.Lock()
	live := s.view.State == protocol.Live && s.move != protocol.Login
	s.mu.Unlock()
	if !live {
		return Info{}, false
	}
	return s.Info(), true
}

func from(ctx context.Context, key any) *Session {
	switch v := ctx.Value(key).(type) {
	case *exchange:
		return v.from()
	case *Session:
		return v
	}
	panic("session: From without a Handler: wrap the router with (*Manager).Handler")
}

// Open returns the request's session as [From] does, or the error if it can't be loaded. The caller then has to send
// the response: [Manager.Error] sends the usual one. Open panics if there is no [Manager.Handler].
//
// Errors:
//   - [ErrUnavailable]: the store can't be reached within [Config.StoreTimeout].
//   - The cause of the request's context, if the client has hung up.
//   - The error of [Config.Adopt].
func Open(r *http.Request) (*Session, error) { return open(r.Context(), nearest{}) }

// Open is like the function [Open], but returns the session of this Manager if several are nested.
func (m *Manager) Open(r *http.Request) (*Session, error) { return open(r.Context(), m) }

func open(ctx context.Context, key any) (*Session, error) {
	switch v := ctx.Value(key).(type) {
	case *exchange:
		return v.open(true)
	case *Session:
		return v, nil
	}
	panic("session: Open without a Handler: wrap the router with (*Manager).Handler")
}

// carried is the key under which module ginsession keeps the request's context in a gin.Context, which by default
// passes on no keys but texts.
const carried = "github.com/hipflask/session"

// FromContext returns the session of a context that comes from a request inside a [Manager.Handler], or from
// [NewContext]; false if there is none. It loads the session as [From] does, with the same response if that fails.
func FromContext(ctx context.Context) (*Session, bool) {
	found := ctx.Value(nearest{})
	if found == nil {
		if inner, ok := ctx.Value(carried).(context.Context); ok {
			found = inner.Value(nearest{})
		}
	}
	switch v := found.(type) {
	case *exchange:
		return v.from(), true
	case *Session:
		return v, true
	}
	return nil, false
}

// NewContext returns a context in which [From], [Open] and [FromContext] return s. It is for gRPC calls, jobs and
// tests, with a session of [Manager.Load]. The caller has to save s: no Handler does.
func NewContext(ctx context.Context, s *Session) context.Context {
	return context.WithValue(context.WithValue(ctx, nearest{}, s), s.m, s)
}

func (m *Manager) exchange(r *http.Request) *exchange {
	x, ok := r.Context().Value(m).(*exchange)
	if !ok {
		panic("session: Preload without a Handler: it goes inside (*Manager).Handler")
	}
	return x
}

func (x *exchange) from() *Session {
	s, err := x.open(true)
	if err != nil {
		return x.failed(err)
	}
	return s
}

// look is from, but doesn't count as activity.
func (x *exchange) look() *Session {
	x.mu.Lock()
	if !x.opened.Load() {
		x.peeked.Store(true)
	}
	x.mu.Unlock()
	s, err := x.fetch(true)
	if err != nil {
		return x.failed(err)
	}
	return s
}

// failed returns the session of a request whose session could not be loaded.
func (x *exchange) failed(err error) *Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.session.Load()
	if s == nil {
		s = x.m.newSession()
		s.ctx = x.Context
		s.view.State, s.err = protocol.Failed, err
		x.session.Store(s)
	}
	return s
}

// current returns the session of a request that has opened it; nil if it could not be loaded.
func (x *exchange) current() *Session {
	if s := x.session.Load(); s != nil {
		return s
	}
	x.mu.Lock() // another goroutine may be loading it
	defer x.mu.Unlock()
	return x.session.Load()
}

var errNotLoaded = errors.New("session: the session was not loaded, because of a panic")

// open loads the session. The request counts as activity from now on.
func (x *exchange) open(stale bool) (*Session, error) {
	s, err := x.fetch(stale)
	if err == nil && x.peeked.Load() && x.peeked.CompareAndSwap(true, false) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.peeked = false
	}
	return s, err
}

// fetch loads the session, once. stale: it may come from a cache.
func (x *exchange) fetch(stale bool) (*Session, error) {
	if s := x.session.Load(); s != nil && x.err == nil {
		return s, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.opened.Load() {
		if x.err != nil {
			return nil, x.err
		}
		return x.session.Load(), nil
	}
	x.opened.Store(true)
	x.err = errNotLoaded // stands if the store or Adopt panics
	s := x.m.newSession()
	s.ctx, s.req, s.isActive, s.peeked = x.Context, x.req, true, x.peeked.Load()
	if x.err = x.load(s, stale); x.err != nil {
		if x.Err() == nil { // that the client has hung up is no outage
			x.m.failed(s.ctx, "", x.err)
		}
		return nil, x.err
	}
	x.intercept(s)
	x.session.Store(s)
	return s, nil
}

func (x *exchange) load(s *Session, stale bool) error {
	token, reason, err := x.find(s.ctx, stale, &s.view)
	switch {
	case err != nil && x.Err() != nil:
		return fmt.Errorf("session: load: %w", context.Cause(x))
	case err != nil:
		return err
	}
	s.sealed = x.res.Committed() && !x.m.config.BearerToken
	if x.res.Committed() {
		x.m.emit(s.ctx, about(EventReadLate, &s.view.Record, nil))
	}
	if reason != "" {
		e := about(EventRejected, &s.view.Record, x.m.hints[reason])
		e.Reason = reason
		x.m.emit(s.ctx, e)
	}
	s.loaded(token)
	x.refused, s.rejected = reason, reason
	if s.view.State == protocol.Fresh && x.m.withholds(x.req) {
		s.withheld, x.ambiguous = true, false // no cookie is deleted either
		return nil
	}
	if !s.sealed && x.m.outlives(&s.view) {
		s.move, s.aging = protocol.Renew, true
	}
	if s.view.State == protocol.Fresh && !x.ambiguous && x.m.mayAdopt(x.req) {
		// The context of this request has the session itself, so that From within Adopt doesn't wait for this load.
		r := x.req.WithContext(NewContext(x, s))
		if err := x.m.config.Adopt(r, s); err != nil {
			return fmt.Errorf("session: Adopt: %w", err)
		}
		s.dropOverdue()
	}
	return nil
}

// find loads the one live session among the request's cookies of our name into best, or else one that was replaced or
// has ended. A cookie that we didn't sign costs no access to the store. It must not hide one that we did sign: whoever
// can set cookies for a neighbouring host can add cookies.
func (x *exchange) find(ctx context.Context, stale bool, best *protocol.View) (token string, reason Reason, err error) {
	var space [2]string // an honest request has no more
	texts := x.m.credentials(x.req, space[:0])
	if len(texts) == 1 {
		reason, err = x.m.load(ctx, texts[0], stale, best)
		return texts[0], reason, err
	}
	var refused, bestReason Reason
	var named [maxLoads]string // keys of the sessions that were loaded
	loads, lives := 0, 0
	for i, text := range texts {
		if slices.Contains(texts[:i], text) {
			continue
		}
		key, why := x.m.keeper.Check(text)
		switch {
		case why != "":
			refused = strongest(refused, Reason(why))
			continue
		case slices.Contains(named[:loads], key): // the same session, signed by another of our keys
			continue
		}
		if loads == maxLoads { // too many to load
			lives = maxLoads
			break
		}
		var v protocol.View
		reason, err := x.m.load(ctx, text, stale, &v)
		if err != nil {
			return "", "", err
		}
		if v.State == protocol.Live {
			lives++
		}
		if loads == 0 || v.State == protocol.Live && lives == 1 || v.State == protocol.Late && lives == 0 {
			*best, token, bestReason = v, text, reason
		}
		named[loads] = key
		loads++
	}
	switch {
	case lives > 1:
		x.ambiguous = true
		*best = protocol.View{}
		return "", ReasonSeveral, nil
	case lives == 1:
		return token, "", nil
	case bestReason != "":
		return "", bestReason, nil
	}
	return "", refused, nil
}

// strongest returns the refusal that says more: a malformed cookie may be anything.
func strongest(a, b Reason) Reason {
	if a == "" || a == ReasonMalformed {
		return b
	}
	return a
}

// Commit implements [respond.Request]. It saves the session before the response's first byte and puts its cookie into
// the header.
func (x *exchange) Commit(h http.Header, hijack bool) error {
	if !x.opened.Load() {
		return nil
	}
	s := x.current()
	x.varies(h)
	if s == nil {
		return nil // Open has returned the error to the handler
	}
	how := byHeader
	switch {
	case hijack:
		how = hijacked
	case x.res.Sent():
		how = behind
		s.mu.Lock()
		s.event(EventReadLate, nil) // Vary comes too late as well
		s.mu.Unlock()
	}
	cookie, err := s.commit(how)
	if replaces(err) {
		return err
	}
	x.sendCookie(h, cookie)
	if !x.completed || cookie != nil {
		x.sending(s, h)
	}
	x.completed = true
	return nil
}

// Finish implements [respond.Request]. It saves what was changed after the first byte.
func (x *exchange) Finish() error {
	if !x.opened.Load() {
		return nil
	}
	s := x.current()
	if s == nil {
		return nil
	}
	// The session may have been opened after the first byte.
	if err := s.save(s.context(), true); replaces(err) {
		return err
	}
	return nil
}

// Fail implements [respond.Request]. It sends the response for err in place of the handler's.
func (x *exchange) Fail(w http.ResponseWriter, err error) {
	x.varies(w.Header())
	// Whatever failed afterwards, the session has a new ID, and the old one may be retired.
	if s := x.session.Load(); s != nil {
		if cookie := s.pendingCookie(); cookie != nil {
			x.sendCookie(w.Header(), cookie)
		}
	}
	x.m.Error(w, x.req, err)
}

// Vary returns the name of the request's header that has the cookie or the bearer token: "Cookie" or "Authorization".
// [Manager.Handler] sets Vary by itself. It is for adapters to frameworks whose caches read Vary before the response is
// complete.
func (m *Manager) Vary() string {
	if m.config.BearerToken {
		return "Authorization"
	}
	return "Cookie"
}

// varies tells caches that the response depends on the client's session (Flask: CVE-2023-30861, CVE-2026-27205).
func (x *exchange) varies(h http.Header) {
	name := x.m.Vary()
	for _, line := range h["Vary"] {
		for field := range strings.SplitSeq(line, ",") {
			if field = strings.TrimSpace(field); field == "*" || strings.EqualFold(field, name) {
				return
			}
		}
	}
	if lines := h["Vary"]; len(lines) > 0 {
		h["Vary"] = append(lines, name)
		return
	}
	x.vary[0] = name
	h["Vary"] = x.vary[:]
}

// sendCookie puts the session's cookie into the header, as the only one of its name (RFC 6265bis, section 4.1.1).
func (x *exchange) sendCookie(h http.Header, change *cookieChange) {
	m := x.m
	if change == nil && x.ambiguous {
		change = &cookieChange{}
	}
	if change == nil || m.config.BearerToken {
		return
	}
	prefix := m.config.Cookie.Name + "="
	if lines := h["Set-Cookie"]; lines != nil {
		h["Set-Cookie"] = slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
			return strings.HasPrefix(l, prefix)
		})
	}
	if x.ambiguous && m.config.Cookie.Domain != "" {
		// The configuration may have had no Domain earlier: delete the cookie for the host alone too.
		host := m.deleteCookie()
		host.Domain = ""
		h.Add("Set-Cookie", host.String())
	}
	h["Set-Cookie"] = append(h["Set-Cookie"], m.line(change))
	keepPrivate(h)
	m.warnOfBrowser(x.req)
}

// keepPrivate keeps a response with our cookie out of caches, whatever the handler's header says: a shared cache must
// not hand the cookie on (ASVS 5.0, 14.2.2).
func keepPrivate(h http.Header) {
	if !noStore(h["Cache-Control"]) {
		h.Set("Cache-Control", "no-store")
	}
	for name, lines := range h {
		switch {
		case strings.EqualFold(name, "Surrogate-Control"), strings.EqualFold(name, "Edge-Control"),
			isCDNCacheControl(name), name == "cache-control":
			if !noStore(lines) {
				h[name] = []string{"no-store"}
			}
		case strings.EqualFold(name, "X-Accel-Expires"):
			h[name] = []string{"0"}
		}
	}
}

// isCDNCacheControl reports whether shared caches follow that field in place of Cache-Control: CDN-Cache-Control, or
// the one of a single CDN (RFC 9213, section 2).
func isCDNCacheControl(name string) bool {
	const suffix = "-Cache-Control"
	return len(name) > len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix)
}

// noStore reports whether the lines have the directive no-store, and none that lets a shared cache store the response.
// Some caches obey the latter if there are both.
func noStore(lines []string) (found bool) {
	for _, line := range lines {
		for line != "" {
			var directive string
			directive, line = cutDirective(line)
			name, value, valued := strings.Cut(directive, "=")
			switch strings.ToLower(strings.Trim(name, " \t")) {
			case "no-store":
				found = found || !valued
			case "max-age", "s-maxage":
				if strings.Trim(value, "\" \t0") != "" {
					return false
				}
			case "public", "immutable", "must-understand", "stale-while-revalidate", "stale-if-error":
				return false
			}
		}
	}
	return found
}

// cutDirective cuts line at its first comma outside of a quoted string (RFC 9110, section 5.6.4).
func cutDirective(line string) (directive, rest string) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return line[:i], line[i+1:]
		}
	}
	return line, ""
}
