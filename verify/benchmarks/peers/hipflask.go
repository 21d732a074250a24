package peers

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

// Ours is the module of this library.
const Ours = "github.com/hipflask/session"

var (
	hipflaskMemory = Library{"Hipflask, memory", Ours, Memory, func(string) (App, error) {
		return openHipflask(session.Config{Store: memstore.New(nil)}, nil)
	}}
	// With Config.Trace, which costs nothing where it is nil: the row above.
	hipflaskTraced = Library{"Hipflask, memory, traced", Ours, Memory, func(string) (App, error) {
		var loaded, saved atomic.Int64
		return openHipflask(session.Config{Store: memstore.New(nil), Trace: &session.Trace{
			LoadStart: func(ctx context.Context) context.Context { return ctx },
			LoadDone:  func(_ context.Context, f session.LoadFigures) { loaded.Add(int64(f.Bytes)) },
			SaveStart: func(ctx context.Context, _ session.SaveKind) context.Context { return ctx },
			SaveDone:  func(_ context.Context, f session.SaveFigures) { saved.Add(int64(f.Bytes)) },
		}}, nil)
	}}
	hipflaskFiles = Library{"Hipflask, files", Ours, Files, func(dir string) (App, error) {
		files, err := filestore.Open(filepath.Join(dir, "hipflask"), nil)
		if err != nil {
			return nil, err
		}
		return openHipflask(session.Config{Store: files}, files.Close)
	}}
	hipflaskEncrypted = Library{"Hipflask, encrypted cookie", Ours, Cookie, func(string) (App, error) {
		return openHipflask(session.Config{CookieCodec: session.EncryptedCookie}, nil)
	}}
	hipflaskFlask = Library{"Hipflask, Flask's cookie", Ours, Cookie, func(string) (App, error) {
		return openHipflask(session.Config{CookieCodec: flask.Cookie}, nil)
	}}
)

type hipflask struct {
	manager *session.Manager
	outage  *sessiontest.FailStore // nil: no store
	close   func() error
}

func openHipflask(config session.Config, close func() error) (App, error) {
	h := hipflask{close: close}
	config.SecretKey = session.NewSecretKey()
	config.InsecureHTTP = true
	config.Logger = slog.New(slog.DiscardHandler)
	config.IdleTimeout, config.Lifetime = idleTimeout, lifetime
	if config.Store != nil {
		h.outage = &sessiontest.FailStore{Store: config.Store}
		config.Store = struct { // without LoadStale, which would first look whether the store has it
			store.Store
			store.Lister
		}{h.outage, h.outage}
	}
	var err error
	h.manager, err = session.New(config)
	return h, err
}

func (h hipflask) SetOutage(on bool) bool {
	if h.outage != nil && on {
		h.outage.Fail(errOutage)
	} else if h.outage != nil {
		h.outage.Fail(nil)
	}
	return h.outage != nil
}

func (h hipflask) Close() error {
	err := h.manager.Close()
	if h.close != nil {
		err = h.close()
	}
	return err
}

func (h hipflask) Serve(fn Handler) Server {
	exchanges := sync.Pool{New: func() any { return new(hipflaskExchange) }}
	return httpServer{h.manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchanges.Get().(*hipflaskExchange)
		x.w, x.r = w, r
		fn(x)
		exchanges.Put(x)
	}))}
}

type hipflaskExchange struct {
	w http.ResponseWriter
	r *http.Request
}

func (x *hipflaskExchange) Text(key string) string {
	return session.Key[string](key).Or(session.From(x.r), "")
}
func (x *hipflaskExchange) Count(key string) int {
	return session.Key[int](key).Or(session.From(x.r), 0)
}

func (x *hipflaskExchange) SetText(key, value string) {
	session.Key[string](key).Set(session.From(x.r), value)
}

func (x *hipflaskExchange) SetCount(key string, n int) {
	session.Key[int](key).Set(session.From(x.r), n)
}

func (x *hipflaskExchange) Increment(key string) {
	session.Key[int](key).Update(session.From(x.r), func(n int) int { return n + 1 })
}

func (x *hipflaskExchange) Login(user string) { session.From(x.r).Login(user) }
func (x *hipflaskExchange) Renew()            { session.From(x.r).Renew() }
func (x *hipflaskExchange) User() string      { return session.From(x.r).Principal() }
func (x *hipflaskExchange) Logout()           { session.From(x.r).Logout() }
func (x *hipflaskExchange) Save()             {}
func (x *hipflaskExchange) Reply()            { _, _ = x.w.Write(reply) }
