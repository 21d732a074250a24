package storeurl_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
)

func init() {
	holes = append(holes, hole{"the server accepts no connection", (*servertest.Proxy).Full, 3 * time.Second})
}

// A server that accepts no connection keeps no call of the store longer than its context, however often the store
// connects.
func TestFullBacklog(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*servertest.Server{
		"redis": redis(), "postgres": postgres(), "mariadb": mariadb(), "memcached": memcached(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := server.URL
			if name == "memcached" {
				url = "memcached://" + server.Addr
			}
			fullBacklog(t, server, url)
		})
	}
}

func fullBacklog(t *testing.T, server *servertest.Server, url string) {
	const (
		timeout = 100 * time.Millisecond
		little  = 1500 * time.Millisecond // less than any client's own timeout
	)
	proxy := servertest.NewProxy(t, server.Addr)
	s := open(t, strings.Replace(url, server.Addr, proxy.Addr, 1))
	rec := store.Record{Key: "full", Version: 1, Handle: "full", Data: []byte("{}"), CreatedAt: time.Now(),
		LastSeenAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	if err := s.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	proxy.Full()
	for name, call := range map[string]func(context.Context) error{
		"Load":    func(ctx context.Context) error { _, err := s.Load(ctx, rec.Key); return err },
		"Create":  func(ctx context.Context) error { return s.Create(ctx, rec) },
		"Replace": func(ctx context.Context) error { return s.Replace(ctx, rec, rec.Version) },
		"Touch": func(ctx context.Context) error {
			return s.Touch(ctx, rec.Key, rec.Version, rec.LastSeenAt, rec.ExpiresAt)
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, rec.Key) },
	} {
		least := time.Hour // of several calls: a busy machine makes some of them longer
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			began := time.Now()
			err := call(ctx)
			cancel()
			least = min(least, time.Since(began))
			if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) ||
				errors.Is(err, store.ErrExists) {
				t.Errorf("%s: got error %v, want one of the connection", name, err)
			}
		}
		if least > timeout+little {
			t.Errorf("%s: took %v or longer, and its context %v", name, least, timeout)
		}
	}
	proxy.Pass()
	for began := time.Now(); ; {
		_, err := s.Load(t.Context(), rec.Key)
		if err == nil || errors.Is(err, store.ErrNotFound) { // a Delete that was given up may have arrived
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("the store does not work again: %v", err)
		}
	}
}
