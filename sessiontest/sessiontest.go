// Package sessiontest helps to test handlers that use sessions: [New] makes a Manager with sessions in memory,
// [Request] makes a request that comes with a session, [Read] returns the session that a response leaves, [WantLogin]
// and [WantFlashes] check it, and a [FailStore] simulates an outage.
//
//	func greet(w http.ResponseWriter, r *http.Request) {
//		fmt.Fprint(w, "hello ", session.From(r).Principal())
//	}
//
//	func TestGreeting(t *testing.T) {
//		m := sessiontest.New(t)
//		r := httptest.NewRequest("GET", "/", nil)
//		r = sessiontest.Request(t, m, r, func(s *session.Session) { s.Login("ann") })
//		w := httptest.NewRecorder()
//		m.Handler(http.HandlerFunc(greet)).ServeHTTP(w, r)
//		if got, want := w.Body.String(), "hello ann"; got != want {
//			t.Errorf("got %q, want %q", got, want)
//		}
//	}
//
// Sessions in memory work in a bubble of [testing/synctest], where hours of [session.Config.IdleTimeout] pass at once.
package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// New returns a [session.Manager] for one test, and closes it when the test ends. It keeps sessions in a
// [memstore.Store], has a new random [session.Config.SecretKey], and works over plain http
// ([session.Config.InsecureHTTP]). The options change the configuration before [session.New] checks it; an invalid one
// fails the test at once.
func New(t testing.TB, options ...func(*session.Config)) *session.Manager {
	t.Helper()
	c := session.Config{SecretKey: session.NewSecretKey(), InsecureHTTP: true}
	for _, o := range options {
		o(&c)
	}
	if c.Store == nil && c.CookieCodec == nil {
		c.Store = memstore.New(nil)
	}
	m, err := session.New(c)
	if err != nil {
		t.Fatalf("sessiontest: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// Request returns a copy of r that comes with a new session. fill prepares the session, for example by
// [session.Session.Login]. Request saves it and puts its token into the cookie, or with [session.Config.BearerToken]
// into the Authorization header. If fill is nil or changes nothing, the request has no session. r itself is not
// changed. If the session can't be saved, the test fails at once.
func Request(t testing.TB, m *session.Manager, r *http.Request, fill func(*session.Session)) *http.Request {
	t.Helper()
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatalf("sessiontest: %v", err)
	}
	if fill != nil {
		fill(s)
	}
	if err := s.Save(t.Context()); err != nil {
		t.Fatalf("sessiontest: %v", err)
	}
	r = r.Clone(r.Context())
	if c := m.Cookie(s); c != nil {
		r.AddCookie(c)
	} else if token := s.Token(); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// Read returns the session that the client has after a response, as it is stored now. It is that of the cookie which
// the response sets, or else that of the request's cookie. For the latter pass the request, unless the response comes
// from an [http.Client]. With [session.Config.BearerToken] pass the request, or call [session.Manager.Load] with the
// token that the handler has sent. If there is no live session of m, such as after a logout, the test fails at once.
func Read(t testing.TB, m *session.Manager, res *http.Response, request ...*http.Request) *session.Session {
	t.Helper()
	var found *session.Session
	load := func(token string) {
		s, err := m.Load(t.Context(), token)
		switch {
		case err == nil && token != "":
			found = s
		case err != nil && !errors.Is(err, session.ErrEnded):
			t.Fatalf("sessiontest: %v", err)
		}
	}
	deleted := map[string]bool{}
	for _, c := range res.Cookies() {
		if deleted[c.Name] = c.MaxAge < 0; !deleted[c.Name] {
			load(c.Value)
		}
	}
	if found != nil {
		return found
	}
	if res.Request != nil {
		request = append(request, res.Request)
	}
	for _, r := range request {
		for _, c := range r.Cookies() {
			if !deleted[c.Name] {
				load(c.Value)
			}
		}
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			load(token)
		}
	}
	if found == nil && len(request) == 0 {
		t.Fatal("sessiontest: the response sets no cookie that holds a session; if it only changes one, " +
			"pass the request to Read as well")
	} else if found == nil {
		t.Fatal("sessiontest: neither the response nor the request has a cookie or token of a live session")
	}
	return found
}

// LoggedIn returns a function for [Request]: the principal logged in so long ago. A negative time counts as zero. If
// [session.Config.Lifetime] is shorter, nobody is logged in.
func LoggedIn(principal string, ago time.Duration) func(*session.Session) {
	return func(s *session.Session) {
		s.LoginWith(principal, session.Auth{Time: time.Now().Add(-ago)})
	}
}

// WantLogin reports an error if another principal than this is logged in; "" is nobody.
func WantLogin(t testing.TB, s *session.Session, principal string) {
	t.Helper()
	if got := s.Principal(); got != principal {
		t.Errorf("sessiontest: got principal %q, want %q", got, principal)
	}
}

// WantFlashes reports an error if the session has other flash messages than these, or in another order; categories
// don't matter. It removes the messages from s, but not from the store, unless s is saved.
func WantFlashes(t testing.TB, s *session.Session, messages ...string) {
	t.Helper()
	var got []string
	for _, f := range s.Flashes() {
		got = append(got, f.Message)
	}
	if !slices.Equal(got, messages) {
		t.Errorf("sessiontest: got flash messages %q, want %q", got, messages)
	}
}

// FailStore is a [store.Store] that can be made to fail, for tests of what an application does in an outage. It passes
// every call on to Store, also those of [store.Lister], [store.Sweeper], [store.Evicter] and
// [store.StaleLoader] if Store has them: see
// [store.As]. Set Store before use; the zero value doesn't work. It is safe for concurrent use.
//
// Each call of Fail, FailWrites or LoseWrites replaces the one before.
type FailStore struct {
	Store store.Store // gets the calls while there is no outage

	now atomic.Pointer[fault]
}

// fault is what fails at present, and how.
type fault struct {
	err   error
	reads bool // fail as well
	after bool // writes reach the store, and fail then
}

// Fail makes every call but OnEvict fail with err from now on, before it reaches Store. Nil ends the outage. To the
// application a failed load is [session.ErrUnavailable], and a failed save that or [session.ErrUncertain].
func (f *FailStore) Fail(err error) { f.set(err, true, false) }

// FailWrites makes every write fail with err from now on, before it reaches Store, while reads go on, as with a full
// disk or a replica that takes no writes. Nil ends the failures.
func (f *FailStore) FailWrites(err error) { f.set(err, false, false) }

// LoseWrites makes every write return err from now on although Store has done it, as if the connection broke before the
// response. The application can't know what was stored: [session.ErrUncertain], unless a read finds out. Nil ends this.
func (f *FailStore) LoseWrites(err error) { f.set(err, false, true) }

func (f *FailStore) set(err error, reads, after bool) {
	if err == nil {
		f.now.Store(nil)
		return
	}
	f.now.Store(&fault{err, reads, after})
}

func (f *FailStore) err() error {
	if now := f.now.Load(); now != nil && now.reads {
		return now.err
	}
	return nil
}

func (f *FailStore) write(do func() error) error {
	now := f.now.Load()
	if now == nil {
		return do()
	}
	if now.after {
		if err := do(); err != nil {
			return err
		}
	}
	return now.err
}

// Load implements [store.Store].
func (f *FailStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := f.err(); err != nil {
		return store.Record{}, err
	}
	return f.Store.Load(ctx, key)
}

// LoadStale implements [store.StaleLoader]. It returns [errors.ErrUnsupported] if Store is no StaleLoader.
func (f *FailStore) LoadStale(ctx context.Context, key string) (store.Record, error) {
	if err := f.err(); err != nil {
		return store.Record{}, err
	}
	l, ok := store.As[store.StaleLoader](f.Store)
	if !ok {
		return store.Record{}, errors.ErrUnsupported
	}
	return l.LoadStale(ctx, key)
}

// Create implements [store.Store].
func (f *FailStore) Create(ctx context.Context, rec store.Record) error {
	return f.write(func() error { return f.Store.Create(ctx, rec) })
}

// Replace implements [store.Store].
func (f *FailStore) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return f.write(func() error { return f.Store.Replace(ctx, rec, version) })
}

// Touch implements [store.Store].
func (f *FailStore) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return f.write(func() error { return f.Store.Touch(ctx, key, version, seen, expires) })
}

// Delete implements [store.Store].
func (f *FailStore) Delete(ctx context.Context, key string) error {
	return f.write(func() error { return f.Store.Delete(ctx, key) })
}

// Principal implements [store.Lister]. It yields [errors.ErrUnsupported] if Store is no Lister.
func (f *FailStore) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return f.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.Principal(ctx, principal) })
}

// All implements [store.Lister]. It yields [errors.ErrUnsupported] if Store is no Lister.
func (f *FailStore) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return f.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.All(ctx) })
}

func (f *FailStore) list(records func(store.Lister) iter.Seq2[store.Record, error]) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		l, ok := store.As[store.Lister](f.Store)
		err := f.err()
		if err == nil && !ok {
			err = fmt.Errorf("sessiontest: Store lists no sessions (if the store wraps another one, "+
				"give it Unwrap): %w", errors.ErrUnsupported)
		}
		if err != nil {
			yield(store.Record{}, err)
			return
		}
		records(l)(yield)
	}
}

// Sweep implements [store.Sweeper]. It removes nothing if Store is no Sweeper.
func (f *FailStore) Sweep(ctx context.Context, limit int) (removed int, err error) {
	err = f.write(func() error {
		if s, ok := store.As[store.Sweeper](f.Store); ok {
			removed, err = s.Sweep(ctx, limit)
		}
		return err
	})
	return removed, err
}

// OnEvict implements [store.Evicter]. It never fails. It never calls fn if Store is no Evicter.
func (f *FailStore) OnEvict(fn func(store.Record)) (cancel func()) {
	if e, ok := store.As[store.Evicter](f.Store); ok {
		return e.OnEvict(fn)
	}
	return func() {}
}
