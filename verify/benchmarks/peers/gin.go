package peers

import (
	"net/http"
	"sync"

	"github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/cookie"
	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/securecookie"
)

const ginModule = "github.com/gin-contrib/sessions"

// Two stores of gin-contrib/sessions, configured after its README, on a gin engine without other middleware.
var (
	ginSigned = Library{"gin-contrib, signed cookie", ginModule, Cookie, func(string) (App, error) {
		return openGin(cookie.NewStore(securecookie.GenerateRandomKey(64))), nil
	}}
	ginMemory = Library{"gin-contrib, memory", ginModule, Memory, func(string) (App, error) {
		return openGin(memstore.NewStore(securecookie.GenerateRandomKey(64))), nil
	}}
)

func openGin(s sessions.Store) App {
	gin.SetMode(gin.ReleaseMode)
	s.Options(sessions.Options{Path: "/", MaxAge: int(idleTimeout.Seconds()), HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
	return ginApp{s}
}

type ginApp struct{ store sessions.Store }

func (g ginApp) SetOutage(bool) bool { return false }
func (g ginApp) Close() error        { return nil }

func (g ginApp) Serve(fn Handler) Server {
	exchanges := sync.Pool{New: func() any { return new(ginExchange) }}
	engine := gin.New()
	engine.Use(sessions.Sessions("session", g.store))
	engine.GET("/", func(c *gin.Context) {
		x := exchanges.Get().(*ginExchange)
		x.c = c
		fn(x)
		exchanges.Put(x)
	})
	return httpServer{engine}
}

type ginExchange struct{ c *gin.Context }

func (x *ginExchange) Text(key string) string {
	text, _ := sessions.Default(x.c).Get(key).(string)
	return text
}

func (x *ginExchange) Count(key string) int {
	n, _ := sessions.Default(x.c).Get(key).(int)
	return n
}

func (x *ginExchange) SetText(key, value string)  { sessions.Default(x.c).Set(key, value) }
func (x *ginExchange) SetCount(key string, n int) { sessions.Default(x.c).Set(key, n) }
func (x *ginExchange) Login(user string)          { x.SetText(userKey, user) }
func (x *ginExchange) Renew()                     {} // there is no way to a new ID
func (x *ginExchange) User() string               { return x.Text(userKey) }
func (x *ginExchange) Reply()                     { _, _ = x.c.Writer.Write(reply) }

func (x *ginExchange) Logout() {
	s := sessions.Default(x.c)
	s.Clear()
	s.Options(sessions.Options{Path: "/", MaxAge: -1})
}

func (x *ginExchange) Save() {
	if err := sessions.Default(x.c).Save(); err != nil {
		x.c.String(http.StatusInternalServerError, err.Error())
	}
}
