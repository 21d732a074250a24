// Package ginsession gives handlers of gin-gonic/gin a session.
//
//	engine := gin.New()
//	engine.Use(gin.Logger(), gin.Recovery(), ginsession.New(sessions))
//	engine.GET("/", func(c *gin.Context) {
//		s := ginsession.From(c)
//		c.String(http.StatusOK, "Hello "+s.Principal())
//	})
//
// It does as well on a group of routes. A gin engine as a whole needs nothing of this package: sessions.Handler(engine)
// is the same, with [session.From] of c.Request.
//
// # Promises
//
// All of the session package's hold: the session is saved before the first byte of the response, and what the handlers
// wrote is replaced if that fails. As in gin, Context.Status sends nothing, so a handler may change its session after
// it. Put New inside of gin's Recovery and of middleware that compresses: a panic that passes New before the first byte
// saves nothing.
package ginsession

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/hipflask/session"
)

// carried is where package session looks for a context if the one that it has passes on only keys that are texts, as a
// gin.Context does without ContextWithFallback.
const carried = "github.com/hipflask/session"

// New returns middleware that gives the handlers after it a session, as [session.Manager.Handler] does. It is safe for
// concurrent use.
func New(sessions *session.Manager) gin.HandlerFunc {
	handler := sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(key{}).(func(http.ResponseWriter, *http.Request))(w, r)
	}))
	return func(c *gin.Context) {
		outer, request := c.Writer, c.Request
		before, nested := c.Get(carried)
		defer func() {
			c.Writer, c.Request = outer, request
			if nested {
				c.Set(carried, before)
			} else {
				c.Delete(carried)
			}
		}()
		handler.ServeHTTP(outer,
			request.WithContext(with{request.Context(), func(w http.ResponseWriter, r *http.Request) {
				inner := &writer{ResponseWriter: w, outer: outer, status: outer.Status(), size: outer.Size()}
				c.Writer, c.Request = inner, r
				c.Set(carried, r.Context())
				c.Next()
				if !inner.Written() {
					outer.WriteHeader(inner.status) // kept until gin sends it
				}
			}}))
	}
}

// From returns the request's session, as [session.From] does: of the innermost New around the handler. It panics
// without New.
func From(c *gin.Context) *session.Session {
	s, ok := session.FromContext(c.Request.Context())
	if !ok {
		panic("ginsession: From without New: engine.Use(ginsession.New(sessions)) comes before the routes")
	}
	return s
}

// with is a request's context that leads the Handler back to the gin.Context.
type with struct {
	context.Context
	next func(http.ResponseWriter, *http.Request)
}

type key struct{}

func (w with) Value(k any) any {
	if k == (key{}) {
		return w.next
	}
	return w.Context.Value(k)
}

// writer is gin's writer in front of the session's: it keeps the status until something is written.
type writer struct {
	http.ResponseWriter // the session's
	outer               gin.ResponseWriter
	status, size        int // size is -1 until the header is sent
}

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *writer) Status() int                 { return w.status }
func (w *writer) Size() int                   { return w.size }
func (w *writer) Written() bool               { return w.size >= 0 }

func (w *writer) WriteHeader(code int) {
	if code > 0 && !w.Written() {
		w.status = code
	}
}

func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.size = 0
		w.ResponseWriter.WriteHeader(w.status)
	}
}

func (w *writer) Write(b []byte) (int, error) {
	w.WriteHeaderNow()
	n, err := w.ResponseWriter.Write(b)
	w.size += n
	return n, err
}

func (w *writer) WriteString(s string) (int, error) {
	w.WriteHeaderNow()
	n, err := io.WriteString(w.ResponseWriter, s)
	w.size += n
	return n, err
}

func (w *writer) Flush() {
	w.WriteHeaderNow()
	http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.size = max(w.size, 0)
	}
	return conn, buffered, err
}

func (w *writer) CloseNotify() <-chan bool { return w.outer.CloseNotify() }
func (w *writer) Pusher() http.Pusher      { return w.outer.Pusher() }
