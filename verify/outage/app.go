package outage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// visits is what the application counts in each session.
const visits = session.Key[int]("visits")

// server is one server of the application, with a Manager and a store of its own.
type server struct {
	manager *session.Manager
	http    *httptest.Server
}

// fate is what a server knows of a request, and its answer does not tell.
type fate struct{ uncertain, unavailable, dropped atomic.Bool }

type fateKey struct{}

// header numbers the requests, so that a client can ask for their fate.
const header = "Request"

// serve starts a server.
func (s *Site) serve(st store.Store) (*server, error) {
	c := session.Config{
		SecretKey: s.key, InsecureHTTP: true, Store: st, StoreTimeout: s.StoreTimeout,
		Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(ctx context.Context, e session.Event) {
			f, ok := ctx.Value(fateKey{}).(*fate)
			switch {
			case !ok:
			case e.Kind == session.EventUncertain:
				f.uncertain.Store(true)
			case e.Kind == session.EventUnavailable, e.Kind == session.EventContention:
				f.unavailable.Store(true)
			case e.Kind == session.EventDropped:
				f.dropped.Store(true)
			}
		},
	}
	if s.Configure != nil {
		s.Configure(&c)
	}
	m, err := session.New(c)
	if err != nil {
		return nil, err
	}
	app := m.Handler(application())
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f, ok := s.fates.Load(r.Header.Get(header)); ok {
			r = r.WithContext(context.WithValue(r.Context(), fateKey{}, f))
		}
		app.ServeHTTP(w, r)
	}))
	return &server{m, h}, nil
}

// handled is a header of every answer of the application itself.
const handled = "Handled"

// application is what the clients use. It does not look at errors: that nothing goes out that is not stored is what is
// to be shown. Each answer is the principal and the number of visits, "?" if the handler has not made sure of it.
func application() http.Handler {
	answer := func(w http.ResponseWriter, s *session.Session, n string) {
		w.Header().Set(handled, "yes")
		fmt.Fprintf(w, "[%s] %s", s.Principal(), n)
	}
	current := func(s *session.Session) string { return strconv.Itoa(visits.Or(s, 0)) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /read", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		answer(w, s, current(s))
	})
	mux.HandleFunc("POST /count", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		if s.Principal() == "" {
			answer(w, s, "0")
			return
		}
		visits.Update(s, func(n int) int { return n + 1 })
		if r.FormValue("renew") != "" {
			s.Renew()
		}
		if r.FormValue("save") == "" { // the answer's first byte saves
			answer(w, s, "?")
			return
		}
		if err := s.Save(r.Context()); err == nil || !errors.Is(err, session.ErrUnavailable) {
			answer(w, s, current(s))
			return
		}
		answer(w, s, "?") // the first byte tries again
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Login(r.FormValue("as"))
		answer(w, s, "?")
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Logout()
		answer(w, s, "?")
	})
	return mux
}

// revoke ends all sessions of a principal, as an administrator would.
func (s *Site) revoke(ctx context.Context, on int, principal string) error {
	ctx, cancel := context.WithTimeout(ctx, s.bound())
	defer cancel()
	began := time.Now()
	_, err := s.servers[on].manager.RevokeAll(ctx, principal)
	s.inTime("RevokeAll", time.Since(began))
	return err
}
