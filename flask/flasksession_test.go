package flask_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store/memstore"
)

// TestLayoutNeedsItsIDs: a store in Flask-Session's layout under IDs of our own would hold sessions that Flask can't
// read.
func TestLayoutNeedsItsIDs(t *testing.T) {
	t.Parallel()
	_, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: flaskFiles(t)})
	if err == nil || !strings.Contains(err.Error(), "IDFormat") || !strings.Contains(err.Error(), "flask.SID") {
		t.Errorf("got %v, want an error that names IDFormat and flask.SID", err)
	}
}

// TestNativeLayoutWithFlaskIDs is an application whose sessions "hipflask migrate" has moved: Flask-Session's IDs and
// documents in a store of our own layout, which has an index.
func TestNativeLayoutWithFlaskIDs(t *testing.T) {
	t.Parallel()
	m, err := session.New(session.Config{
		SecretKey: "dev", Store: memstore.New(nil), IDFormat: flask.SID, Serializer: flask.Msgpack, Lifetime: time.Hour,
		Cookie: session.Cookie{Name: "session"}, InsecureHTTP: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, cookie := serve(m, "", change(func(s *session.Session) { s.Login("ann"); s.SetLabel("Firefox") }))
	serve(m, cookie, change(func(s *session.Session) {
		if i := s.Info(); s.Principal() != "ann" || i.Label != "Firefox" || time.Since(i.CreatedAt) > time.Minute {
			t.Errorf("got %+v", i)
		}
	}))
	if n, err := m.RevokeAll(t.Context(), "ann"); n != 1 || err != nil {
		t.Errorf("RevokeAll: got %d, %v; want 1", n, err)
	}
	serve(m, cookie, change(func(s *session.Session) {
		if s.Principal() != "" {
			t.Error("a revoked session is there")
		}
	}))
}
