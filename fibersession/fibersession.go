// Package fibersession gives handlers of gofiber/fiber v3 a session.
//
//	app := fiber.New()
//	app.Use(recover.New(), fibersession.New(sessions))
//	app.Get("/", func(c fiber.Ctx) error {
//		s := fibersession.From(c)
//		return c.SendString("Hello " + s.Principal())
//	})
//
// Fiber's own bridge, adaptor.HTTPMiddleware, calls the next handler after the middleware has returned, and has no
// answer for it to change: sessions need another one. net/http handlers within a Fiber application need nothing of this
// package: adaptor.HTTPHandler(sessions.Handler(h)).
//
// # Promises
//
// All of the session package's hold. Fiber keeps a response in memory until its handlers have returned, so the session
// is stored once, when the last handler inside has returned, and before the first byte leaves. For an error that a
// handler returns, New calls the application's ErrorHandler, as Fiber's own logger does, so what that changes is stored
// as well, and middleware around New sees its response and no error. A panic that goes through stores nothing.
//
// A cache inside of New, such as Fiber's, must not keep one user's page for others: [From] sets Vary at once, and
// Cache-Control: private for a request that has no session yet, unless the handler sets another one.
//
// What a body stream (Ctx.SendStreamWriter) or a WebSocket changes later is stored by Session.Save alone, and may need
// no new cookie. A Session outlives the request and its fiber.Ctx.
//
// # Differences
//
// Config.Adopt and Config.ErrorHandler get a request without a body. Fiber notices a client that hangs up only when it
// writes, so its request contexts are never cancelled.
package fibersession

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"

	"github.com/hipflask/session"
)

// New returns middleware that gives what comes after it a session, as [session.Manager.Handler] does. Put it inside of
// Fiber's recover and compress middleware. It is safe for concurrent use.
func New(sessions *session.Manager) fiber.Handler {
	handler := sessions.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r.Context().Value(key{}).(*exchange).next(r)
	}))
	return func(c fiber.Ctx) error {
		x := &exchange{Context: c.Context(), c: c, header: http.Header{}, vary: sessions.Vary()}
		x.read(true)
		handler.ServeHTTP(x, x.request())
		x.finish()
		return nil
	}
}

// From returns the request's session, as [session.From] does: of the innermost New around the handler. It reads the
// store at the first call, once. It panics without New.
//
// If the store fails, Err says so, and the answer is replaced whatever the handler does: return early where something
// must not happen for a client who may be logged in or not.
func From(c fiber.Ctx) *session.Session {
	s, ok := session.FromContext(c.Context())
	if !ok {
		panic("fibersession: From without New: app.Use(fibersession.New(sessions)) comes before the routes")
	}
	if x, ok := c.Context().Value(key{}).(*exchange); ok {
		x.keepFromCaches(s)
	}
	return s
}

// exchange is one request in one Handler. To the Handler it is the response that it may replace, and the context that
// leads back here.
type exchange struct {
	context.Context
	c       fiber.Ctx
	vary    string // the header that names the session
	private bool   // Cache-Control was ours, for caches inside

	header http.Header
	status int // not 0: the Handler answers
	body   []byte
}

type key struct{}

func (x *exchange) Value(k any) any {
	if k == (key{}) {
		return x
	}
	return x.Context.Value(k)
}

// Header has those fields of Fiber's response that the Handler looks at.
func (x *exchange) Header() http.Header { return x.header }

// WriteHeader is called by nobody but Config.ErrorHandler.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
	}
}

// Write is called by nobody but Config.ErrorHandler.
func (x *exchange) Write(b []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	x.body = append(x.body, b...)
	return len(b), nil
}

// request is what of a request net/http's side can ask for. All texts are copies: Fiber uses its buffers again.
func (x *exchange) request() *http.Request {
	in, ctx := x.c.Request(), x.c.RequestCtx()
	r := new(http.Request).WithContext(x)
	r.Method = x.c.Method()
	r.URL = &url.URL{Path: string(in.URI().Path()), RawQuery: string(in.URI().QueryString())}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header = requestHeader(&in.Header)
	r.Body = http.NoBody
	r.Host = string(in.Host())
	r.RequestURI = string(in.RequestURI())
	r.RemoteAddr = ctx.RemoteAddr().String()
	r.TLS = ctx.TLSConnectionState()
	return r
}

// requestHeader copies a header, with one allocation for all its texts.
func requestHeader(in *fasthttp.RequestHeader) http.Header {
	size, fields := 0, 0
	for k, v := range in.All() {
		size, fields = size+len(k)+len(v), fields+1
	}
	var texts strings.Builder
	texts.Grow(size)
	for k, v := range in.All() {
		texts.Write(k)
		texts.Write(v)
	}
	rest, values := texts.String(), make([]string, fields)
	cut := func(n int) (s string) {
		s, rest = rest[:n], rest[n:]
		return s
	}
	h := make(http.Header, fields)
	for k, v := range in.All() {
		name := http.CanonicalHeaderKey(cut(len(k)))
		value := cut(len(v))
		if h[name] != nil {
			h[name] = append(h[name], value)
			continue
		}
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
	if cookies := h["Cookie"]; cookies != nil {
		h["Cookie"] = raw(in, cookies)
	}
	return h
}

// raw returns the Cookie lines as the client sent them, if fasthttp reads one of their cookies in another way than
// net/http does. Of "=__Host-session=X", "__Host-session =X" and "__Host-session= X" it makes cookies with a name that
// browsers protect. If the lines are clean it returns parsed, which has what middleware has changed.
func raw(in *fasthttp.RequestHeader, parsed []string) []string {
	var lines []string
	clean := true
	for line := range strings.SplitSeq(string(in.RawHeaders()), "\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !strings.EqualFold(name, "Cookie") {
			continue
		}
		value = strings.Trim(value, " \t\r")
		lines = append(lines, value)
		for pair := range strings.SplitSeq(value, ";") {
			name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			clean = clean && name != "" && !strings.ContainsFunc(name, unicode.IsSpace) &&
				strings.TrimSpace(value) == value
		}
	}
	if clean {
		return parsed
	}
	return lines
}

// Format implements [fmt.Formatter]. Contexts print what they wrap, and a request has its cookies.
func (x *exchange) Format(f fmt.State, _ rune) { io.WriteString(f, "fibersession.New") }

// next runs the handlers inside.
func (x *exchange) next(r *http.Request) {
	x.c.SetContext(r.Context())
	if err := x.c.Next(); err != nil {
		if x.c.App().ErrorHandler(x.c, err) != nil {
			x.c.SendStatus(http.StatusInternalServerError) // as Fiber does
		}
	}
	if h := &x.c.Response().Header; x.private && string(h.Peek("Cache-Control")) == onlyInside {
		h.Del("Cache-Control") // what is sent with a cookie gets no-store, and what isn't is as it was
	}
	clear(x.header)
	x.read(false)
}

// onlyInside keeps a response out of caches inside of New: whether it is going to set a cookie is known later.
const onlyInside = "private"

// keepFromCaches tells caches inside of New that the response depends on the session.
func (x *exchange) keepFromCaches(s *session.Session) {
	x.c.Vary(x.vary)
	if h := &x.c.Response().Header; s.IsNew() && len(h.Peek("Cache-Control")) == 0 {
		h.Set("Cache-Control", onlyInside)
		x.private = true
	}
}

// boundary are the header fields that the Handler looks at and changes.
var boundary = [...]string{
	"Set-Cookie", "Vary", "Cache-Control",
	"Surrogate-Control", "Edge-Control", "X-Accel-Expires", "Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control",
	"Netlify-Cdn-Cache-Control", "Vercel-Cdn-Cache-Control",
}

// read copies Fiber's header: of what stands before the handlers everything that a replaced answer keeps, afterwards
// what the Handler looks at.
func (x *exchange) read(all bool) {
	for k, v := range x.c.Response().Header.All() {
		name := http.CanonicalHeaderKey(string(k))
		if slices.Contains(boundary[:], name) {
			x.header.Add(name, string(v))
			continue
		}
		switch name {
		case "Content-Type", "Content-Length", "Content-Encoding", "Server", "Date", "Connection", "Transfer-Encoding":
			continue
		default:
			if !all {
				continue
			}
		}
		x.header.Add(name, string(v))
	}
}

// finish brings the Handler's word into Fiber's response.
func (x *exchange) finish() {
	res := x.c.Response()
	if x.status == 0 {
		for _, name := range boundary {
			x.copy(name)
		}
		return
	}
	res.Reset()
	for name := range x.header {
		x.copy(name)
	}
	res.SetStatusCode(x.status)
	res.SetBodyRaw(x.body)
}

func (x *exchange) copy(name string) {
	h := &x.c.Response().Header
	h.Del(name)
	for _, v := range x.header[name] {
		h.Add(name, v)
	}
}
