package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/memstore"
)

func load(t testing.TB, m *session.Manager, token string) *session.Session {
	t.Helper()
	s, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A session that begins outside of a request, and goes on in one.
func TestLoadANewSession(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	s := load(t, m, "")
	check(t, "new", s.IsNew(), true)
	check(t, "contents", contents(s), nothing)
	is(t, "Save of nothing", s.Save(t.Context()), nil)
	check(t, "cookie of nothing", m.Cookie(s), nil)
	check(t, "token of nothing", s.Token(), "")

	s.Login("ann")
	s.Set("a", 1)
	check(t, "cookie before Save", m.Cookie(s), nil)
	is(t, "Save", s.Save(t.Context()), nil)
	c.cookie = m.Cookie(s)
	check(t, "cookie", c.value(), s.Token())
	c.want([]*session.Manager{m}, "in a request", "ann: [a=1]")
}

func TestLoadByToken(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Set("a", 1) })
	s := load(t, ms[1], c.value())
	check(t, "new", s.IsNew(), false)
	check(t, "contents", contents(s), ": [a=1]")
	check(t, "token", s.Token(), c.value())
	s.Set("b", 2)
	is(t, "Save", s.Save(t.Context()), nil)
	check(t, "cookie, the ID did not change", ms[1].Cookie(s), nil)
	c.want(ms, "after Save", ": [a=1 b=2]")

	s.Renew()
	is(t, "Save after Renew", s.Save(t.Context()), nil)
	renewed := ms[1].Cookie(s)
	check(t, "cookie after Renew", renewed.Value, s.Token())
	check(t, "the ID changed", s.Token() == c.value(), false)

	s.Logout()
	is(t, "Save after Logout", s.Save(t.Context()), nil)
	if gone := ms[1].Cookie(s); gone == nil || gone.MaxAge >= 0 {
		t.Errorf("after Logout: got the cookie %v, want its deletion", gone)
	}
	c.want(ms, "after Logout", nothing)
	for _, token := range []string{c.value(), renewed.Value} {
		_, err := ms[0].Load(t.Context(), token)
		is(t, "Load after Logout", err, session.ErrEnded)
	}
}

func TestLoadRefusesAllAlike(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Set("a", 1) })
	other := server(t)
	unknown := newVisitor(t)
	unknown.do(other, func(s *session.Session) { s.Set("a", 1) })
	replaced := c.value()
	c.do(ms[0], func(s *session.Session) { s.Login("ann") })
	ended := c.value()
	c.do(ms[1], (*session.Session).Logout)
	for name, token := range map[string]string{
		"forged": strings.Repeat("A", 43), "short": "A", "ended": ended, "replaced": replaced,
		"unknown": unknown.value(),
	} {
		s, err := ms[0].Load(t.Context(), token)
		if s != nil || err != session.ErrEnded {
			t.Errorf("%s: got %v and %v, want nil and ErrEnded itself", name, s != nil, err)
		}
	}
}

func TestLoadInAnOutage(t *testing.T) {
	t.Parallel()
	fail := &sessiontest.FailStore{Store: memstore.New(nil)}
	m, c := server(t, func(c *session.Config) { c.Store = fail }), newVisitor(t)
	c.do(m, func(s *session.Session) { s.Set("a", 1) })
	s := load(t, m, c.value())
	fail.Fail(errDown)
	got, err := m.Load(t.Context(), c.value())
	check(t, "session", got == nil, true)
	is(t, "Load", err, session.ErrUnavailable)
	is(t, "Reload", s.Reload(t.Context()), session.ErrUnavailable)
	check(t, "contents after Reload failed", contents(s), ": [a=1]")
	s.Set("b", 1)
	is(t, "Save", s.Save(t.Context()), session.ErrUncertain)
	fresh := load(t, m, "")
	fresh.Set("c", 1)
	is(t, "first Save", fresh.Save(t.Context()), session.ErrUnavailable)
	is(t, "Err", fresh.Err(), session.ErrUnavailable)
	check(t, "cookie", m.Cookie(fresh), nil)
	fail.Fail(nil)
	is(t, "first Save, again", fresh.Save(t.Context()), nil)
	is(t, "Err", fresh.Err(), nil)
	is(t, "Reload", load(t, m, c.value()).Reload(t.Context()), nil)
	c.cookie.Value = m.Cookie(fresh).Value
	c.want([]*session.Manager{m}, "after the outage", ": [c=1]")
}

func TestSaveOfAnEndedSession(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Login("ann"); s.Set("a", 1) })
	s := load(t, ms[0], c.value())
	c.do(ms[1], (*session.Session).Logout)
	s.Set("b", 1)
	is(t, "Save", s.Save(t.Context()), session.ErrEnded)
	is(t, "Save again", s.Save(t.Context()), session.ErrEnded)
	is(t, "Err", s.Err(), session.ErrEnded)
	check(t, "contents", contents(s), nothing)
	check(t, "cookie", ms[0].Cookie(s), nil)
	s.Set("c", 1)
	is(t, "Save of more", s.Save(t.Context()), session.ErrEnded)
	s.Login("ann")
	s.Set("d", 1)
	is(t, "Save of a login", s.Save(t.Context()), nil)
	c.cookie = ms[0].Cookie(s)
	c.want(ms, "after the login", "ann: [d=1]")
}

// Saving goes on when the caller's context ends.
func TestSaveIsDetached(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) { s.Set("a", 1) })
	s := load(t, m, c.value())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Set("b", 1)
	is(t, "Save", s.Save(ctx), nil)
	c.want([]*session.Manager{m}, "after Save", ": [a=1 b=1]")
	_, err := m.Load(ctx, c.value())
	if err == nil {
		t.Error("Load with an ended context: got no error")
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { s.Set("a", 1); s.Set("b", 1); total.Set(s, 1) })
	s := load(t, ms[0], c.value())
	s.Set("mine", 1)
	total.Update(s, plus(10))
	c.do(ms[1], func(s *session.Session) { s.Set("a", 2); s.Delete("b"); total.Set(s, 100); s.Set("mine", 0) })
	check(t, "before", contents(s), ": [a=1 b=1 mine=1 total=11]")
	is(t, "Reload", s.Reload(t.Context()), nil)
	check(t, "after", contents(s), ": [a=2 mine=1 total=110]")
	c.want(ms, "nothing is saved by it", ": [a=2 mine=0 total=100]")
	is(t, "Save", s.Save(t.Context()), nil)
	c.want(ms, "after Save", ": [a=2 mine=1 total=110]")
	is(t, "Reload of a new session", load(t, ms[0], "").Reload(t.Context()), nil)
}

func TestReloadNoticesTheEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(s *session.Session)
		err    error
	}{
		"logout":       {(*session.Session).Logout, session.ErrEnded},
		"login again":  {func(s *session.Session) { s.Login("ann") }, session.ErrEnded},
		"another user": {func(s *session.Session) { s.Login("ben") }, session.ErrEnded},
		"renewal":      {(*session.Session).Renew, nil},
		"change":       {func(s *session.Session) { s.Set("b", 1) }, nil},
	} {
		ms, c := servers(t, 2), newVisitor(t)
		c.do(ms[0], func(s *session.Session) { s.Login("ann"); s.Set("a", 1) })
		s := load(t, ms[0], c.value())
		c.do(ms[1], test.change)
		s.Set("pending", 1)
		for range 2 {
			is(t, name+": Reload", s.Reload(t.Context()), test.err)
			is(t, name+": Err", s.Err(), test.err)
			check(t, name+": still somebody's", s.Principal() == "ann", test.err == nil)
			check(t, name+": still has values", s.Len() > 0, test.err == nil)
		}
		is(t, name+": Save", s.Save(t.Context()), test.err)
	}
}

// The token goes in "Authorization: Bearer", and the handler gives it out; there is never a cookie.
func TestBearerTokenFlow(t *testing.T) {
	t.Parallel()
	m := server(t, func(c *session.Config) { c.BearerToken = true })
	request := func(token string, change func(s *session.Session)) *http.Response {
		t.Helper()
		r := httptest.NewRequest("POST", "/", nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			change(session.From(r))
		})).ServeHTTP(w, r)
		silent(t, "answer", w.Result())
		check(t, "Vary", w.Header().Get("Vary"), "Authorization")
		check(t, "status", w.Code, http.StatusOK)
		return w.Result()
	}
	var first, second, third string
	request("", func(s *session.Session) { s.Set("a", 1); first = s.Token() })
	request(first, func(s *session.Session) { s.Login("ann"); second = s.Token() })
	request(first, func(s *session.Session) { check(t, "after the login, the old token", contents(s), nothing) })
	request(second, func(s *session.Session) { s.Renew(); third = s.Token() })
	request(third, func(s *session.Session) { check(t, "renewed", contents(s), "ann: [a=1]") })
	request(second, func(s *session.Session) { check(t, "renewed, the old token", contents(s), "ann: [a=1]") })
	request(second, (*session.Session).Logout)
	for _, token := range []string{first, second, third} {
		request(token, func(s *session.Session) { check(t, "logged out", contents(s), nothing) })
	}
}

type key struct{}

func TestContexts(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	if s, ok := session.FromContext(t.Context()); s != nil || ok {
		t.Error("FromContext found a session where none is")
	}
	c.do(m, func(s *session.Session) { s.Set("a", 1) })
	v := c.start(m, func(v *visit, s *session.Session) {
		got, ok := session.FromContext(context.WithValue(v.r.Context(), key{}, 1))
		check(t, "FromContext in a Handler", ok && got == s, true)
		check(t, "the Manager's From", m.From(v.r) == s, true)
	})
	v.finish()
	check(t, "panic", v.thrown, nil)

	s := load(t, m, c.value())
	ctx := session.NewContext(t.Context(), s)
	got, ok := session.FromContext(ctx)
	check(t, "FromContext of NewContext", ok && got == s, true)
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	check(t, "From", session.From(r) == s, true)
	check(t, "the Manager's From", m.From(r) == s, true)
	got, err := session.Open(r)
	check(t, "Open", got == s && err == nil, true)
	s.Set("b", 1)
	c.want([]*session.Manager{m}, "nobody saves it", ": [a=1]")
	is(t, "Save", s.Save(ctx), nil)
	c.want([]*session.Manager{m}, "but the caller", ": [a=1 b=1]")
}

func TestFromWithoutAHandlerPanics(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/", nil)
	for name, call := range map[string]func(){
		"From":         func() { session.From(r) },
		"Manager.From": func() { server(t).From(r) },
		"Open":         func() { session.Open(r) },
		"Preload":      func() { server(t).Preload(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r) },
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, "Handler") {
					t.Errorf("%s: got panic %q, want one that names the Handler", name, text)
				}
			}()
			call()
		}()
	}
}

// A connection that was taken over lives on: it reads the session again for each message, saves what it changes, and
// notices a logout. What would need a cookie comes too late.
func TestLongLivedConnection(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	srv := httptest.NewServer(ms[0].Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		s.Set("opened", true)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			switch strings.TrimSpace(line) {
			case "count":
				err = s.Reload(r.Context())
				fmt.Fprintln(rw, total.Update(s, plus(1)), err, s.Save(r.Context()))
			case "look":
				fmt.Fprintln(rw, s.Reload(r.Context()), contents(s))
			case "login":
				s.Login("ben")
				fmt.Fprintln(rw, s.Save(r.Context()))
			}
			rw.Flush()
		}
	})))
	defer srv.Close()
	c.do(ms[1], func(s *session.Session) { s.Login("ann"); total.Set(s, 5) })
	r, w := dial(t, srv, c)
	say := func(line, want string) {
		t.Helper()
		io.WriteString(w, line+"\n")
		got, err := r.ReadString('\n')
		check(t, line, fmt.Sprint(strings.TrimSpace(got), " ", err), want+" <nil>")
	}
	say("count", "6 <nil> <nil>")
	c.want(ms, "after the first message", "ann: [opened=true total=6]")
	c.do(ms[1], func(s *session.Session) { total.Update(s, plus(100)) })
	say("count", "107 <nil> <nil>")
	c.do(ms[1], (*session.Session).Renew)
	say("count", "108 <nil> <nil>")
	c.want(ms, "after a renewal by another request", "ann: [opened=true total=108]")
	say("login", session.ErrTooLate.Error())
	c.want(ms, "after a login that came too late", "ann: [opened=true total=108]")
	c.do(ms[1], (*session.Session).Logout)
	say("look", session.ErrEnded.Error()+" "+nothing)
	say("count", "0 "+session.ErrEnded.Error()+" "+session.ErrEnded.Error())
}

// dial sends a request with the client's cookie and returns the connection's ends.
func dial(t *testing.T, srv *httptest.Server, c *visitor) (*bufio.Reader, io.Writer) {
	t.Helper()
	conn, err := srv.Client().Transport.(*http.Transport).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nCookie: session=%s\r\n\r\n", c.value())
	return bufio.NewReader(conn), conn
}

// contextStore shows the context of each call.
type contextStore struct {
	store.Store
	call func(context.Context)
}

func (s contextStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.call(ctx)
	return s.Store.Load(ctx, key)
}

func (s contextStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	s.call(ctx)
	return s.Store.Replace(ctx, r, version)
}

type contextKey struct{}

// during loads and saves a session in a bubble. What is called sees the contexts that the store gets for that, the
// second one detached from cancel.
func during(t *testing.T, load, save func(t *testing.T, ctx context.Context, cancel func())) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the client hung up")
		parent, stop := context.WithCancelCause(context.WithValue(t.Context(), contextKey{}, "value"))
		cancel := func() { stop(cause) }
		defer cancel()
		s := contextStore{memstore.New(nil), func(context.Context) {}}
		spy := &s
		m, err := session.New(session.Config{SecretKey: session.NewSecretKey(), Store: spy, StoreTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		first, _ := m.Load(parent, "")
		first.Set("a", 1)
		if err := first.Save(parent); err != nil {
			t.Fatal(err)
		}
		var last context.Context
		show := func(f func(*testing.T, context.Context, func())) {
			spy.call = func(ctx context.Context) {
				last = ctx
				if ctx.Value(contextKey{}) != "value" {
					t.Error("the context has lost its values")
				}
				f(t, ctx, cancel)
			}
		}
		ended := func(what string) {
			if last.Err() == nil {
				t.Errorf("the context of a %s goes on after it", what)
			}
			alike(t, last, last.Err())
		}
		show(load)
		second, err := m.Load(parent, first.Token())
		ended("load")
		if err != nil {
			second = first // it was cut short
		}
		show(save)
		second.Set("a", 2)
		second.Save(parent)
		ended("save")
	})
}

func passive(*testing.T, context.Context, func()) {}

// alike checks that a context and one made from it agree.
func alike(t *testing.T, ctx context.Context, want error) {
	t.Helper()
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	synctest.Wait()
	ended := func(ctx context.Context) bool {
		select {
		case <-ctx.Done():
			return true
		default:
			return false
		}
	}
	for _, c := range []context.Context{ctx, child} {
		if !errors.Is(c.Err(), want) || ended(c) != (want != nil) {
			t.Errorf("got Err %v and Done %v, want %v", c.Err(), ended(c), want)
		}
	}
}

func TestStoreTimeoutWithoutDone(t *testing.T) {
	t.Parallel()
	poll := func(t *testing.T, ctx context.Context, cancel func()) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != time.Second || ctx.Err() != nil {
			t.Errorf("got the deadline %v, %v and Err %v, want one in a second and nil", deadline, ok, ctx.Err())
		}
		time.Sleep(time.Second) // fake time
		if err := ctx.Err(); err != context.DeadlineExceeded {
			t.Errorf("got %v at the deadline, want DeadlineExceeded", err)
		}
		cancel()
		if cause := context.Cause(ctx); cause != context.DeadlineExceeded {
			t.Errorf("got the cause %v, want DeadlineExceeded, which came first", cause)
		}
		alike(t, ctx, context.DeadlineExceeded)
	}
	during(t, poll, passive)
	during(t, passive, poll)
}

func TestStoreTimeoutByDone(t *testing.T) {
	t.Parallel()
	wait := func(t *testing.T, ctx context.Context, _ func()) {
		alike(t, ctx, nil)
		began := time.Now()
		<-ctx.Done()
		if took := time.Since(began); took != time.Second {
			t.Errorf("Done after %v, want a second", took)
		}
		alike(t, ctx, context.DeadlineExceeded)
	}
	during(t, wait, passive)
	during(t, passive, wait)
}

// TestStoreContextFollowsClient: a load ends with its request, a save does not.
func TestStoreContextFollowsClient(t *testing.T) {
	t.Parallel()
	check := func(first bool, want error) func(*testing.T, context.Context, func()) {
		return func(t *testing.T, ctx context.Context, cancel func()) {
			if first {
				ctx.Done()
			}
			cancel()
			if err := ctx.Err(); err != want {
				t.Errorf("got %v, want %v", err, want)
			}
			if cause := context.Cause(ctx); (cause != nil) != (want != nil) {
				t.Errorf("got the cause %v, want one: %v", cause, want != nil)
			}
			alike(t, ctx, want)
		}
	}
	for _, first := range []bool{false, true} {
		during(t, check(first, context.Canceled), passive)
		during(t, passive, check(first, nil))
	}
}

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
				if last.Kind != session.EventRejected || last.Reason != c.want || last.Handle != handle ||
					last.Principal != "ann" {
					t.Errorf("%s, a request every %v: got %+v, want rejected, %s, with handle and principal",
						name, c.after, last, c.want)
				}
			}
		})
	}
}

// hookedStore calls hook before each operation, without a lock: it may take its time, and call the store.
type hookedStore struct {
	store.Store
	hook func(op string) error
}

// hooked is an option of newBench.
func hooked(s *hookedStore) func(*session.Config) {
	return func(c *session.Config) { s.Store, c.Store = c.Store, s }
}

func (s *hookedStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := s.hook("load"); err != nil {
		return store.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *hookedStore) Create(ctx context.Context, r store.Record) error {
	if err := s.hook("create"); err != nil {
		return err
	}
	return s.Store.Create(ctx, r)
}

func (s *hookedStore) Replace(ctx context.Context, r store.Record, version uint64) error {
	if err := s.hook("replace"); err != nil {
		return err
	}
	return s.Store.Replace(ctx, r, version)
}

func set(key string) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { session.From(r).Set(key, 1) }
}

// A save that waits for another one's turn notes when it was made, not when it began to wait: else a session with a
// short IdleTimeout would have expired when it is stored.
func TestLastSeenAfterAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failing := []string{"replace", "load"} // of the first request, which leaves everything as it is
		b := newBench(t, hooked(&hookedStore{hook: func(op string) error {
			if len(failing) == 0 || op != failing[0] {
				return nil
			}
			failing = failing[1:]
			if op == "replace" {
				time.Sleep(4 * time.Second)
			}
			return errDown
		}}))
		cookie := b.cookie(t, func(s *session.Session) { s.Set("v", 1) })
		var first, second int
		begun := make(chan struct{})
		var requests sync.WaitGroup
		requests.Go(func() {
			second = b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				session.From(r)
				<-begun
				set("second")(w, r)
			}).StatusCode
		})
		synctest.Wait()
		requests.Go(func() { first = b.get(t, cookie, set("first")).StatusCode })
		synctest.Wait()
		close(begun)
		if requests.Wait(); first != http.StatusServiceUnavailable || second != http.StatusOK {
			t.Fatalf("got answers %d and %d, want 503 and 200", first, second)
		}
		s, err := b.Load(t.Context(), value(cookie))
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(s.Info().LastSeenAt); got != 0 {
			t.Errorf("got a session that was last seen %v before it was saved", got)
		}
	})
}

// A Renew that takes long does not take back what another process has noted meanwhile.
func TestLastSeenAfterASlowRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cookie string
		var other *bench
		s := &hookedStore{hook: func(string) error { return nil }}
		b := newBench(t, hooked(s))
		other = newBench(t, func(c *session.Config) { c.Store = s.Store })
		cookie = b.cookie(t, func(s *session.Session) { s.Set("v", 1) })
		s.hook = func(op string) error {
			if op == "create" {
				time.Sleep(2 * time.Second)
				other.get(t, cookie, set("other"))
			}
			return nil
		}
		time.Sleep(time.Second)
		res := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Renew() })
		if len(res.Cookies()) != 1 {
			t.Fatalf("got status %d without a cookie", res.StatusCode)
		}
		renewed, err := b.Load(t.Context(), res.Cookies()[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(renewed.Info().LastSeenAt); got != 0 {
			t.Errorf("got a session that was last seen %v before another process saw it", got)
		}
	})
}

// The event about a cookie whose session is gone names it by the tombstone that a Renew left.
func TestRejectedByATombstone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cookie := b.cookie(t, func(s *session.Session) { s.Login("ann") })
	renewed := b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r).Renew() }).Cookies()[0]
	s, err := b.Load(t.Context(), renewed.Value)
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range b.store.Store.(store.Lister).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == store.Live {
			b.store.Delete(t.Context(), rec.Key)
		}
	}
	b.events.took()
	b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) { session.From(r) })
	if e := b.events.events; len(e) != 1 || e[0].Reason != session.ReasonUnknown || e[0].Handle != s.Info().Handle ||
		e[0].Principal != "ann" {
		t.Errorf("got %+v, want one of reason unknown with handle %s and principal ann", e, s.Info().Handle)
	}
}

// A goroutine of the handler may be the first to ask for the session, while the header is sent: for the race detector.
func TestFromDuringTheFirstByte(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 500 {
		b.get(t, "", func(w http.ResponseWriter, r *http.Request) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				session.From(r).Len()
			}()
			w.WriteHeader(http.StatusOK)
			<-done
		})
	}
}
