package app

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// Real servers, each started once.
var (
	redis     = sync.OnceValue(func() *servertest.Server { return servertest.Redis(servertest.Shared) })
	postgres  = sync.OnceValue(func() *servertest.Server { return servertest.Postgres(servertest.Shared) })
	mariadb   = sync.OnceValue(func() *servertest.Server { return servertest.MariaDB(servertest.Shared) })
	memcached = sync.OnceValue(func() *servertest.Server { return servertest.Memcached(servertest.Shared) })
)

// On every store that processes share, two of them share logins and logouts, and a restart logs nobody out.
func TestProcessesShareLogins(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]string{
		"redis": redis().URL, "postgres": postgres().URL, "mysql": mariadb().URL, "memcached": memcached().URL,
		"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "sessions.db"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-store", store, "-secret-key", "Vt7Rk2XqW9nZb4LcY8MdJ3Hs"}
			first, _, stop := start(t, args...)
			second, _, _ := start(t, args...)
			here := visit(t, first)
			here.login("ann")
			here.sees("You have been here 2 times")

			there := here.movesTo(second)
			there.sees("Logged in as <strong>ann</strong>")
			there.sees("You have been here 4 times")
			_, page := there.get("")
			if listed := strings.Count(page, `name="handle"`); listed != 1 && name != "memcached" {
				t.Errorf("the page lists %d sessions, want 1", listed)
			}

			stop()
			first, _, _ = start(t, args...)
			here = there.movesTo(first)
			here.sees("Logged in as <strong>ann</strong>")
			there.post("logout", nil)
			here.sees("You are not logged in")
		})
	}
}

// movesTo returns the same browser at another process, which is behind the same name in real life.
func (v *visitor) movesTo(base string) *visitor {
	other := visit(v.t, base)
	other.Jar.SetCookies(parse(v.t, base), v.Jar.Cookies(parse(v.t, v.base)))
	return other
}
