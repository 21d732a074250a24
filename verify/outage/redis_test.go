package outage_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// redisAlone is one server, with settings for its persistence.
func redisAlone(t *testing.T, settings ...string) *service {
	server := servertest.Redis(t, settings...)
	s := alone(t, server, func(addr string) (store.Store, error) {
		return redisstore.Open(t.Context(), "redis://"+addr, nil)
	})
	s.forgets = len(settings) == 0
	ask := func(commands ...string) func(*trial) {
		return func(x *trial) { redis(x.t, server, commands...) }
	}
	s.others = []kind{
		readable("out of memory", ask("CONFIG SET maxmemory 1"), ask("CONFIG SET maxmemory 0")),
		between("made a replica", ask("REPLICAOF 127.0.0.1 1"), ask("REPLICAOF NO ONE")),
		between("password changed", ask("CONFIG SET requirepass other", "CLIENT KILL TYPE normal"),
			ask("AUTH other", `CONFIG SET requirepass ""`)),
	}
	return s
}

// redis sends commands over a connection of their own, and returns the last answer.
func redis(t *testing.T, server *servertest.Server, commands ...string) string {
	t.Helper()
	return tell(t, server, commands...)()
}

// tell sends commands to a server, which may be paused, and returns a function that waits for the last answer.
func tell(t *testing.T, server *servertest.Server, commands ...string) func() string {
	t.Helper()
	c, err := net.Dial("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(c, strings.Join(commands, "\r\n"), "\r\n"); err != nil {
		t.Fatal(err)
	}
	return func() (last string) {
		t.Helper()
		defer c.Close()
		c.SetDeadline(time.Now().Add(servertest.Patience))
		answers := bufio.NewReader(c)
		for _, command := range commands {
			last, err = answers.ReadString('\n')
			if err != nil || strings.HasPrefix(last, "-") {
				t.Fatalf("%s: got %q, %v", command, last, err)
			}
			if n := 0; strings.HasPrefix(last, "$") {
				fmt.Sscanf(last, "$%d", &n)
				text := make([]byte, n+2)
				if _, err := io.ReadFull(answers, text); err != nil {
					t.Fatal(err)
				}
				last = string(text)
			}
		}
		return last
	}
}
