package edges

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
)

const limit = 10 * time.Second

// slow changes its session before and after http.TimeoutHandler has answered.
func slow(saved chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		visits.Set(s, 1)
		<-r.Context().Done()
		time.Sleep(time.Second) // in a bubble: the answer has been given
		session.Key[string]("late").Set(s, "change")
		_, err := fmt.Fprint(w, "too late")
		if err == nil {
			err = s.Save(r.Context())
		}
		saved <- err
	}
}

// Inside sessions: what was changed until the time was up comes with the answer 503.
func TestTimeoutInside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(t)
		saved := make(chan error, 1)
		w := httptest.NewRecorder()
		s.Handler(http.TimeoutHandler(slow(saved), limit, "too slow")).ServeHTTP(w,
			httptest.NewRequest("GET", "/", nil))
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != "too slow" || len(w.Result().Cookies()) != 1 {
			t.Fatalf("got %d %q with cookies %v, want 503 too slow, and the session's cookie", w.Code,
				w.Body, w.Result().Cookies())
		}
		if err := <-saved; err != http.ErrHandlerTimeout {
			t.Errorf("the late Write: got %v, want ErrHandlerTimeout", err)
		}
		loaded, err := s.Load(t.Context(), w.Result().Cookies()[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := visits.Get(loaded); n != 1 || loaded.Len() != 1 {
			t.Errorf("got %v stored, want what was changed before the answer", loaded.Keys())
		}
	})
}

// Around sessions: the handler's changes are stored when it comes to write, though its answer goes nowhere; so a new
// session has no owner.
func TestTimeoutOutside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(t)
		saved := make(chan error, 1)
		w := httptest.NewRecorder()
		http.TimeoutHandler(s.Handler(slow(saved)), limit, "too slow").ServeHTTP(w,
			httptest.NewRequest("GET", "/", nil))
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != "too slow" ||
			w.Header()["Set-Cookie"] != nil || s.stored() != 0 {
			t.Fatalf("got %d %q, %d stored, want 503 too slow and nothing stored", w.Code, w.Body, s.stored())
		}
		if err := <-saved; err != http.ErrHandlerTimeout {
			t.Errorf("the late Write: got %v, want ErrHandlerTimeout", err)
		}
		synctest.Wait()
		if n := s.stored(); n != 1 {
			t.Errorf("got %d sessions stored in the end, want 1", n)
		}
	})
}

// In time it changes nothing, and a panic goes through it with nothing saved.
func TestTimeoutInTime(t *testing.T) {
	t.Parallel()
	all := newMux(routes{"GET /count": count, "GET /half": half})
	for name, build := range map[string]func(*setup) http.Handler{
		"inside":  func(s *setup) http.Handler { return s.Handler(http.TimeoutHandler(all, patience, "")) },
		"outside": func(s *setup) http.Handler { return http.TimeoutHandler(s.Handler(all), patience, "") },
	} {
		for _, protocol := range protocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := newSetup(t)
				v := visit(t, protocol, build(s))
				v.want(v.get("/count"), http.StatusOK, " 1")
				v.want(v.get("/count"), http.StatusOK, " 2")
				if res, err := v.Get(v.url + "/half"); err == nil {
					res.Body.Close()
					t.Errorf("a panic: got %d, want no answer", res.StatusCode)
				}
				v.storedVisits(s, 2)
				s.store.Fail(errDown)
				v.unavailable(v.get("/count"))
			})
		}
	}
}
