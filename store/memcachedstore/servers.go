package memcachedstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"
)

const (
	scheme      = "memcached"
	defaultPort = "11211"
)

// address is a server as the client's dialer wants it. Names are looked up when a connection is made, not once for all.
type address struct{ network, text string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.text }

// servers chooses for each key the server with the highest hash of both (rendezvous hashing), so that one server more
// or less moves the keys of that one only.
type servers []address

var _ memcache.ServerSelector = servers(nil)

// PickServer implements [memcache.ServerSelector].
func (s servers) PickServer(key string) (net.Addr, error) {
	if len(s) == 1 {
		return s[0], nil
	}
	var best address
	var highest uint64
	for _, a := range s {
		sum := sha256.Sum256([]byte(a.text + "\x00" + key))
		if score := binary.BigEndian.Uint64(sum[:]); score >= highest {
			best, highest = a, score
		}
	}
	return best, nil
}

// Each implements [memcache.ServerSelector].
func (s servers) Each(f func(net.Addr) error) error {
	for _, a := range s {
		if err := f(a); err != nil {
			return err
		}
	}
	return nil
}

// parse returns the servers that a URL names. The text of the URL is in no error: it may be somebody's secret in a
// wrong place. (net/url takes no list of hosts.)
func parse(url string) (servers, error) {
	rest, ok := strings.CutPrefix(url, scheme+"://")
	if !ok {
		return nil, errors.New("memcachedstore: the URL does not begin with memcached://")
	}
	hosts, path, _ := strings.Cut(rest, "/")
	switch {
	case strings.ContainsAny(rest, "?#"):
		return nil, errors.New("memcachedstore: the URL has parameters: use Options")
	case strings.Contains(rest, "@"):
		return nil, errors.New("memcachedstore: the URL has a user or a password, which the client can't " +
			"send: remove it, and keep the server in a private network")
	case hosts == "" && path != "":
		return servers{{"unix", "/" + path}}, nil
	case path != "":
		return nil, errors.New("memcachedstore: the URL has a path: memcached has none, use Options.Prefix")
	}
	var list servers
	for i, host := range strings.Split(hosts, ",") {
		a, err := hostPort(host)
		if err != nil {
			return nil, fmt.Errorf("memcachedstore: server %d of the URL %w", i+1, err)
		}
		for _, other := range list {
			if other == a {
				return nil, fmt.Errorf("memcachedstore: server %d of the URL is there twice", i+1)
			}
		}
		list = append(list, a)
	}
	return list, nil
}

func hostPort(text string) (address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil { // without a port, or wrong
		host, port, err = net.SplitHostPort(text + ":" + defaultPort)
	}
	switch {
	case err != nil:
		return address{}, errors.New("is no host, or host:port")
	case host == "":
		return address{}, errors.New("has no name")
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return address{}, errors.New("has a port that is none")
	}
	return address{"tcp", net.JoinHostPort(host, port)}, nil
}
