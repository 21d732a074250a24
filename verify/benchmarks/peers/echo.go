package peers

import (
	"sync"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
)

const echoModule = "github.com/labstack/echo-contrib"

// Two stores of gorilla/sessions under the session middleware of labstack/echo-contrib, configured after its
// documentation.
var (
	echoSigned = Library{"echo-contrib, signed cookie", echoModule, Cookie, func(string) (App, error) {
		return echoApp{openGorillaCookie(securecookie.GenerateRandomKey(64))}, nil
	}}
	echoFiles = Library{"echo-contrib, files", echoModule, Files, func(dir string) (App, error) {
		files, err := openGorillaFiles(dir, "echo")
		return echoApp{files}, err
	}}
)

type echoApp struct{ *gorillaApp }

func (e echoApp) Serve(fn Handler) Server {
	get := func(x *gorillaExchange) (*sessions.Session, error) { return session.Get("session", x.echo) }
	exchanges := sync.Pool{New: func() any { return &gorillaExchange{get: get} }}
	server := echo.New()
	server.Use(session.Middleware(e.store))
	server.GET("/", func(c echo.Context) error {
		x := exchanges.Get().(*gorillaExchange)
		x.echo, x.w, x.r, x.got = c, c.Response(), c.Request(), nil
		fn(x)
		exchanges.Put(x)
		return nil
	})
	return httpServer{server}
}
