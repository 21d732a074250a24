package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

// stranger returns the kind of the server that a store's URL leads to, if it is another than the scheme says; else "".
func stranger(ctx context.Context, storeURL string) string {
	scheme, rest, _ := strings.Cut(storeURL, "://")
	wanted, port := "", ""
	switch scheme {
	case "redis", "rediss", "valkey", "valkeys":
		wanted, port = "Redis", "6379"
	case "postgres", "postgresql":
		wanted, port = "PostgreSQL", "5432"
	case "mysql", "mariadb":
		wanted, port = "MySQL", "3306"
	case "memcached":
		wanted, port = "memcached", "11211"
	default:
		return ""
	}
	rest, _, _ = strings.Cut(rest[strings.LastIndexByte(rest, '@')+1:], "/")
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, ",") // the first of several
	u, err := url.Parse("tcp://" + rest)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if kind := serverAt(ctx, net.JoinHostPort(u.Hostname(), port)); kind != wanted {
		return kind
	}
	return ""
}

// serverAt tells what kind of server listens there, by what it says to a greeting that does nothing; "" if it is none
// that we know. MySQL speaks first. The others answer "PING", but PostgreSQL, which answers SSLRequest by one byte
// (PostgreSQL's documentation, "Message Formats").
func serverAt(ctx context.Context, address string) string {
	first := replyOf(ctx, address, "", 300*time.Millisecond)
	if len(first) > 5 && first[3] == 0 && (first[4] == 10 || first[4] == 0xff) {
		return "MySQL"
	}
	switch reply := replyOf(ctx, address, "PING\r\n\r\n", time.Second); {
	case bytes.HasPrefix(reply, []byte("+PONG")), bytes.HasPrefix(reply, []byte("-NOAUTH")),
		bytes.HasPrefix(reply, []byte("-DENIED")):
		return "Redis"
	case bytes.HasPrefix(reply, []byte("ERROR\r\n")):
		return "memcached"
	case bytes.HasPrefix(reply, []byte("HTTP/")):
		return "web"
	}
	if reply := replyOf(ctx, address, "\x00\x00\x00\x08\x04\xd2\x16\x2f", time.Second); string(reply) == "S" ||
		string(reply) == "N" {
		return "PostgreSQL"
	}
	return ""
}

// replyOf returns the first bytes of a server.
func replyOf(ctx context.Context, address, say string, patience time.Duration) []byte {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, say); err != nil {
		return nil
	}
	b := make([]byte, 64)
	n, _ := c.Read(b)
	return b[:n]
}
