package servertest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const redisPackage = "redis-server"

// Redis starts a Redis server with no persistence and the default settings otherwise. Arguments are settings, such as
// "--appendonly", "yes".
func Redis(tb TB, settings ...string) *Server {
	tb.Helper()
	return startRedis(tb, "redis", settings...)
}

func startRedis(tb TB, name string, settings ...string) *Server {
	tb.Helper()
	path := program(tb, redisPackage, "redis-server")
	return launch(tb, &Server{name: name, answers: redisAnswers}, func(s *Server) error {
		s.URL = "redis://" + s.Addr
		s.command = append([]string{path, "--bind", "127.0.0.1", "--port", s.Port, "--dir", s.Dir, "--save", ""},
			settings...)
		return nil
	})
}

// redisAnswers says whether a server has loaded its data.
func redisAnswers(c net.Conn) error {
	line, err := redisLine(c, "PING")
	if err == nil && strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "-NOAUTH") {
		err = errors.New(line)
	}
	return err
}

func redisLine(c net.Conn, command string) (string, error) {
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

// Cluster is a Redis Cluster of three masters with a replica each.
type Cluster struct {
	Nodes []*Server // the masters first, as they were at the beginning
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string { return addrs(c.Nodes) }

func addrs(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr)
	}
	return all
}

// RedisCluster starts a Redis Cluster that notices the loss of a node after a second.
func RedisCluster(tb TB, settings ...string) *Cluster {
	tb.Helper()
	c := &Cluster{}
	for range 6 {
		c.Nodes = append(c.Nodes, startRedis(tb, "redis-cluster", append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", FreePort(tb),
			"--repl-diskless-sync-delay", "0",
		}, settings...)...))
	}
	cli := program(tb, "redis-tools", "redis-cli")
	create := append([]string{"--cluster", "create"}, c.Addrs()...)
	if err := run("", c.Nodes[0].Dir, cli, append(create, "--cluster-replicas", "1", "--cluster-yes")...); err != nil {
		tb.Fatalf("%v", err)
	}
	for _, s := range c.Nodes {
		s.waitFor("CLUSTER INFO", "cluster_state:ok")
	}
	for _, s := range c.Nodes[3:] {
		s.waitFor("INFO replication", "master_link_status:up")
	}
	return c
}

// Sentinels is a master with two replicas and three sentinels that watch it.
type Sentinels struct {
	Master    string // the name that the sentinels know it by
	Nodes     []*Server
	Sentinels []*Server
}

// Addrs returns the addresses of the sentinels.
func (s *Sentinels) Addrs() []string { return addrs(s.Sentinels) }

// RedisSentinel starts a master, two replicas and three sentinels, which replace a master after a second of silence.
func RedisSentinel(tb TB, settings ...string) *Sentinels {
	tb.Helper()
	all := &Sentinels{Master: "sessions"}
	settings = append([]string{"--repl-diskless-sync-delay", "0"}, settings...)
	master := startRedis(tb, "redis-master", settings...)
	all.Nodes = []*Server{master}
	for range 2 {
		replica := startRedis(tb, "redis-replica", append(settings, "--replicaof", "127.0.0.1 "+master.Port)...)
		replica.waitFor("INFO replication", "master_link_status:up")
		all.Nodes = append(all.Nodes, replica)
	}
	path := program(tb, redisPackage, "redis-server")
	for range 3 {
		all.Sentinels = append(all.Sentinels,
			launch(tb, &Server{name: "sentinel", answers: redisAnswers}, func(s *Server) error {
				config, err := s.writeFile("sentinel.conf", fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\n"+
					"sentinel monitor %[3]s 127.0.0.1 %[4]s 2\nsentinel down-after-milliseconds %[3]s 1000\n"+
					"sentinel failover-timeout %[3]s 4000\n", s.Port, s.Dir, all.Master, master.Port))
				s.command = []string{path, config, "--sentinel"}
				return err
			}))
	}
	for _, s := range all.Sentinels {
		s.waitFor("SENTINEL MASTER "+all.Master, "num-other-sentinels\r\n$1\r\n2", "num-slaves\r\n$1\r\n2")
	}
	return all
}

// MasterAddr returns the address of the master as the first sentinel that answers knows it.
func (s *Sentinels) MasterAddr() string {
	for _, sentinel := range s.Sentinels {
		answer, err := sentinel.redis("SENTINEL GET-MASTER-ADDR-BY-NAME " + s.Master)
		if lines := strings.Split(answer, "\r\n"); err == nil && len(lines) > 4 {
			return net.JoinHostPort(lines[2], lines[4])
		}
	}
	return ""
}

// waitFor asks until the answer contains all the texts.
func (s *Server) waitFor(command string, texts ...string) {
	s.tb.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(50 * time.Millisecond) {
		answer, err := s.redis(command)
		missing := ""
		for _, text := range texts {
			if !strings.Contains(answer, text) {
				missing = text
			}
		}
		if err == nil && missing == "" {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("servertest: %s: %s: %q is missing (%v)", s.name, command, missing, err)
		}
	}
}

// redis sends a command and returns what comes until the server is silent for a moment. (A sentinel knows no QUIT.)
func (s *Server) redis(command string) (string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	var answer []byte
	buf := make([]byte, 16<<10)
	c.SetReadDeadline(time.Now().Add(time.Second))
	for {
		n, err := c.Read(buf)
		answer = append(answer, buf[:n]...)
		if err != nil && len(answer) == 0 {
			return "", err
		}
		if err != nil {
			return string(answer), nil
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	}
}
