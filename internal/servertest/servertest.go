// Package servertest starts the real servers that tests need: Redis alone, as a cluster and under Sentinel, PostgreSQL,
// PgBouncer, MariaDB and memcached. Each listens on a port of its own of 127.0.0.1, keeps its data in a temporary
// folder, and ends with the test that started it, also when that is killed.
//
//	func TestMain(m *testing.M) { servertest.Main(m) }
//
//	var redis = sync.OnceValue(func() *servertest.Server { return servertest.Redis(servertest.Shared) })
//
// A server that is not installed fails the test with the name of Debian's package: a skipped test proves nothing. Run
// ./test once to have them installed.
package servertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// TB is the part of testing.TB that a server needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Patience is how long a server may take to start or to end.
const Patience = 60 * time.Second

// Server is a running server. Its methods that fail end the test. They are not safe for concurrent use with each other.
type Server struct {
	Addr string // 127.0.0.1:port, the same after a restart
	Port string
	Dir  string // its data and log
	URL  string // how a client names it, password included

	tb      TB
	name    string
	user    string   // who runs it, where root must not
	command []string // program and arguments
	answers func(net.Conn) error

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// Configure adds arguments of the server's program to those of the next Start.
func (s *Server) Configure(settings ...string) { s.command = append(s.command, settings...) }

// Start starts the server again, after Stop or Kill, on the same port and data, and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	if err := s.start(); err != nil {
		s.tb.Fatalf("%v", err)
	}
}

// start starts the server. PostgreSQL refuses to start while the processes of one that was killed still end.
func (s *Server) start() error {
	for deadline := time.Now().Add(Patience); ; time.Sleep(50 * time.Millisecond) {
		err := s.startOnce()
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") ||
			time.Now().After(deadline) {
			return err
		}
	}
}

func (s *Server) startOnce() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.command[0], s.command[1:]...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.Dir, log, log
	if err := startProcess(s.cmd, s.user); err != nil {
		return fmt.Errorf("servertest: start %s: %w", s.name, err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		close(done)
	}(s.cmd, s.done)
	return s.wait()
}

// wait returns when the server answers.
func (s *Server) wait() error {
	for deadline := time.Now().Add(Patience); ; {
		err := s.ask()
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("servertest: %s ended at once: %s", s.name, s.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("servertest: %s doesn't answer within %v (%w): %s", s.name, Patience, err, s.lastWords())
		}
	}
}

func (s *Server) ask() error {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	return s.answers(c)
}

// lastWords is the end of the server's log.
func (s *Server) lastWords() string {
	log, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-2000):])
}

// Stop ends the server as an operator would, and waits for it.
func (s *Server) Stop() {
	s.tb.Helper()
	if s.name == "postgres" {
		s.end(interrupt) // after SIGTERM it would wait for its clients to leave
	} else {
		s.end(terminate)
	}
}

// Kill ends the server with SIGKILL, and waits for it.
func (s *Server) Kill() {
	s.tb.Helper()
	s.end(kill)
}

func (s *Server) end(how func(*exec.Cmd) error) {
	s.tb.Helper()
	if s.cmd == nil {
		return
	}
	if err := how(s.cmd); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.tb.Fatalf("servertest: end %s: %v", s.name, err)
	}
	select {
	case <-s.done:
		s.cmd = nil
	case <-time.After(Patience):
		kill(s.cmd)
		s.tb.Fatalf("servertest: %s doesn't end within %v", s.name, Patience)
	}
}

// Pause stops the server with all its processes as SIGSTOP does: connections stay open, and nothing is answered.
func (s *Server) Pause() {
	s.tb.Helper()
	if err := pause(s.cmd, true); err != nil {
		s.tb.Fatalf("servertest: pause %s: %v", s.name, err)
	}
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.tb.Helper()
	if err := pause(s.cmd, false); err != nil {
		s.tb.Fatalf("servertest: resume %s: %v", s.name, err)
	}
}

// launch makes a folder and a free port for s, completes it by prepare, and starts it.
func launch(tb TB, s *Server, prepare func(*Server) error) *Server {
	tb.Helper()
	s.tb = tb
	dir, err := os.MkdirTemp("", s.name+"-")
	if err != nil {
		tb.Fatalf("servertest: %v", err)
	}
	s.Dir = dir
	tb.Cleanup(func() {
		if s.cmd != nil {
			kill(s.cmd)
			<-s.done
		}
		os.RemoveAll(dir)
	})
	if err := errors.Join(giveTo(dir, s.user), reachable(dir, s.user)); err != nil {
		tb.Fatalf("servertest: %s: %v", s.name, err)
	}
	for attempt := 1; ; attempt++ {
		s.Port = FreePort(tb)
		s.Addr = net.JoinHostPort("127.0.0.1", s.Port)
		err := prepare(s)
		if err == nil {
			err = s.start()
		}
		if err == nil {
			return s
		}
		// Somebody else may have taken the port meanwhile.
		if attempt == 3 || !strings.Contains(strings.ToLower(s.lastWords()), "address already in use") {
			tb.Fatalf("%v", err)
		}
	}
}

// FreePort returns a port on which nobody listens. It lies below the ports that systems give to outgoing connections,
// so that none of those takes it while its server is down.
func FreePort(tb TB) string {
	tb.Helper()
	for range 100 {
		n, err := rand.Int(rand.Reader, big.NewInt(12000))
		if err != nil {
			break
		}
		port := fmt.Sprint(20000 + n.Int64())
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			l.Close()
			return port
		}
	}
	tb.Fatalf("servertest: no free port found")
	return ""
}

// program returns the path of a program that Debian's package has.
func program(tb TB, debian string, names ...string) string {
	tb.Helper()
	for _, name := range names {
		if found, _ := filepath.Glob(name); len(found) > 0 {
			return found[len(found)-1]
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatalf("servertest: %s is missing: apt-get install %s (or run ./test, which does)", names[0], debian)
	return ""
}

// run executes a command to its end as user.
func run(user, dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := startProcess(cmd, user)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("servertest: %s: %w: %s", filepath.Base(name), err, out.String())
	}
	return nil
}

// Shared is the TB of servers that serve all tests of a package: they end when [Main] does.
var Shared TB = &shared{}

type shared struct {
	mu       sync.Mutex
	cleanups []func()
}

func (*shared) Helper() {}

// Fatalf panics: no test is there to be ended.
func (s *shared) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (s *shared) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Main runs the tests of a package, ends the servers of Shared, and the program.
func Main(m interface{ Run() int }) {
	status := m.Run()
	s := Shared.(*shared)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.cleanups {
		f()
	}
	os.Exit(status)
}
