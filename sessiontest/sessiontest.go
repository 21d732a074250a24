// Package sessiontest helps to test handlers that use sessions: [New] makes a Manager with sessions in memory, [Request]
// makes a request that comes with a session, [Read] returns the session of a response, and a [FailStore] simulates an
// outage.
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
	"sync/atomic"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// New returns a [session.Manager] for one test, and closes it when the test ends. It keeps sessions in a [memstore.Store],
// has a new random [session.Config.SecretKey], and works over plain http ([session.Config.InsecureHTTP]). The options
// change the configuration before [session.New] checks it; an invalid one fails the test at once.
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

// Request returns a copy of r that comes with a new session. fill prepares the session, such as by [session.Session.Login];
// Request saves it and puts it into the cookie, or with [session.Config.BearerToken] into the Authorization header. If
// fill is nil or changes nothing, the request has no session. r itself is not changed. If the session can't be saved, the
// test fails at once.
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

// Read returns the session of the cookie that a response sets. If the response sets no cookie with a live session of m, the
// test fails at once. With [session.Config.BearerToken] use [session.Manager.Load] on the token of the response.
func Read(t testing.TB, m *session.Manager, res *http.Response) *session.Session {
	t.Helper()
	var found *session.Session
	for _, c := range res.Cookies() {
		if s, err := m.Load(t.Context(), c.Value); err == nil && c.Value != "" {
			found = s
		}
	}
	if found == nil {
		t.Fatal("sessiontest: the answer sets no cookie that holds a session")
	}
	return found
}

// FailStore is a [store.Store] that can be made to fail, for tests of what an application does in an outage. It passes
// every call on to Store, also those of [store.Lister], [store.Sweeper] and [store.Evicter] if Store has them: see
// [store.As]. Set Store before use; the zero value doesn't work. It is safe for concurrent use.
type FailStore struct {
	Store store.Store // gets the calls while there is no outage

	failure atomic.Pointer[error]
}

// Fail makes every call but OnEvict fail with err from now on, before it reaches Store. Nil ends the outage. A failed load is
// [session.ErrUnavailable] to the application, a failed save that or [session.ErrUncertain].
func (f *FailStore) Fail(err error) {
	if err == nil {
		f.failure.Store(nil)
	} else {
		f.failure.Store(&err)
	}
}

func (f *FailStore) err() error {
	if err := f.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Load implements [store.Store].
func (f *FailStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := f.err(); err != nil {
		return store.Record{}, err
	}
	return f.Store.Load(ctx, key)
}

// Create implements [store.Store].
func (f *FailStore) Create(ctx context.Context, rec store.Record) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Create(ctx, rec)
}

// Replace implements [store.Store].
func (f *FailStore) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Replace(ctx, rec, version)
}

// Touch implements [store.Store].
func (f *FailStore) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Touch(ctx, key, version, seen, expires)
}

// Delete implements [store.Store].
func (f *FailStore) Delete(ctx context.Context, key string) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
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
			err = fmt.Errorf("sessiontest: Store lists no sessions (if the store wraps another one, give it Unwrap): %w", errors.ErrUnsupported)
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
	if err := f.err(); err != nil {
		return 0, err
	}
	if s, ok := store.As[store.Sweeper](f.Store); ok {
		return s.Sweep(ctx, limit)
	}
	return 0, nil
}

// OnEvict implements [store.Evicter]. It never fails. It never calls fn if Store is no Evicter.
func (f *FailStore) OnEvict(fn func(store.Record)) (cancel func()) {
	if e, ok := store.As[store.Evicter](f.Store); ok {
		return e.OnEvict(fn)
	}
	return func() {}
}
