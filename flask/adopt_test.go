package flask_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/flask/flaskfiles"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// move is an application that has moved to the native layout, beside Flask-Session's files.
type move struct {
	t       *testing.T
	old     store.Store
	adopter *flask.Adopter
	manager *session.Manager
}

func newMove(t *testing.T, old store.Store, keep bool) *move {
	t.Helper()
	return newMoveTo(t, memstore.New(nil), old, keep)
}

func newMoveTo(t *testing.T, native, old store.Store, keep bool) *move {
	t.Helper()
	a, err := flask.NewAdopter(flask.AdopterOptions{Store: old, Serializer: flask.Pickle, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: native, Adopt: a.Adopt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return &move{t, old, a, m}
}

func flaskFiles(t *testing.T) store.Store {
	t.Helper()
	s, err := flaskfiles.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// write stores a session as Flask does.
func (m *move) write(values map[string]any) (sid string) {
	m.t.Helper()
	var members []session.Member
	for name, value := range values {
		data, err := flask.Pickle.Marshal(value)
		if err != nil {
			m.t.Fatal(err)
		}
		members = append(members, session.Member{Name: name, Value: data})
	}
	data, err := flask.Pickle.Join(members)
	if err != nil {
		m.t.Fatal(err)
	}
	ids, _ := flask.SID(nil, "")
	_, sid = ids.New()
	if err := m.old.Create(m.t.Context(),
		store.Record{Key: sid, Version: 1, ExpiresAt: time.Now().Add(time.Hour), Data: data}); err != nil {
		m.t.Fatal(err)
	}
	return sid
}

// visit sends a request with Flask's cookie and perhaps ours.
func (m *move) visit(sid string, ours *http.Cookie, handle func(*http.Request, *session.Session)) (*http.Response,
	*http.Cookie) {
	m.t.Helper()
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: sid})
	if ours != nil {
		r.AddCookie(ours)
	}
	w := httptest.NewRecorder()
	m.manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		handle(r, session.From(r))
	})).ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		ours = c
	}
	return w.Result(), ours
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		m := newMove(t, flaskFiles(t), keep)
		sid := m.write(map[string]any{
			"_user_id": "ann", "_fresh": true, "_permanent": true, "_flashes": []any{flask.Tuple{"info", "hi"}}, "n": 5,
			"b":   []byte{0, 255},
			"set": flask.Set{"a"}, "uuid": flask.UUID{1},
			"at": flask.Naive(time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)),
		})
		res, ours := m.visit(sid, nil, func(_ *http.Request, s *session.Session) {
			b, _ := session.Key[[]byte]("b").Get(s)
			flashes := s.Flashes()
			n, _ := s.Get("n")
			got := fmt.Sprintf("%s %v %v %v %v", s.Principal(), n, b, flashes, s.Keys())
			if want := "ann 5 [0 255] [{info hi}] [at b n set uuid]"; got != want {
				t.Errorf("keep %v: got %s, want %s", keep, got, want)
			}
		})
		if res.StatusCode != 200 || ours == nil || ours.MaxAge == 0 {
			t.Fatalf("keep %v: got status %d and cookie %v, want a persistent one", keep, res.StatusCode, ours)
		}
		rec, err := m.old.Load(t.Context(), sid)
		if keep && (err != nil || rec.Kind != store.Live) || !keep && (err != nil || rec.Kind != store.Ended) {
			t.Errorf("keep %v: Flask's session is %v, %v", keep, rec.Kind, err)
		}
		m.visit(sid, ours, func(r *http.Request, s *session.Session) {
			if s.Principal() != "ann" || s.IsNew() {
				t.Errorf("keep %v: the adopted session is not there again", keep)
			}
			s.Logout()
			if keep {
				if err := m.adopter.End(r); err != nil {
					t.Error(err)
				}
			}
		})
		m.visit(sid, nil, func(_ *http.Request, s *session.Session) {
			if s.Principal() != "" || s.Len() != 0 {
				t.Errorf("keep %v: after a logout the session was adopted again", keep)
			}
		})
	}
}

// overtaken is a store in which a Flask process changes the session after it was read, once.
type overtaken struct {
	store.Store
	change func()
}

func (o *overtaken) Load(ctx context.Context, key string) (store.Record, error) {
	rec, err := o.Store.Load(ctx, key)
	if o.change != nil {
		o.change()
		o.change = nil
	}
	return rec, err
}

func TestAdoptWhileFlaskWrites(t *testing.T) {
	t.Parallel()
	files := flaskFiles(t)
	st := &overtaken{Store: files}
	m := newMove(t, st, false)
	sid := m.write(map[string]any{"_user_id": "ann", "a": 1, "gone": 1})
	newer := m.write(map[string]any{"_user_id": "ann", "a": 2, "b": 3})
	st.change = func() {
		now, err := files.Load(t.Context(), sid)
		next, err2 := files.Load(t.Context(), newer)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		next.Key = sid
		if err := files.Replace(t.Context(), next, now.Version); err != nil {
			t.Fatal(err)
		}
	}
	m.visit(sid, nil, func(_ *http.Request, s *session.Session) {
		a, _ := s.Get("a")
		b, _ := s.Get("b")
		if _, gone := s.Get("gone"); gone || a != int64(2) || b != int64(3) || s.Principal() != "ann" {
			t.Errorf("got a %v, b %v, keys %v; want what Flask wrote last", a, b, s.Keys())
		}
	})
	if rec, err := files.Load(t.Context(), sid); err != nil || rec.Kind != store.Ended {
		t.Errorf("Flask's session is %v, %v; want ended", rec.Kind, err)
	}
}

// broken fails.
type broken struct{ store.Store }

func (broken) Load(context.Context, string) (store.Record, error) {
	return store.Record{}, errors.New("down")
}

// full takes no new session.
type full struct{ store.Store }

func (full) Create(context.Context, store.Record) error { return errors.New("full") }

// TestAdoptLosesNothing: Flask's session ends when it is in its new place, and not before.
func TestAdoptLosesNothing(t *testing.T) {
	t.Parallel()
	m := newMoveTo(t, full{memstore.New(nil)}, flaskFiles(t), false)
	sid := m.write(map[string]any{"_user_id": "ann"})
	if res, _ := m.visit(sid, nil, func(*http.Request, *session.Session) {}); res.StatusCode !=
		http.StatusServiceUnavailable {
		t.Errorf("got status %d, want 503", res.StatusCode)
	}
	if rec, err := m.old.Load(t.Context(), sid); err != nil || rec.Kind != store.Live {
		t.Errorf("Flask's session is %v, %v; want as it was", rec.Kind, err)
	}
}

func TestAdoptFailsClosed(t *testing.T) {
	t.Parallel()
	m := newMove(t, broken{}, false)
	ids, _ := flask.SID(nil, "")
	sid, _ := ids.New()
	res, ours := m.visit(sid, nil, func(_ *http.Request, s *session.Session) { s.Set("a", 1) })
	if res.StatusCode != http.StatusServiceUnavailable || ours != nil {
		t.Errorf("got status %d, cookie %v; want 503 and none", res.StatusCode, ours)
	}
	for _, bad := range []string{"", "x", "../../etc/passwd", "session:" + sid} {
		if res, _ := m.visit(bad, nil, func(_ *http.Request, s *session.Session) {}); res.StatusCode != 200 {
			t.Errorf("cookie %q: got status %d, want 200 without a look at the store", bad, res.StatusCode)
		}
	}
	if _, err := flask.NewAdopter(flask.AdopterOptions{}); err == nil {
		t.Error("an Adopter without a Store was made")
	}
}

// counted counts the loads, and does not answer some keys before the context ends.
type counted struct {
	store.Store
	loads  map[string]int
	silent bool
}

func (c *counted) Load(ctx context.Context, key string) (store.Record, error) {
	c.loads[key]++
	if c.silent {
		<-ctx.Done()
		return store.Record{}, ctx.Err()
	}
	return c.Store.Load(ctx, key)
}

// TestAdoptIsBounded: whatever cookies a request has, at most three sessions are loaded, each once, within
// StoreTimeout.
func TestAdoptIsBounded(t *testing.T) {
	t.Parallel()
	ids, _ := flask.SID(nil, "")
	request := func(n, times int) *http.Request {
		r := httptest.NewRequest("GET", "https://example.com/", nil)
		for range n {
			sid, _ := ids.New()
			for range times {
				r.AddCookie(&http.Cookie{Name: "session", Value: sid})
			}
		}
		return r
	}
	for _, c := range []struct {
		cookies, times, loads int
		endFails              bool
	}{
		{2999, 1, 3, true}, {1, 2999, 1, false}, {3, 100, 3, false}, {4, 1, 3, true}, {0, 0, 0, false},
	} {
		st := &counted{Store: flaskFiles(t), loads: map[string]int{}}
		m := newMove(t, st, false)
		r := request(c.cookies, c.times)
		w := httptest.NewRecorder()
		m.manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			session.From(r).Get("a")
		})).ServeHTTP(w, r)
		if total(st.loads) != c.loads || len(st.loads) != c.loads || w.Code != 200 {
			t.Errorf("%d cookies, each %d times: Adopt made %d loads of %d sessions, want %d; status %d",
				c.cookies, c.times, total(st.loads), len(st.loads), c.loads, w.Code)
		}
		clear(st.loads)
		if err := m.adopter.End(r); (err != nil) != c.endFails || total(st.loads) != c.loads {
			t.Errorf("%d cookies, each %d times: End made %d loads, want %d, and returned %v", c.cookies,
				c.times, total(st.loads), c.loads, err)
		}
	}

	st := &counted{Store: flaskFiles(t), loads: map[string]int{}, silent: true}
	a, err := flask.NewAdopter(flask.AdopterOptions{Store: st, StoreTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: memstore.New(nil), Adopt: a.Adopt})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { session.From(r).Get("a") })).ServeHTTP(w,
		request(3, 1))
	if w.Code != http.StatusServiceUnavailable || total(st.loads) != 1 {
		t.Errorf("a store that does not answer: got status %d after %d loads, want 503 after one", w.Code,
			total(st.loads))
	}
	if err := a.End(request(3, 1)); err == nil {
		t.Error("a store that does not answer: End reported no error")
	}
	if _, err := flask.NewAdopter(flask.AdopterOptions{Store: st, StoreTimeout: -1}); err == nil {
		t.Error("a negative StoreTimeout was taken")
	}
}

func total(loads map[string]int) (n int) {
	for _, times := range loads {
		n += times
	}
	return n
}

// dated is a store that knows when its sessions began.
type dated struct {
	store.Store
	at time.Time
}

func (d *dated) Load(ctx context.Context, key string) (store.Record, error) {
	rec, err := d.Store.Load(ctx, key)
	rec.CreatedAt = d.at
	return rec, err
}

// TestAdoptKeepsTheTime: where the old record says when the login was, Lifetime counts from then.
func TestAdoptKeepsTheTime(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		// Lifetime is 30 days
		for age, want := range map[time.Duration]string{time.Hour: "ann", 31 * 24 * time.Hour: ""} {
			at := time.Now().Add(-age).Truncate(time.Millisecond)
			m := newMove(t, &dated{flaskFiles(t), at}, keep)
			sid := m.write(map[string]any{"_user_id": "ann", "n": 5})
			var ours *http.Cookie
			for range 2 {
				_, ours = m.visit(sid, ours, func(_ *http.Request, s *session.Session) {
					n, there := s.Get("n")
					if s.Principal() != want || there != (want != "") {
						t.Errorf("keep %v, age %v: got principal %q and n %v, want %q",
							keep, age, s.Principal(), n, want)
					}
				})
			}
			if live := ours != nil && ours.MaxAge >= 0; live != (want != "") {
				t.Errorf("keep %v, age %v: got cookie %v", keep, age, ours)
			}
		}
	}
}
