package respond

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// A handler finds out by type assertions what else its http.ResponseWriter can do, and must see what the server's
// writer can. In Go that needs one type for each set of methods. The sets here are those of servers and middleware. For
// an unlisted set the handler gets the largest listed subset; the remaining methods are reachable through
// http.ResponseController, which uses Unwrap. Each type is one pointer, so making it allocates nothing.

type (
	flusher                   struct{ *response }
	hijacker                  struct{ *response }
	pusher                    struct{ *response } // http.TimeoutHandler
	flushHijacker             struct{ flusher }
	flushNotifier             struct{ flusher }
	flushPusher               struct{ flusher }
	flushNotifierPusher       struct{ flushNotifier } // net/http, HTTP/2
	flushHijackReader         struct{ flushHijacker }
	flushHijackPusher         struct{ flushHijacker } // chi's and echo's compression
	flushHijackNotifier       struct{ flushHijacker }
	flushHijackNotifierReader struct{ flushHijackNotifier } // net/http, HTTP/1
)

func (r flusher) Flush()            { r.flush() }
func (r flusher) FlushError() error { return r.flush() }

func (r hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error)      { return r.hijack() }
func (r flushHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return r.hijack() }

func (r pusher) Push(target string, o *http.PushOptions) error              { return r.push(target, o) }
func (r flushPusher) Push(target string, o *http.PushOptions) error         { return r.push(target, o) }
func (r flushHijackPusher) Push(target string, o *http.PushOptions) error   { return r.push(target, o) }
func (r flushNotifierPusher) Push(target string, o *http.PushOptions) error { return r.push(target, o) }

func (r flushNotifier) CloseNotify() <-chan bool       { return r.closeNotify() }
func (r flushHijackNotifier) CloseNotify() <-chan bool { return r.closeNotify() }

func (r flushHijackReader) ReadFrom(src io.Reader) (int64, error)         { return r.readFrom(src) }
func (r flushHijackNotifierReader) ReadFrom(src io.Reader) (int64, error) { return r.readFrom(src) }

func (r *response) closeNotify() <-chan bool {
	return r.w.(http.CloseNotifier).CloseNotify() //lint:ignore SA1019 old handlers still ask for it
}

const (
	canFlush = 1 << iota
	canHijack
	canNotify
	canPush
	canRead
)

// writer returns the http.ResponseWriter for the handler.
func (r *response) writer() http.ResponseWriter {
	can := 0
	if _, ok := r.w.(http.Flusher); ok {
		can |= canFlush
	}
	if _, ok := r.w.(http.Hijacker); ok {
		can |= canHijack
	}
	//lint:ignore SA1019 old handlers still ask for it
	if _, ok := r.w.(http.CloseNotifier); ok {
		can |= canNotify
	}
	if _, ok := r.w.(http.Pusher); ok {
		can |= canPush
	}
	if _, ok := r.w.(io.ReaderFrom); ok {
		can |= canRead
	}
	has := func(set int) bool { return can&set == set }
	f := flusher{r}
	fh := flushHijacker{f}
	switch {
	case has(canFlush | canHijack | canNotify | canRead):
		return flushHijackNotifierReader{flushHijackNotifier{fh}}
	case has(canFlush | canHijack | canNotify):
		return flushHijackNotifier{fh}
	case has(canFlush | canHijack | canRead):
		return flushHijackReader{fh}
	case has(canFlush | canHijack | canPush):
		return flushHijackPusher{fh}
	case has(canFlush | canNotify | canPush):
		return flushNotifierPusher{flushNotifier{f}}
	case has(canFlush | canHijack):
		return fh
	case has(canFlush | canPush):
		return flushPusher{f}
	case has(canFlush | canNotify):
		return flushNotifier{f}
	case has(canFlush):
		return f
	case has(canHijack):
		return hijacker{r}
	case has(canPush):
		return pusher{r}
	}
	return r
}

// The results of Unwrap have no Unwrap themselves: a search that went further would find writers that don't commit.
type (
	controlled              struct{ r *response }
	controlledFlusher       struct{ controlled }
	controlledHijacker      struct{ controlled }
	controlledFlushHijacker struct{ controlledFlusher }
)

func (c controlled) Header() http.Header         { return c.r.Header() }
func (c controlled) Write(b []byte) (int, error) { return c.r.Write(b) }
func (c controlled) WriteHeader(code int)        { c.r.WriteHeader(code) }

func (c controlled) EnableFullDuplex() error {
	return http.NewResponseController(c.r.w).EnableFullDuplex()
}

func (c controlled) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(c.r.w).SetReadDeadline(t)
}

func (c controlled) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(c.r.w).SetWriteDeadline(t)
}

func (c controlledFlusher) Flush()            { c.r.flush() }
func (c controlledFlusher) FlushError() error { return c.r.flush() }

func (c controlledHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error)      { return c.r.hijack() }
func (c controlledFlushHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return c.r.hijack() }
