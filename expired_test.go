package session_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

// TestWhyASessionIsGone: the event of a refused cookie names the timeout, while the store still knows, and the session.
func TestWhyASessionIsGone(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return memstore.New(nil) },
		"files": func(t *testing.T) store.Store {
			s, err := filestore.Open(filepath.Join(t.TempDir(), "sessions"), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			for _, c := range []struct {
				after time.Duration // between requests
				want  session.Reason
			}{{90 * time.Minute, session.ReasonIdle}, {45 * time.Minute, session.ReasonLifetime}} {
				var last session.Event
				b := newBench(t, func(c *session.Config) {
					c.Store, c.IdleTimeout, c.Lifetime = open(t), time.Hour, 2*time.Hour
					c.SweepInterval = -1
					c.OnEvent = func(_ context.Context, e session.Event) { last = e }
				})
				s, err := b.Load(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				s.Login("ann")
				if err := s.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
				cookie, handle := hostCookie+"="+s.Token(), s.Info().Handle
				for range 4 {
					time.Sleep(c.after)
					b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Principal() })
				}
				if last.Kind != session.EventRejected || last.Reason != c.want || last.Handle != handle || last.Principal != "ann" {
					t.Errorf("%s, a request every %v: got %+v, want rejected, %s, with handle and principal", name, c.after, last, c.want)
				}
			}
		})
	}
}
