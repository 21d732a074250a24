package session

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// response stands between the handler and the server's http.ResponseWriter: before the first byte leaves, by whichever
// method, the session is saved.
type response struct {
	x         *exchange
	w         http.ResponseWriter
	before    []field     // the header as it was before the handler
	committed atomic.Bool // the header has been sent, or is about to be
	hijacked  bool
	varies    [1]string // room for the header Vary
	replaced  error     // the answer was replaced for this reason; what the handler writes goes nowhere
}

// field is a line of the header, or several of one name. Who changes a header puts other values in their place.
type field struct {
	name   string
	values []string
}

func (r *response) start(x *exchange, w http.ResponseWriter) {
	r.x, r.w = x, w
	if h := w.Header(); len(h) > 0 {
		r.before = make([]field, 0, len(h))
		for name, values := range h {
			r.before = append(r.before, field{name, values})
		}
	}
}

func (r *response) Header() http.Header { return r.w.Header() }

func (r *response) WriteHeader(code int) {
	// 1xx are not the answer yet; 101 is (RFC 9110, section 15.2).
	if code >= 100 && code <= 199 && code != http.StatusSwitchingProtocols {
		r.w.WriteHeader(code)
		return
	}
	if r.commit(false) == nil {
		r.w.WriteHeader(code)
	}
}

func (r *response) Write(b []byte) (int, error) {
	if err := r.commit(false); err != nil {
		return 0, err
	}
	return r.w.Write(b)
}

func (r *response) WriteString(s string) (int, error) {
	if err := r.commit(false); err != nil {
		return 0, err
	}
	return io.WriteString(r.w, s)
}

// Unwrap is for http.ResponseController and others who look for what a writer can do further down. They find what is
// there, in a form that commits first, and nothing below that.
func (r *response) Unwrap() http.ResponseWriter {
	_, hijacks := capability[http.Hijacker](r.w)
	c := controlled{r}
	switch flushes := r.flushes(); {
	case flushes && hijacks:
		return controlledFlushHijacker{controlledFlusher{c}}
	case flushes:
		return controlledFlusher{c}
	case hijacks:
		return controlledHijacker{c}
	}
	return c
}

// commit saves the session and completes the header, once.
func (r *response) commit(hijack bool) error {
	if r.committed.Load() {
		return r.replaced
	}
	r.committed.Store(true)
	x := r.x
	if !x.opened.Load() {
		return nil
	}
	s := x.current()
	r.vary()
	if s == nil {
		return nil // Open failed, and the handler answers for it
	}
	cookie, err := s.commit(hijack)
	if replaces(err) {
		r.replace(err)
		return err
	}
	x.sendCookie(r.w.Header(), cookie)
	return nil
}

// commit is the last save that can have a cookie. Hijack sends no header: there nothing is stored that would need one.
func (s *Session) commit(hijack bool) (*http.Cookie, error) {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	if hijack {
		s.seal()
	}
	idle, err := s.idle()
	if !idle {
		s.mu.Unlock()
		err = s.store(s.context()) // an Update's function may panic in it
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	s.seal()
	cookie := s.m.cookie(s.cookie)
	if hijack {
		if cookie != nil && s.cookie.value != "" {
			s.err = ErrTooLate // saved before by Save, under an ID that the browser will not get
			s.event(Event{Kind: EventTooLate, Handle: s.record.Handle, Principal: s.record.Principal, Err: ErrTooLate})
		}
		cookie = nil
	}
	s.cookie = nil
	return cookie, err
}

// seal says that no cookie can be sent from now on. A bearer token needs none: the handler sends it. The caller holds mu.
func (s *Session) seal() { s.sealed = !s.m.config.BearerToken }

// sendCookie puts the session's cookie into the header, the only one of that name (RFC 6265bis, section 4.1.1).
func (x *exchange) sendCookie(h http.Header, cookie *http.Cookie) {
	if cookie == nil && !x.ambiguous {
		return
	}
	prefix := x.m.config.Cookie.Name + "="
	if lines := h["Set-Cookie"]; lines != nil {
		h["Set-Cookie"] = slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, prefix) })
	}
	if cookie == nil {
		cookie = x.m.deleteCookie()
	}
	if x.ambiguous && cookie.Domain != "" {
		// The other cookie that this configuration could have set at another time: for the host alone.
		host := x.m.deleteCookie()
		host.Domain = ""
		h.Add("Set-Cookie", host.String())
	}
	h["Set-Cookie"] = append(h["Set-Cookie"], x.m.line(cookie))
	if !noStore(h) {
		h.Set("Cache-Control", "no-store") // ASVS 5.0, 14.2.2: a shared cache must not hand the cookie on
	}
	if !x.m.config.InsecureHTTP {
		x.m.warnPlainHTTP(x.req)
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

// vary tells caches that the answer depends on who asks (Flask: CVE-2023-30861, CVE-2026-27205).
func (r *response) vary() {
	name := "Cookie"
	if r.x.m.config.BearerToken {
		name = "Authorization"
	}
	h := r.w.Header()
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
	r.varies[0] = name
	h["Vary"] = r.varies[:]
}

// replace answers instead of the handler. Of the header only what stood there before the handler is left.
func (r *response) replace(err error) {
	r.replaced = err
	h := r.w.Header()
	clear(h)
	for _, f := range r.before {
		h[f.name] = f.values
	}
	r.vary()
	w := &answer{ResponseWriter: r.w}
	r.x.m.Error(w, r.x.req, err)
	if !w.given { // net/http would say 200
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// answer notices whether there is one.
type answer struct {
	http.ResponseWriter
	given bool
}

func (a *answer) WriteHeader(code int) {
	a.given = a.given || code >= 200
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	a.given = true
	return a.ResponseWriter.Write(b)
}

// finish is called when the handler has returned. What was changed after the first byte is saved now; if that can't be,
// the connection is cut, so that nobody takes the answer for complete.
func (r *response) finish() {
	if !r.committed.Load() {
		r.commit(false)
		return
	}
	if !r.x.opened.Load() || r.replaced != nil {
		return
	}
	s := r.x.current()
	if s == nil {
		return
	}
	// It may have been opened after the first byte.
	if err := s.save(s.context(), true); replaces(err) && !r.hijacked {
		panic(http.ErrAbortHandler)
	}
}

func (r *response) flushes() bool {
	if _, ok := capability[http.Flusher](r.w); ok {
		return true
	}
	_, ok := capability[interface{ FlushError() error }](r.w)
	return ok
}

func (r *response) flush() error {
	if !r.flushes() {
		return http.ErrNotSupported // and the answer has not begun
	}
	if err := r.commit(false); err != nil {
		return err
	}
	return http.NewResponseController(r.w).Flush()
}

func (r *response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := capability[http.Hijacker](r.w)
	if !ok {
		return nil, nil, http.ErrNotSupported
	}
	if err := r.commit(true); err != nil {
		return nil, nil, err
	}
	c, rw, err := h.Hijack()
	r.hijacked = r.hijacked || err == nil
	return c, rw, err
}

// capability finds what w can do the way http.ResponseController does.
func capability[T any](w http.ResponseWriter) (T, bool) {
	for {
		if t, ok := w.(T); ok {
			return t, true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			var none T
			return none, false
		}
		w = u.Unwrap()
	}
}

func (r *response) push(target string, opts *http.PushOptions) error {
	p, ok := r.w.(http.Pusher)
	if !ok {
		return http.ErrNotSupported
	}
	return p.Push(target, opts)
}

func (r *response) readFrom(src io.Reader) (int64, error) {
	if err := r.commit(false); err != nil {
		return 0, err
	}
	return r.w.(io.ReaderFrom).ReadFrom(src)
}
