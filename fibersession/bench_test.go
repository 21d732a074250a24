package fibersession_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/valyala/fasthttp"

	"github.com/hipflask/session"
	"github.com/hipflask/session/fibersession"
	"github.com/hipflask/session/sessiontest"
)

// BenchmarkRequest compares this package with no sessions at all, and with net/http handlers behind Fiber's own bridge.
func BenchmarkRequest(b *testing.B) {
	m := sessiontest.New(b)
	plain := func(c fiber.Ctx) error { return c.SendString("ok") }
	bridge := func(h http.HandlerFunc) []any { return []any{adaptor.HTTPHandler(m.Handler(h))} }
	for _, c := range []struct {
		name     string
		handlers []any
		sessions bool // the session is used
	}{
		{"way=none/session=none", []any{plain}, false},
		{"way=fibersession/session=untouched", []any{fibersession.New(m), plain}, false},
		{"way=fibersession/session=changed", []any{fibersession.New(m), count}, true},
		{"way=bridge/session=untouched", bridge(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "ok")
		}), false},
		{"way=bridge/session=changed", bridge(func(w http.ResponseWriter, r *http.Request) {
			n := visits.Update(session.From(r), func(n int) int { return n + 1 })
			fmt.Fprint(w, n)
		}), true},
	} {
		app := fiber.New()
		app.Get("/", c.handlers[0], c.handlers[1:]...)
		run := app.Handler()
		var ctx fasthttp.RequestCtx
		ctx.Init(&fasthttp.Request{}, nil, nil)
		request := func(cookie string) {
			ctx.Request.Reset()
			ctx.Response.Reset()
			ctx.ResetUserValues()
			ctx.Request.SetRequestURI("/")
			ctx.Request.Header.SetHost("app.example")
			ctx.Request.Header.Set("User-Agent",
				"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
			ctx.Request.Header.Set("Accept", "text/html")
			ctx.Request.Header.Set("Accept-Language", "en")
			ctx.Request.Header.Set("Cookie", cookie)
			run(&ctx)
		}
		s, err := m.Load(b.Context(), "")
		if err != nil {
			b.Fatal(err)
		}
		visits.Set(s, 1)
		if err := s.Save(b.Context()); err != nil {
			b.Fatal(err)
		}
		cookie := "session=" + s.Token()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				request(cookie)
			}
			if ctx.Response.StatusCode() != 200 || ctx.Response.Header.Peek("Set-Cookie") != nil {
				b.Fatalf("got %d, want 200 and no new cookie", ctx.Response.StatusCode())
			}
			if s.Reload(b.Context()); visits.Or(s, 0) > 1 != c.sessions {
				b.Fatalf("got %d visits stored", visits.Or(s, 0))
			}
		})
	}
}
