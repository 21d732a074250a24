// Package respond is the boundary between a handler and its response. It calls Commit before the first byte is sent, by
// whichever method of the http.ResponseWriter. It knows nothing of sessions.
package respond

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// Request has the callbacks around the response of one request.
type Request interface {
	// Commit is called before the header is sent, to complete the header. An error replaces the response by Fail. With
	// hijack no header will be sent. If the handler returns without writing, Commit is called then, and once more if
	// something around the handler writes later, such as a router's error handler.
	Commit(header http.Header, hijack bool) error

	// Finish is called when the handler has returned after it sent the header. An error cuts the connection.
	Finish() error

	// Fail writes the response in place of the handler.
	Fail(w http.ResponseWriter, err error)
}

// Boundary stands between a handler and the server's http.ResponseWriter. The zero value waits for Start.
type Boundary struct{ r response }

// Start begins the response that w is for, and returns what the handler gets in place of w.
func (b *Boundary) Start(x Request, w http.ResponseWriter) http.ResponseWriter {
	r := &b.r
	r.x, r.w = x, w
	if h := w.Header(); len(h) > 0 {
		r.before = make([]field, 0, len(h))
		for name, values := range h {
			r.before = append(r.before, field{name, values})
		}
	}
	return r.writer()
}

// Committed reports whether it is too late to change the header. It may be called at any time.
func (b *Boundary) Committed() bool { return b.r.committed.Load() && !b.r.returned.Load() }

// Sent reports whether the header has been sent by something that wrote to a writer below ours. It is for Commit.
func (b *Boundary) Sent() bool { return b.r.sent() }

// Replaced returns why Fail's response was sent and not the handler's: the error that the handler's writes return. It
// is nil if the handler's response was sent, or cut.
func (b *Boundary) Replaced() error {
	if b.r.cut {
		return nil
	}
	return b.r.replaced
}

// Finish is called when the handler has returned. If that fails after the first byte, it cuts the connection, so that
// no client takes the response for complete.
func (b *Boundary) Finish() {
	r := &b.r
	if !r.committed.Load() {
		r.returned.Store(r.commit(false) == nil)
		if r.cut {
			panic(http.ErrAbortHandler)
		}
		return
	}
	if r.replaced == nil {
		if err := r.x.Finish(); err != nil && !r.hijacked {
			panic(http.ErrAbortHandler)
		}
	}
	if r.cut {
		panic(http.ErrAbortHandler)
	}
}

type response struct {
	x         Request
	w         http.ResponseWriter
	before    []field     // the header as it was before the handler
	committed atomic.Bool // the header has been sent, or is about to be
	returned  atomic.Bool // the handler has returned, and nothing has been sent since
	informed  bool        // a 1xx was sent, which httptest takes for the header
	hijacked  bool
	cut       bool  // the response could not be replaced, since a part of it had been sent
	replaced  error // why the response was replaced; the handler's writes are dropped then
}

// field is one name of the header with its values. The slice is not copied: a change of the header puts another slice
// in its place.
type field struct {
	name   string
	values []string
}

func (r *response) sent() bool { return !r.informed && sent(r.w) }

func (r *response) Header() http.Header { return r.w.Header() }

func (r *response) WriteHeader(code int) {
	// A 1xx is not the final response, except for 101 (RFC 9110, section 15.2).
	if code >= 100 && code <= 199 && code != http.StatusSwitchingProtocols {
		r.informed = true
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

// Unwrap is for http.ResponseController and others that search the wrapped writers for a capability. They find the
// capabilities that are there, in a form that commits first, and nothing below that form.
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

// commit completes the header, once, and once more after the handler has returned.
func (r *response) commit(hijack bool) error {
	if r.committed.Load() && !(r.returned.Load() && r.returned.CompareAndSwap(true, false)) {
		return r.replaced
	}
	r.committed.Store(true)
	if err := r.x.Commit(r.w.Header(), hijack); err != nil {
		r.replace(err)
	}
	return r.replaced
}

// replace sends the response of Fail and not the handler's. It resets the header to the one before the handler.
func (r *response) replace(err error) {
	r.replaced = err
	if r.sent() {
		r.cut = true
		return
	}
	h := r.w.Header()
	clear(h)
	for _, f := range r.before {
		h[f.name] = f.values
	}
	w := &answer{ResponseWriter: r.w}
	r.x.Fail(w, err)
	if !w.given { // net/http would send 200
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// answer records whether Fail has written a response.
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

func (r *response) flushes() bool {
	if _, ok := capability[http.Flusher](r.w); ok {
		return true
	}
	_, ok := capability[interface{ FlushError() error }](r.w)
	return ok
}

func (r *response) flush() error {
	if !r.flushes() {
		return http.ErrNotSupported // and the response has not begun
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

// capability looks for T in w and the writers that w wraps, as http.ResponseController does.
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
