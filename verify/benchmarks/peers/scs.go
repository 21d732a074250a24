package peers

import (
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

// scsMemory is configured after the README of alexedwards/scs. It has no signed cookie.
var scsMemory = Library{"scs, memory", "github.com/alexedwards/scs/v2", Memory, func(string) (App, error) {
	s := &scsApp{manager: scs.New()}
	s.store = s.manager.Store
	s.manager.IdleTimeout, s.manager.Lifetime = idleTimeout, lifetime
	// As its default, but for the log line.
	s.manager.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, _ error) {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
	return s, nil
}}

type scsApp struct {
	manager *scs.SessionManager
	store   scs.Store
}

func (s *scsApp) SetOutage(on bool) bool {
	if s.manager.Store = s.store; on {
		s.manager.Store = scsOutage{}
	}
	return true
}

// Close leaves the store's cleanup running: to stop it soon after its start is a data race in this version.
func (s *scsApp) Close() error { return nil }

func (s *scsApp) Serve(fn Handler) Server {
	exchanges := sync.Pool{New: func() any { return &scsExchange{manager: s.manager} }}
	return httpServer{s.manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchanges.Get().(*scsExchange)
		x.w, x.r = w, r
		fn(x)
		exchanges.Put(x)
	}))}
}

type scsExchange struct {
	manager *scs.SessionManager
	w       http.ResponseWriter
	r       *http.Request
}

func (x *scsExchange) Text(key string) string     { return x.manager.GetString(x.r.Context(), key) }
func (x *scsExchange) Count(key string) int       { return x.manager.GetInt(x.r.Context(), key) }
func (x *scsExchange) SetText(key, value string)  { x.manager.Put(x.r.Context(), key, value) }
func (x *scsExchange) SetCount(key string, n int) { x.manager.Put(x.r.Context(), key, n) }
func (x *scsExchange) User() string               { return x.Text(userKey) }
func (x *scsExchange) Save()                      {}
func (x *scsExchange) Reply()                     { _, _ = x.w.Write(reply) }

// Login renews the token first, as "Preventing session fixation" in its README says.
func (x *scsExchange) Login(user string) {
	x.Renew()
	x.SetText(userKey, user)
}

func (x *scsExchange) Renew()  { x.check(x.manager.RenewToken(x.r.Context())) }
func (x *scsExchange) Logout() { x.check(x.manager.Destroy(x.r.Context())) }

func (x *scsExchange) check(err error) {
	if err != nil {
		http.Error(x.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// scsOutage is a store that can't be reached.
type scsOutage struct{}

func (scsOutage) Find(string) ([]byte, bool, error)      { return nil, false, errOutage }
func (scsOutage) Commit(string, []byte, time.Time) error { return errOutage }
func (scsOutage) Delete(string) error                    { return errOutage }
