package peers

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

const hipflaskModule = "github.com/hipflask/session"

var (
	hipflaskMemory = Library{"Hipflask, memory", hipflaskModule, Memory, func(string) (App, error) {
		return openHipflask(session.Config{Store: memstore.New(nil)}, nil)
	}}
	// With Config.Trace, which costs nothing where it is nil: the row above.
	hipflaskTraced = Library{"Hipflask, memory, traced", hipflaskModule, Memory, func(string) (App, error) {
		var loaded, saved atomic.Int64
		return openHipflask(session.Config{Store: memstore.New(nil), Trace: &session.Trace{
			LoadStart: func(ctx context.Context) context.Context { return ctx },
			LoadDone:  func(_ context.Context, f session.LoadFigures) { loaded.Add(int64(f.Bytes)) },
			SaveStart: func(ctx context.Context, _ session.SaveKind) context.Context { return ctx },
			SaveDone:  func(_ context.Context, f session.SaveFigures) { saved.Add(int64(f.Bytes)) },
		}}, nil)
	}}
	hipflaskFiles = Library{"Hipflask, files", hipflaskModule, Files, func(dir string) (App, error) {
		files, err := filestore.Open(filepath.Join(dir, "hipflask"), nil)
		if err != nil {
			return nil, err
		}
		return openHipflask(session.Config{Store: files}, files.Close)
	}}
	hipflaskEncrypted = Library{"Hipflask, encrypted cookie", hipflaskModule, Cookie, func(string) (App, error) {
		return openHipflask(session.Config{CookieCodec: session.EncryptedCookie}, nil)
	}}
	hipflaskFlask = Library{"Hipflask, Flask's cookie", hipflaskModule, Cookie, func(string) (App, error) {
		return openHipflask(session.Config{CookieCodec: flask.Cookie}, nil)
	}}
)

type hipflask struct {
	manager *session.Manager
	breaker *breaker // nil: no store
	close   func() error
}

func openHipflask(config session.Config, close func() error) (App, error) {
	h := hipflask{close: close}
	config.SecretKey = session.NewSecretKey()
	config.InsecureHTTP = true
	config.Logger = slog.New(slog.DiscardHandler)
	config.IdleTimeout, config.Lifetime = idleTimeout, lifetime
	if config.Store != nil {
		h.breaker = &breaker{store: config.Store}
		config.Store = h.breaker
	}
	var err error
	h.manager, err = session.New(config)
	return h, err
}

func (h hipflask) SetOutage(on bool) bool {
	if h.breaker != nil {
		h.breaker.broken.Store(on)
	}
	return h.breaker != nil
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

func (x *hipflaskExchange) Login(user string) { session.From(x.r).Login(user) }
func (x *hipflaskExchange) Renew()            { session.From(x.r).Renew() }
func (x *hipflaskExchange) User() string      { return session.From(x.r).Principal() }
func (x *hipflaskExchange) Logout()           { session.From(x.r).Logout() }
func (x *hipflaskExchange) Save()             {}
func (x *hipflaskExchange) Reply()            { _, _ = x.w.Write(reply) }

// breaker is a store that can be out of reach.
type breaker struct {
	store  store.Store
	broken atomic.Bool
}

func (b *breaker) err() error {
	if b.broken.Load() {
		return errOutage
	}
	return nil
}

func (b *breaker) Load(ctx context.Context, key string) (store.Record, error) {
	if err := b.err(); err != nil {
		return store.Record{}, err
	}
	return b.store.Load(ctx, key)
}

func (b *breaker) Create(ctx context.Context, rec store.Record) error {
	if err := b.err(); err != nil {
		return err
	}
	return b.store.Create(ctx, rec)
}

func (b *breaker) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if err := b.err(); err != nil {
		return err
	}
	return b.store.Replace(ctx, rec, version)
}

func (b *breaker) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if err := b.err(); err != nil {
		return err
	}
	return b.store.Touch(ctx, key, version, seen, expires)
}

func (b *breaker) Delete(ctx context.Context, key string) error {
	if err := b.err(); err != nil {
		return err
	}
	return b.store.Delete(ctx, key)
}

func (b *breaker) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return b.store.(store.Lister).Principal(ctx, principal)
}

func (b *breaker) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return b.store.(store.Lister).All(ctx)
}
