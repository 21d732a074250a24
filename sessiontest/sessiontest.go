// Package sessiontest helps to test handlers that use sessions: a Manager in memory, requests that come with a session,
// and what an answer's cookie holds.
//
//	func TestGreeting(t *testing.T) {
//		m := sessiontest.New(t)
//		r := httptest.NewRequest("GET", "/", nil)
//		r = sessiontest.Request(t, m, r, func(s *session.Session) { s.Login("ann") })
//		w := httptest.NewRecorder()
//		m.Handler(app).ServeHTTP(w, r)
//		...
//	}
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

// New returns a Manager for one test, which closes it at its end. It keeps sessions in memory, takes a new random key,
// and works over plain http (InsecureHTTP). Options change the configuration before that is checked.
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

// Request returns a copy of r that comes with a session: fill logs in, sets values, and so on, and the session is saved.
// With BearerToken it is in the Authorization header, else in the cookie. A nil fill, or one that changes nothing, leaves
// r without a session.
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

// Read returns the session of the cookie that an answer sets. The test fails if it sets none, or one without a session.
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

// FailStore is a store that can be made to fail, for tests of what an application does in an outage. It passes everything
// on to Store, also the methods of [store.Lister], [store.Sweeper] and [store.Evicter] where Store has them. Its zero value
// does not work; set Store.
type FailStore struct {
	Store store.Store

	failure atomic.Pointer[error]
}

// Fail makes every call fail with err from now on, without doing anything. Nil ends the outage.
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

// Load is [store.Store]'s.
func (f *FailStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := f.err(); err != nil {
		return store.Record{}, err
	}
	return f.Store.Load(ctx, key)
}

// Create is [store.Store]'s.
func (f *FailStore) Create(ctx context.Context, rec store.Record) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Create(ctx, rec)
}

// Replace is [store.Store]'s.
func (f *FailStore) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Replace(ctx, rec, version)
}

// Touch is [store.Store]'s.
func (f *FailStore) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Touch(ctx, key, version, seen, expires)
}

// Delete is [store.Store]'s.
func (f *FailStore) Delete(ctx context.Context, key string) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}

// Principal is [store.Lister]'s; errors.ErrUnsupported if Store has none.
func (f *FailStore) Principal(ctx context.Context, principal string) iter.Seq2[store.Record, error] {
	return f.list(func(l store.Lister) iter.Seq2[store.Record, error] { return l.Principal(ctx, principal) })
}

// All is [store.Lister]'s; errors.ErrUnsupported if Store has none.
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

// Sweep is [store.Sweeper]'s. It removes nothing if Store has none.
func (f *FailStore) Sweep(ctx context.Context, limit int) (removed int, err error) {
	if err := f.err(); err != nil {
		return 0, err
	}
	if s, ok := store.As[store.Sweeper](f.Store); ok {
		return s.Sweep(ctx, limit)
	}
	return 0, nil
}

// OnEvict is [store.Evicter]'s. It never fails, and never calls fn if Store has none.
func (f *FailStore) OnEvict(fn func(store.Record)) (cancel func()) {
	if e, ok := store.As[store.Evicter](f.Store); ok {
		return e.OnEvict(fn)
	}
	return func() {}
}
