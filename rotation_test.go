package session_test

import (
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// A new SecretKey, with the former one as a fallback: sessions go on, new IDs are signed by the new key alone, and when
// the fallback is taken away, what was signed by the former key is refused at the door. (For the folder of the default
// store see default_store_test.go, for encrypted cookies encrypted_cookie_test.go.)
func TestRotationOfTheSecretKey(t *testing.T) {
	t.Parallel()
	const former, current, next = "former-Kd7Wn3XqT9zVb5RcJ2MyL8h", "current-Zp4Hk8VxQ3tWn6RbD9JmL2y", "next-Hc8Vx2KqT5nWz9RbJd4MyL7s"
	for name, bearer := range map[string]bool{"cookie": false, "bearer token": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spy := &spyStore{Store: memstore.New(nil)}
			keyed := func(keys ...string) *session.Manager {
				return server(t, func(c *session.Config) {
					c.Store, c.BearerToken = spy, bearer
					c.SecretKey, c.SecretKeyFallbacks = keys[0], keys[1:]
				})
			}
			before, during, after := keyed(former), keyed(current, next, former), keyed(current)
			save := func(m *session.Manager, s *session.Session, change func(s *session.Session)) string {
				t.Helper()
				change(s)
				is(t, "Save", s.Save(t.Context()), nil)
				return s.Token()
			}
			old := save(before, load(t, before, ""), fill)
			check(t, "with the fallback", contents(load(t, during, old)), ": [a=1]")
			check(t, "changed under the former ID", save(during, load(t, during, old), func(s *session.Session) { s.Set("a", 2) }), old)
			check(t, "a server that has not got the new key yet", contents(load(t, before, old)), ": [a=2]")

			first := save(during, load(t, during, ""), fill)
			_, err := before.Load(t.Context(), first)
			is(t, "an ID of the new key, where that is unknown", err, session.ErrEnded)
			check(t, "where it is known", contents(load(t, after, first)), ": [a=1]")

			login := save(during, load(t, during, old), func(s *session.Session) { s.Login("ann") })
			spy.took()
			_, err = after.Load(t.Context(), old)
			is(t, "without the fallback", err, session.ErrEnded)
			equal(t, "the store", spy.took(), nil)
			check(t, "a login during the rotation", contents(load(t, after, login)), "ann: [a=2]")
		})
	}
}

// The fallbacks verify only, so a Manager with two keys in the other order reads the same cookies.
func TestFallbacksReadEachOther(t *testing.T) {
	t.Parallel()
	mem := memstore.New(nil)
	one, two := "one-Tz6Kq3WvX9nRb4MdJ8HcL2sY", "other-Bw7Xk2ZqT9vLn4RcY8MdJ3g"
	a := server(t, func(c *session.Config) { c.Store, c.SecretKey, c.SecretKeyFallbacks = mem, one, []string{two} })
	b := server(t, func(c *session.Config) { c.Store, c.SecretKey, c.SecretKeyFallbacks = mem, two, []string{one} })
	for _, m := range []*session.Manager{a, b} {
		c := newVisitor(t)
		c.do(m, fill)
		c.want([]*session.Manager{a, b}, "on both", ": [a=1]")
		c.do(b, (*session.Session).Renew)
		c.want([]*session.Manager{a, b}, "renewed, on both", ": [a=1]")
	}
}
