package servertest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Memcached starts a memcached server. Arguments are its options, such as "-m", "8".
func Memcached(tb TB, options ...string) *Server {
	tb.Helper()
	path := program(tb, "memcached", "memcached")
	return launch(tb, &Server{name: "memcached", user: "memcache", answers: memcachedAnswers}, func(s *Server) error {
		s.URL = "memcached://" + s.Addr
		s.command = append([]string{path, "-l", "127.0.0.1", "-p", s.Port, "-U", "0"}, options...)
		return nil
	})
}

func memcachedAnswers(c net.Conn) error {
	if _, err := fmt.Fprint(c, "version\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "VERSION") {
		err = errors.New("the server is starting")
	}
	return err
}
