package servertest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// ask sends a line and returns the first line of the answer.
func ask(t *testing.T, addr, line string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c, "%s\r\n", line)
	return bufio.NewReader(c).ReadString('\n')
}

func TestServers(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(servertest.TB) *servertest.Server{
		"redis":     func(tb servertest.TB) *servertest.Server { return servertest.Redis(tb) },
		"postgres":  func(tb servertest.TB) *servertest.Server { return servertest.Postgres(tb) },
		"mariadb":   func(tb servertest.TB) *servertest.Server { return servertest.MariaDB(tb) },
		"memcached": func(tb servertest.TB) *servertest.Server { return servertest.Memcached(tb) },
		"pgbouncer": func(tb servertest.TB) *servertest.Server {
			return servertest.PgBouncer(tb, servertest.Postgres(tb))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *servertest.Server
			t.Run("running", func(t *testing.T) {
				s = start(t)
				s.Pause()
				s.Resume()
				s.Stop()
				if _, err := net.Dial("tcp", s.Addr); err == nil {
					t.Error("a server answers after Stop")
				}
				s.Start()
				s.Kill()
				if _, err := net.Dial("tcp", s.Addr); err == nil {
					t.Error("a server answers after Kill")
				}
				s.Start()
			})
			if _, err := net.Dial("tcp", s.Addr); err == nil {
				t.Error("a server answers after the end of its test")
			}
			if _, err := os.Stat(s.Dir); err == nil {
				t.Error("a server's folder is there after the end of its test")
			}
		})
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	s := servertest.Memcached(t)
	s.Pause()
	if answer, err := ask(t, s.Addr, "version"); err == nil {
		t.Errorf("a paused server answers %q", answer)
	}
	s.Resume()
	if _, err := ask(t, s.Addr, "version"); err != nil {
		t.Errorf("after Resume: %v", err)
	}
}

func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := servertest.RedisCluster(t)
	c.Nodes[0].Kill()
	deadline := time.Now().Add(servertest.Patience)
	for answer := ""; !strings.HasPrefix(answer, "+OK") && !strings.HasPrefix(answer, "-MOVED"); {
		// Slot 0 was the first master's.
		answer, _ = ask(t, c.Nodes[3].Addr, "SET {06S} x") // hash slot 0
		if strings.HasPrefix(answer, "-MOVED") && strings.Contains(answer, c.Nodes[0].Addr) {
			answer = ""
		}
		if time.Now().After(deadline) {
			t.Fatal("no replica took over")
		}
	}
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := servertest.RedisSentinel(t)
	if got, want := s.MasterAddr(), s.Nodes[0].Addr; got != want {
		t.Fatalf("master: got %s, want %s", got, want)
	}
	s.Nodes[0].Kill()
	for deadline := time.Now().Add(servertest.Patience); s.MasterAddr() == s.Nodes[0].Addr; {
		if time.Now().After(deadline) {
			t.Fatal("no replica took over")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// echo answers every line with the line.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestProxy(t *testing.T) {
	t.Parallel()
	p := servertest.NewProxy(t, echo(t))
	want := func(what, line string, answered bool) {
		t.Helper()
		if answer, err := ask(t, p.Addr, line); (err == nil) != answered {
			t.Errorf("%s: got answer %q, error %v, want an answer: %v", what, answer, err, answered)
		}
	}
	want("passing", "a", true)
	p.CutRequest([]byte("b"))
	want("another request", "a", true)
	want("the request that is cut", "b", false)
	want("the request after it", "b", true)
	p.CutAnswer([]byte("b"))
	want("another request", "a", true)
	want("the answer that is cut", "b", false)
	want("the request after it", "b", true)
	if got := p.Cuts(); got != 2 {
		t.Errorf("cuts: got %d, want 2", got)
	}
	p.Refuse()
	want("refusing", "a", false)
	p.Pass()
	want("passing again", "a", true)
	p.Hold()
	want("holding", "a", false)
	p.Pass()
	p.Delay(10 * time.Millisecond)
	want("delaying", "a", true)
}

// A full proxy answers no attempt to connect, and is itself again after Pass.
func TestProxyFull(t *testing.T) {
	t.Parallel()
	p := servertest.NewProxy(t, echo(t))
	open, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for range 2 {
		p.Full()
		for range 3 {
			c, err := net.DialTimeout("tcp", p.Addr, 300*time.Millisecond)
			if err == nil {
				c.Close()
			}
			if !os.IsTimeout(err) {
				t.Errorf("full: got error %v, want a timeout", err)
			}
		}
		p.Pass()
		if answer, err := ask(t, p.Addr, "a"); err != nil {
			t.Errorf("passing again: got answer %q, error %v", answer, err)
		}
	}
	if n, err := open.Read(make([]byte, 1)); err == nil {
		t.Errorf("got %d bytes from a connection that was to be cut", n)
	}
	p.Full() // also if the test ends so
}
