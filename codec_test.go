package session_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
)

// A session that is only read after the first byte asks for nothing that is too late, though its idle timeout would be
// due to move.
func TestCodecReadAfterHeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, encrypted)
		cookie := b.cookie(t, setPlain)
		time.Sleep(2 * time.Hour)
		b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("first byte"))
			s := session.From(r)
			if _, ok := s.Get("color"); !ok {
				t.Error("the session is not there")
			}
			if err := s.Save(r.Context()); err != nil || s.Err() != nil {
				t.Errorf("got %v and %v from a session that was only read", err, s.Err())
			}
		})
		equal(t, "events", b.events.took(), []string{"read late"})
		b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("first byte"))
			s := session.From(r)
			s.Set("color", "red")
			if err := s.Save(r.Context()); !errors.Is(err, session.ErrTooLate) {
				t.Errorf("got %v, want %v", err, session.ErrTooLate)
			}
		})
		b.events.mu.Lock()
		if e := b.events.events; len(e) != 2 || e[1].Kind != session.EventTooLate || e[1].Key != "color" {
			t.Errorf("got events %v, want one that the change of color was too late", e)
		}
		b.events.mu.Unlock()
	})
}

// What other goroutines of the request change while a save is under way is kept, once.
func TestChangeWhileSaving(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, option)
			count := session.Key[int]("count")
			s := mustLoad(t, b, "")
			runs, saving, changed := 0, make(chan bool), make(chan bool)
			count.Update(s, func(n int) int {
				if runs++; runs == 2 { // within Save
					saving <- true
					<-changed
				}
				return n + 1
			})
			go func() {
				<-saving
				count.Update(s, func(n int) int { return n + 10 })
				s.Set("color", "green")
				s.SetLabel("Firefox")
				changed <- true
			}()
			for range 2 {
				if err := s.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for where, s := range map[string]*session.Session{"here": s,
				"as a client has it": mustLoad(t, b, s.Token())} {
				if n := count.Or(s, 0); n != 11 {
					t.Errorf("%s: got a count of %d, want 1 and 10 added once each", where, n)
				}
				if v, _ := s.Get("color"); v != "green" || s.Info().Label != "Firefox" {
					t.Errorf("%s: got %v and label %q, want green and Firefox", where, v, s.Info().Label)
				}
			}
		})
	}
}

// After a change that came too late, a Save of nothing is one of nothing; Err remembers.
func TestCodecSaveAfterTooLate(t *testing.T) {
	t.Parallel()
	for kind, option := range kinds {
		b := newBench(t, option)
		b.get(t, b.cookie(t, setPlain), func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r)
			s.Get("color")
			w.Write([]byte("first byte"))
			s.Renew()
			if err := s.Save(r.Context()); !errors.Is(err, session.ErrTooLate) {
				t.Errorf("%s: got %v, want %v", kind, err, session.ErrTooLate)
			}
			for range 2 {
				if err := s.Save(r.Context()); err != nil {
					t.Errorf("%s: Save of nothing: got %v, want nil", kind, err)
				}
			}
			if !errors.Is(s.Err(), session.ErrTooLate) {
				t.Errorf("%s: Err: got %v, want %v", kind, s.Err(), session.ErrTooLate)
			}
		})
		equal(t, kind+": events", b.events.took(), []string{"too late"})
	}
}

// A logout from a cookie needs the header: after it, the browser keeps the session, and Err and an event say so.
func TestCodecLogoutTooLate(t *testing.T) {
	t.Parallel()
	b := newBench(t, encrypted)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Principal()
		w.Write([]byte("first byte"))
		s.Logout()
		s.Flash("bye")
		if err := s.Save(r.Context()); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("got %v, want %v", err, session.ErrTooLate)
		}
	})
	b.events.mu.Lock()
	defer b.events.mu.Unlock()
	if e := b.events.events; len(e) != 1 || e[0].Kind != session.EventTooLate || e[0].Principal != "ann" {
		t.Errorf("got events %v, want one that says whose logout was too late", e)
	}
}
