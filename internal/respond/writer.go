package respond

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// A handler asks its http.ResponseWriter by type assertion what more it can do, and must get the server's true answer.
// In Go that takes a type for each set of methods. The sets here are those that servers and middleware have; of a rarer
// one the handler gets the largest part that is here, and the rest through http.ResponseController, which finds
// everything by way of Unwrap. Each type is one pointer, so that making it costs nothing.

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

// writer is what the handler gets.
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

// What Unwrap leads to has no Unwrap itself: whoever looks further would get past what commits.
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
