package session_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// embedding is how many a wrapper is written.
type embedding struct{ store.Store }

// timed is such a wrapper with Unwrap.
type timed struct {
	store.Store
	loads int
}

func (s *timed) Load(ctx context.Context, key string) (store.Record, error) {
	s.loads++
	return s.Store.Load(ctx, key)
}

func (s *timed) Unwrap() store.Store { return s.Store }

// A wrapped store is still that store: its sessions are listed, revoked and swept, and its evictions are events.
func TestWrappedStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(&memstore.Options{MaxSessions: 2})
		wrapped := &timed{Store: embeddingWithUnwrap{mem}}
		b := newBench(t, func(c *session.Config) {
			c.Store, c.SweepInterval, c.IdleTimeout = wrapped, time.Minute, time.Hour
		})
		for range 3 {
			b.cookie(t, func(s *session.Session) { s.Login("ann") })
		}
		b.cookie(t, func(s *session.Session) { s.Login("ann") })
		if n, err := b.RevokeAll(t.Context(), "ann"); n != 2 || err != nil {
			t.Errorf("RevokeAll: got %d, %v, want 2", n, err)
		}
		if got := b.events.took(); len(got) == 0 || got[len(got)-1] != "revoked" {
			t.Errorf("got events %q, want the revocations last", got)
		}
		b.get(t, b.cookie(t, func(s *session.Session) { s.Login("ann") }),
			func(_ http.ResponseWriter, r *http.Request) { session.From(r).Len() })
		if wrapped.loads == 0 {
			t.Error("the wrapper saw no Load, want each")
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n, err := mem.Sweep(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("got %d records left to sweep, %v, want the Manager to have swept", n, err)
		}
	})
}

type embeddingWithUnwrap struct{ store.Store }

func (s embeddingWithUnwrap) Unwrap() store.Store { return s.Store }

// What a wrapper without Unwrap hides is an error that says what to do.
func TestOpaqueStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *session.Config) { c.Store = embedding{memstore.New(nil)} })
	_, err := b.RevokeAll(t.Context(), "ann")
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "give it Unwrap") {
		t.Errorf("got %v, want one that names Unwrap", err)
	}
}

// withDefaultStore makes a Manager without a Store, and closes it at the test's end.
func withDefaultStore(t *testing.T, keys ...string) *session.Manager {
	t.Helper()
	m, err := session.New(session.Config{SecretKey: keys[0], SecretKeyFallbacks: keys[1:]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// Each application of a user has a folder of its own, whose name tells nothing of the key; a change of keys keeps it.
func TestDefaultStore(t *testing.T) { // not parallel: the environment
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("STATE_DIRECTORY", "")
	if _, err := session.New(session.Config{SecretKey: secret, MaxBytes: -1}); err == nil || len(names(t, temp)) != 0 {
		t.Errorf("got %v and %q, want an error and nothing made", err, names(t, temp))
	}
	if os.TempDir() != temp {
		return // Windows
	}
	m := withDefaultStore(t, secret)
	first := names(t, temp)
	if len(first) != 1 || !regexp.MustCompile(`^hipflask-\d+-[0-9a-f]{16}$`).MatchString(first[0]) {
		t.Fatalf("got %q, want one folder named by user and fingerprint", first)
	}
	if info, err := os.Stat(filepath.Join(temp, first[0])); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v, want mode 0700", info.Mode(), err)
	}
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	setPlain(s)
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Another process with the same key, and one with a new key and this one for a fallback, see the session.
	const next = "next-Hc8Vx2KqT5nWz9RbJd4MyL7s"
	for _, keys := range [][]string{{secret}, {next, secret}, {next, "between-Qm3Zt8XwK5vRc9NbL2Hj7Dg", secret}} {
		if got, err := withDefaultStore(t, keys...).Load(t.Context(), s.Token()); err != nil ||
			!slices.Equal(got.Keys(), []string{"color"}) {
			t.Errorf("%d keys: got %v, want the session", len(keys), err)
		}
	}
	if got := names(t, temp); !slices.Equal(got, first) {
		t.Errorf("got %q, want the same folder", got)
	}
	// On the day when the old key leaves the fallbacks, nobody is logged out, and so with the key after that.
	const third = "third-Vb6Nw2KsT8xQc4RmJ9ZyL5f"
	for _, keys := range [][]string{{next}, {third, next}, {third}, {secret}} {
		stored := 0
		for _, err := range withDefaultStore(t, keys...).All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			stored++
		}
		check(t, "sessions found after the rotation", stored, 1)
	}
	if got := names(t, temp); !slices.Equal(got, first) {
		t.Errorf("got %q, want the same folder", got)
	}
	withDefaultStore(t, "other-Lr5Wx9KqB3nVz7TcJ2HyM8d")
	if got := names(t, temp); len(got) != 2 {
		t.Errorf("got %q, want a folder for the other application", got)
	}

	// A folder that cannot be had is a clear error, without the key.
	if err := os.Chmod(filepath.Join(temp, first[0]), 0o777); err != nil {
		t.Fatal(err)
	}
	if m, err := session.New(session.Config{SecretKey: secret}); err == nil {
		m.Close()
		t.Error("a folder that everybody can write to: taken")
	} else if text := err.Error(); !strings.Contains(text, "Config.Store") || strings.Contains(text, secret) {
		t.Errorf("got %q, want it to name Config.Store as the way out", text)
	}
}

// systemd.exec(5), StateDirectory=: a list, separated by colons.
func TestDefaultStoreUnderSystemd(t *testing.T) { // not parallel: the environment
	temp, state := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("STATE_DIRECTORY", state+":"+t.TempDir())
	withDefaultStore(t, secret)
	if got := names(t, state); !slices.Equal(got, []string{"sessions"}) || len(names(t, temp)) != 0 {
		t.Errorf("got %q in the state directory, want sessions, and nothing elsewhere", got)
	}
}

// A new SecretKey, with the former one as a fallback: sessions go on, new IDs are signed by the new key alone, and when
// the fallback is taken away, what was signed by the former key is refused at the door. (For the folder of the default
// store see default_store_test.go, for encrypted cookies encrypted_cookie_test.go.)
func TestRotationOfTheSecretKey(t *testing.T) {
	t.Parallel()
	const former, current, next = "former-Kd7Wn3XqT9zVb5RcJ2MyL8h", "current-Zp4Hk8VxQ3tWn6RbD9JmL2y",
		"next-Hc8Vx2KqT5nWz9RbJd4MyL7s"
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
			check(t, "changed under the former ID", save(during, load(t, during, old), func(s *session.Session) {
				s.Set("a", 2)
			}), old)
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
