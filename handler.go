package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/internal/respond"
)

// exchange is the state of one request in one Handler. It is itself the request's context, which avoids two
// context.WithValue allocations.
type exchange struct {
	context.Context // of the request around the Handler

	m     *Manager
	outer *exchange // of the Handler around this one, of another Manager
	res   respond.Boundary
	req   *http.Request // as the inner handler got it
	vary  [1]string     // room for the header Vary

	// A session that is opened after the header was committed can have no cookie. The boundary is marked as committed, then
	// Commit reads opened; open sets opened, then reads Committed. So at least one of the two sees the other.
	opened    atomic.Bool
	ambiguous bool                    // several cookies were live; guarded by mu
	session   atomic.Pointer[Session] // nil: not opened, or could not be loaded and From was not called

	mu  sync.Mutex // held while the session is loaded; guards err and ambiguous, which do not change when it is there
	err error      // why it could not be loaded
}

type nearest struct{}

func (x *exchange) Value(key any) any {
	if key == (nearest{}) || key == x.m {
		return x
	}
	return x.Context.Value(key)
}

// Handler gives next and everything inside it a session: see From. It stores changes before the response's first byte,
// and answers with ErrorHandler's answer instead if that fails.
//
// Put it inside of what logs, recovers and compresses, and outside of the router. Within another Handler of the same
// Manager it does nothing; two Managers that meet need two cookie names, else the first request panics.
func (m *Manager) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		outer, _ := ctx.Value(nearest{}).(*exchange)
		for o := outer; o != nil; o = o.outer {
			if o.m == m {
				next.ServeHTTP(w, r)
				return
			}
			if o.m.config.Cookie.Name == m.config.Cookie.Name {
				panic(fmt.Sprintf("session: two Managers in one request have the same Cookie.Name %q (or both BearerToken); give one of them another", m.config.Cookie.Name))
			}
		}
		x := &exchange{Context: ctx, m: m, outer: outer}
		x.req = r.WithContext(x)
		writer := x.res.Start(x, w)
		defer func() {
			r.Pattern = x.req.Pattern // for loggers around us
			if r.MultipartForm == nil {
				r.MultipartForm = x.req.MultipartForm // net/http removes an upload's files by the request that it made
			}
			if !x.res.Replaced() {
				return
			}
			// A response that took another's place is whole, though the handler may give up, as httputil.ReverseProxy
			// does when it can't write.
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panic(v)
			}
		}()
		next.ServeHTTP(writer, x.req)
		x.res.Finish()
	})
}

// Preload runs next only if the session could be read, and answers as ErrorHandler does if not: for routes with side
// effects that must not happen for a client who may be logged in or not. It goes inside Handler.
func (m *Manager) Preload(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.exchange(r).open(); err != nil {
			m.Error(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Error answers a request with Config.ErrorHandler's answer to err.
func (m *Manager) Error(w http.ResponseWriter, r *http.Request, err error) {
	if m.config.ErrorHandler != nil {
		m.config.ErrorHandler(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUncertain) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "Your session can't be reached at the moment. Please try again in a few seconds.", http.StatusServiceUnavailable)
		return
	}
	http.Error(w, "Your session could not be saved.", http.StatusInternalServerError)
}

// From returns the request's session: of the innermost Handler around it, if there are several. The first call reads the
// store, once.
//
// If that fails, the session has Err set, reads empty and ignores changes, and whatever is answered is replaced by
// ErrorHandler's answer. So a handler needs no error handling to fail closed; but its side effects happen, unless
// Preload keeps it from running, or Open lets it decide. From panics without a Handler around.
func From(r *http.Request) *Session { return from(r.Context(), nearest{}) }

// From is as the function From, for this Manager's session, where several are nested.
func (m *Manager) From(r *http.Request) *Session { return from(r.Context(), m) }

func from(ctx context.Context, key any) *Session {
	switch v := ctx.Value(key).(type) {
	case *exchange:
		return v.from()
	case *Session:
		return v
	}
	panic("session: From without a Handler: wrap the router with (*Manager).Handler")
}

// Open is as From, but returns what went wrong: either a session or an error, ErrUnavailable or that of the request's
// context. The answer is the caller's then; Manager.Error gives the usual one.
func Open(r *http.Request) (*Session, error) {
	switch v := r.Context().Value(nearest{}).(type) {
	case *exchange:
		return v.open()
	case *Session:
		return v, nil
	}
	panic("session: Open without a Handler: wrap the router with (*Manager).Handler")
}

// FromContext returns the session of a context within a Handler, or of NewContext. It reads the store as From does.
func FromContext(ctx context.Context) (*Session, bool) {
	switch v := ctx.Value(nearest{}).(type) {
	case *exchange:
		return v.from(), true
	case *Session:
		return v, true
	}
	return nil, false
}

// NewContext returns a context in which From, Open and FromContext give s: for gRPC, jobs and tests. Nobody saves s then
// but the caller.
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
	s, err := x.open()
	if err == nil {
		return s
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if s = x.session.Load(); s == nil {
		s = x.m.newSession()
		s.ctx = x.Context
		s.view.State, s.err = protocol.Failed, err
		x.session.Store(s)
	}
	return s
}

// current returns the session as it is now, when it has been opened.
func (x *exchange) current() *Session {
	if s := x.session.Load(); s != nil {
		return s
	}
	x.mu.Lock() // another goroutine may be loading it
	defer x.mu.Unlock()
	return x.session.Load()
}

var errNotLoaded = errors.New("session: the session was not loaded, because of a panic")

// open loads the session, once.
func (x *exchange) open() (*Session, error) {
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
	x.err = errNotLoaded // until it is: the store or Adopt may panic
	s := x.m.newSession()
	s.ctx, s.isActive = x.Context, true
	if x.err = x.load(s); x.err != nil {
		if x.Err() == nil { // a load cut short by the client is no outage
			x.m.failed(s.ctx, "", x.err)
		}
		return nil, x.err
	}
	x.session.Store(s)
	return s, nil
}

func (x *exchange) load(s *Session) error {
	token, reason, err := x.find(s.ctx, &s.view)
	switch {
	case err != nil && x.Err() != nil:
		return fmt.Errorf("session: load: %w", context.Cause(x))
	case err != nil:
		return err
	}
	s.sealed = x.res.Committed() && !x.m.config.BearerToken
	if reason != "" {
		x.m.emit(s.ctx, Event{Kind: EventRejected, Reason: reason, Handle: s.view.Record.Handle, Principal: s.view.Record.Principal})
	}
	s.loaded(token)
	if s.view.State == protocol.Fresh && !x.ambiguous && x.m.config.Adopt != nil {
		// A request whose context has the session itself: From within Adopt must not wait for this load.
		r := x.req.WithContext(NewContext(x, s))
		if err := x.m.config.Adopt(r, s); err != nil {
			return fmt.Errorf("session: Adopt: %w", err)
		}
	}
	return nil
}

// find looks for the one live session among the request's cookies of our name, and puts it, or what is left of one, into
// best. What is not signed by us costs no access to the store, and must not hide what is: anybody who can set cookies for
// a neighbouring host can add some.
func (x *exchange) find(ctx context.Context, best *protocol.View) (token string, reason Reason, err error) {
	var space [2]string // an honest request has no more
	texts := x.m.credentials(x.req, space[:0])
	if len(texts) == 1 {
		reason, err = x.m.load(ctx, texts[0], best)
		return texts[0], reason, err
	}
	var refused, bestReason Reason
	var named [maxLoads]string // keys of the sessions that were looked at
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
		if loads == maxLoads { // too many to look at
			lives = maxLoads
			break
		}
		var v protocol.View
		reason, err := x.m.load(ctx, text, &v)
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

// strongest prefers, of two refusals, the one that says more: what is merely malformed may be anything.
func strongest(a, b Reason) Reason {
	if a == "" || a == ReasonMalformed {
		return b
	}
	return a
}

// Commit saves the session before the response's first byte, and puts its cookie into the header.
func (x *exchange) Commit(h http.Header, hijack bool) error {
	if !x.opened.Load() {
		return nil
	}
	s := x.current()
	x.varies(h)
	if s == nil {
		return nil // Open failed, and the handler answers for it
	}
	cookie, err := s.commit(hijack)
	if replaces(err) {
		return err
	}
	x.sendCookie(h, cookie)
	return nil
}

// Finish saves what was changed after the first byte.
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

// Fail answers in place of the handler.
func (x *exchange) Fail(w http.ResponseWriter, err error) {
	x.varies(w.Header())
	x.m.Error(w, x.req, err)
}

// varies tells caches that the response depends on who asks (Flask: CVE-2023-30861, CVE-2026-27205).
func (x *exchange) varies(h http.Header) {
	name := "Cookie"
	if x.m.config.BearerToken {
		name = "Authorization"
	}
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

// sendCookie puts the session's cookie into the header, the only one of that name (RFC 6265bis, section 4.1.1).
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
		h["Set-Cookie"] = slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, prefix) })
	}
	if x.ambiguous && m.config.Cookie.Domain != "" {
		// The other cookie that this configuration could have set at another time: for the host alone.
		host := m.deleteCookie()
		host.Domain = ""
		h.Add("Set-Cookie", host.String())
	}
	h["Set-Cookie"] = append(h["Set-Cookie"], m.line(change))
	if !noStore(h) {
		h.Set("Cache-Control", "no-store") // ASVS 5.0, 14.2.2: a shared cache must not hand the cookie on
	}
	if !m.config.InsecureHTTP {
		m.warnPlainHTTP(x.req)
	}
}

// noStore reports whether the handler keeps the answer out of caches itself.
func noStore(h http.Header) bool {
	for _, v := range h["Cache-Control"] {
		if strings.Contains(strings.ToLower(v), "no-store") {
			return true
		}
	}
	return false
}
