package peers

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/labstack/echo/v4"
)

const gorillaModule = "github.com/gorilla/sessions"

// The stores of gorilla/sessions, configured after its README: an authentication key of 64 bytes, an encryption key of
// 32 for the encrypted cookie. Its idle timeout is the age of the last save.
var (
	gorillaSigned = Library{"gorilla, signed cookie", gorillaModule, Cookie, func(string) (App, error) {
		return openGorillaCookie(securecookie.GenerateRandomKey(64)), nil
	}}
	gorillaEncrypted = Library{"gorilla, encrypted cookie", gorillaModule, Cookie, func(string) (App, error) {
		return openGorillaCookie(securecookie.GenerateRandomKey(64), securecookie.GenerateRandomKey(32)), nil
	}}
	gorillaFiles = Library{"gorilla, files", gorillaModule, Files, func(dir string) (App, error) {
		return openGorillaFiles(dir, "gorilla")
	}}
)

func openGorillaFiles(dir, name string) (*gorillaApp, error) {
	dir = filepath.Join(dir, name)
	s := sessions.NewFilesystemStore(dir, securecookie.GenerateRandomKey(64))
	s.MaxAge(int(idleTimeout.Seconds()))
	s.Options.HttpOnly, s.Options.SameSite = true, http.SameSiteLaxMode
	return &gorillaApp{store: s, dir: dir}, os.Mkdir(dir, 0o700)
}

func openGorillaCookie(keys ...[]byte) *gorillaApp {
	s := sessions.NewCookieStore(keys...)
	s.MaxAge(int(idleTimeout.Seconds()))
	s.Options.HttpOnly, s.Options.Secure, s.Options.SameSite = true, false, http.SameSiteLaxMode
	return &gorillaApp{store: s}
}

type gorillaApp struct {
	store sessions.Store
	dir   string // "": no files
}

// SetOutage takes the folder away.
func (g *gorillaApp) SetOutage(on bool) bool {
	if g.dir == "" {
		return false
	}
	from, to := g.dir, g.dir+".away"
	if !on {
		from, to = to, from
	}
	return os.Rename(from, to) == nil
}

func (g *gorillaApp) Close() error { return nil }

func (g *gorillaApp) Serve(fn Handler) Server {
	get := func(x *gorillaExchange) (*sessions.Session, error) { return g.store.Get(x.r, "session") }
	exchanges := sync.Pool{New: func() any { return &gorillaExchange{get: get} }}
	return httpServer{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchanges.Get().(*gorillaExchange)
		x.w, x.r, x.got = w, r, nil
		fn(x)
		exchanges.Put(x)
	})}
}

type gorillaExchange struct {
	get  func(x *gorillaExchange) (*sessions.Session, error)
	w    http.ResponseWriter
	r    *http.Request
	got  *sessions.Session
	echo echo.Context // of echo-contrib alone
}

// session ignores the error, as the README does: "Get() always returns a session, even if empty."
func (x *gorillaExchange) session() *sessions.Session {
	if x.got == nil {
		x.got, _ = x.get(x)
	}
	return x.got
}

func (x *gorillaExchange) Text(key string) string {
	text, _ := x.session().Values[key].(string)
	return text
}

func (x *gorillaExchange) Count(key string) int {
	n, _ := x.session().Values[key].(int)
	return n
}

func (x *gorillaExchange) SetText(key, value string)  { x.session().Values[key] = value }
func (x *gorillaExchange) SetCount(key string, n int) { x.session().Values[key] = n }
func (x *gorillaExchange) Login(user string)          { x.SetText(userKey, user) }
func (x *gorillaExchange) Renew()                     {} // there is no way to a new ID
func (x *gorillaExchange) User() string               { return x.Text(userKey) }
func (x *gorillaExchange) Logout()                    { x.session().Options.MaxAge = -1 }
func (x *gorillaExchange) Reply()                     { _, _ = x.w.Write(reply) }

func (x *gorillaExchange) Save() {
	if err := x.session().Save(x.r, x.w); err != nil {
		http.Error(x.w, err.Error(), http.StatusInternalServerError)
	}
}
