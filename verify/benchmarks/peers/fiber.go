package peers

import (
	"context"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
	recoverer "github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/gofiber/fiber/v3/middleware/session"
	"github.com/valyala/fasthttp"
)

// fiberMemory is the session middleware of gofiber/fiber, configured after its documentation. It runs on fasthttp, so
// that its requests are another server's. It has no signed cookie.
var fiberMemory = Library{"fiber, memory", "github.com/gofiber/fiber/v3", Memory, func(string) (App, error) {
	_, standard := session.NewWithStore()
	f := &fiberApp{memory: standard.Storage, store: &fiberStore{standard.Storage}}
	f.middleware = session.New(session.Config{
		Storage: f.store, IdleTimeout: idleTimeout, AbsoluteTimeout: lifetime, CookieHTTPOnly: true,
		// As its default, but for the log line.
		ErrorHandler: func(c fiber.Ctx, _ error) { _ = c.SendStatus(fiber.StatusInternalServerError) },
	})
	return f, nil
}}

type fiberApp struct {
	middleware fiber.Handler
	memory     fiber.Storage
	store      *fiberStore
}

func (f *fiberApp) SetOutage(on bool) bool {
	if f.store.Storage = f.memory; on {
		f.store.Storage = fiberOutage{f.memory}
	}
	return true
}

func (f *fiberApp) Close() error { return f.memory.Close() }

func (f *fiberApp) Serve(fn Handler) Server {
	app := fiber.New()
	app.Use(recoverer.New()) // its session middleware panics when the storage can't be read
	app.Use(f.middleware)
	exchanges := sync.Pool{New: func() any { return new(fiberExchange) }}
	app.Get("/", func(c fiber.Ctx) error {
		x := exchanges.Get().(*fiberExchange)
		x.c, x.err = c, nil
		fn(x)
		err := x.err
		exchanges.Put(x)
		return err
	})
	return fiberServer{app.Handler()}
}

type fiberServer struct{ handler fasthttp.RequestHandler }

func (s fiberServer) Prepare() Request {
	q := &fiberRequest{handler: s.handler}
	h := &q.ctx.Request.Header
	h.SetMethod(fasthttp.MethodGet)
	h.SetRequestURI("/")
	h.SetHost("example.com")
	h.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	h.Set("Accept", "text/html")
	return q
}

type fiberRequest struct {
	handler fasthttp.RequestHandler
	ctx     fasthttp.RequestCtx
}

func (q *fiberRequest) Send(cookie string) Answer {
	q.ctx.Request.Header.DelAllCookies()
	if cookie != "" {
		q.ctx.Request.Header.Set("Cookie", cookie)
	}
	q.ctx.Response.Reset()
	q.ctx.ResetUserValues()
	q.handler(&q.ctx)
	answer := Answer{Status: q.ctx.Response.StatusCode()}
	for _, value := range q.ctx.Response.Header.Cookies() {
		answer.SetCookies = append(answer.SetCookies, string(value))
	}
	return answer
}

type fiberExchange struct {
	c   fiber.Ctx
	err error
}

func (x *fiberExchange) Text(key string) string {
	text, _ := session.FromContext(x.c).Get(key).(string)
	return text
}

func (x *fiberExchange) Count(key string) int {
	n, _ := session.FromContext(x.c).Get(key).(int)
	return n
}

func (x *fiberExchange) SetText(key, value string)  { session.FromContext(x.c).Set(key, value) }
func (x *fiberExchange) SetCount(key string, n int) { session.FromContext(x.c).Set(key, n) }
func (x *fiberExchange) User() string               { return x.Text(userKey) }
func (x *fiberExchange) Save()                      {}
func (x *fiberExchange) Logout()                    { x.err = session.FromContext(x.c).Destroy() }
func (x *fiberExchange) Reply()                     { _, _ = x.c.Write(reply) }

// Login regenerates the ID first, as its documentation of session security says.
func (x *fiberExchange) Login(user string) {
	x.Renew()
	x.SetText(userKey, user)
}

func (x *fiberExchange) Renew() { x.err = session.FromContext(x.c).Regenerate() }

// fiberStore is fiber's own memory storage, or in an outage one that can't be reached.
type fiberStore struct{ fiber.Storage }

type fiberOutage struct{ fiber.Storage }

func (fiberOutage) GetWithContext(context.Context, string) ([]byte, error) { return nil, errOutage }
func (fiberOutage) DeleteWithContext(context.Context, string) error        { return errOutage }
func (fiberOutage) SetWithContext(context.Context, string, []byte, time.Duration) error {
	return errOutage
}
