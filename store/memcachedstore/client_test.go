package memcachedstore_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
)

func set(tb testing.TB, c *memcache.Client, key, value string) {
	tb.Helper()
	if err := c.Set(&memcache.Item{Key: key, Value: []byte(value)}); err != nil {
		tb.Fatal(err)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"memcached://cache":               "tcp cache:11211",
		"memcached://cache/":              "tcp cache:11211",
		"memcached://cache:1":             "tcp cache:1",
		"memcached://a:1,b,[::1]:2":       "tcp a:1, tcp b:11211, tcp [::1]:2",
		"memcached://[fe80::1%25eth0]":    "tcp [fe80::1%25eth0]:11211",
		"memcached:///run/memcached.sock": "unix /run/memcached.sock",
	} {
		got, err := memcachedstore.Parse(url)
		if err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%s: got %v, %v, want %s", url, got, err, want)
		}
	}
	const secret = "hunter2"
	for url, want := range map[string]string{
		"":                                 "does not begin with memcached://",
		"redis://" + secret:                "does not begin with memcached://",
		"memcached:" + secret:              "does not begin with memcached://",
		"memcached://":                     "server 1 of the URL has no name",
		"memcached://a,,b":                 "server 2 of the URL has no name",
		"memcached://a,b,a:11211":          "server 3 of the URL is there twice",
		"memcached://ann:" + secret + "@a": "has a user or a password",
		"memcached://a/" + secret:          "has a path",
		"memcached://a?prefix=" + secret:   "has parameters",
		"memcached://a#" + secret:          "has parameters",
		"memcached://a:" + secret:          "server 1 of the URL has a port that is none",
		"memcached://a:70000":              "server 1 of the URL has a port that is none",
		"memcached://b,a:":                 "server 2 of the URL has a port that is none",
		"memcached://::1":                  "server 1 of the URL is no host",
		"memcached://a:1:" + secret:        "server 1 of the URL is no host",
	} {
		_, err := memcachedstore.Parse(url)
		if err == nil || !strings.HasPrefix(err.Error(), "memcachedstore: ") || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, want an error with %q", url, err, want)
		}
		if _, opened := memcachedstore.Open(t.Context(), url, nil); opened == nil || opened.Error() != err.Error() {
			t.Errorf("%s: Open says %v", url, opened)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	c := memcache.New("127.0.0.1:1")
	for want, opts := range map[string]*memcachedstore.Options{
		"Prefix has 123 bytes, at most 122": {Prefix: strings.Repeat("p", 123)},
		"Prefix has the byte 0x20":          {Prefix: "my app:"},
		"Prefix has the byte 0xc3":          {Prefix: "é"},
		"MaxConns is -1":                    {MaxConns: -1},
	} {
		if _, err := memcachedstore.New(c, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := memcachedstore.New(nil, nil); err == nil {
		t.Error("New took a nil client")
	}
	if _, err := memcachedstore.New(c, &memcachedstore.Options{Prefix: strings.Repeat("p", 122)}); err != nil {
		t.Errorf("the longest prefix: %v", err)
	}
}

// The longest key and prefix fit together, and a prefix keeps two applications apart.
func TestPrefix(t *testing.T) {
	t.Parallel()
	c := bare(t, shared().Addr)
	prefix := strings.Repeat("p", 122)
	a, b := through(t, c, &memcachedstore.Options{Prefix: prefix}), through(t, c, nil)
	rec := newRecord(100)
	rec.Key += strings.Repeat("k", store.MaxKey-len(rec.Key))
	create(t, a, rec)
	present(t, a, rec)
	_, err := b.Load(t.Context(), rec.Key)
	is(t, "Load with another prefix", err, store.ErrNotFound)
	create(t, b, rec)
	for _, key := range []string{prefix + rec.Key, "hipflask:" + rec.Key} {
		if _, err := c.Get(key); err != nil {
			t.Errorf("not stored under its prefix: %v", err)
		}
	}
}

// A client that was passed to New is still usable when the store is closed.
func TestCloseLeavesTheClient(t *testing.T) {
	t.Parallel()
	c := bare(t, shared().Addr)
	s := through(t, c, nil)
	rec := newRecord(100)
	create(t, s, rec)
	s.Close()
	everyCallFails(t, s, t.Context(), rec)
	if _, err := c.Get("hipflask:" + rec.Key); err != nil {
		t.Errorf("the client after Close: %v", err)
	}
}

// The client speaks TLS if its dialer does. (The proxy stands for a memcached that is built with TLS.)
func TestTLS(t *testing.T) {
	t.Parallel()
	site := httptest.NewTLSServer(nil) // for its certificate
	defer site.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: site.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer l.Close()
	serving.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { forward(from, shared().Addr) })
		}
	})
	trusted := site.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusted.ServerName = "example.com"
	c := bare(t, l.Addr().String())
	c.DialContext = (&tls.Dialer{Config: trusted}).DialContext
	defer c.Close()
	s := through(t, c, nil)
	rec := newRecord(100)
	create(t, s, rec)
	present(t, s, rec)
}

// forward passes bytes both ways between from and a new connection.
func forward(from net.Conn, addr string) {
	defer from.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		io.Copy(to, from)
		to.Close()
	}()
	io.Copy(from, to)
}

// What is stored on several servers is on the one that the key names, and on no other.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	a, b := servertest.Memcached(t), servertest.Memcached(t)
	s := open(t, a.URL+","+b.Addr, nil)
	on := map[string]int{}
	var recs []store.Record
	for range 100 {
		rec := newRecord(10)
		create(t, s, rec)
		for _, server := range []*servertest.Server{a, b} {
			if _, err := bare(t, server.Addr).Get("hipflask:" + rec.Key); err == nil {
				on[server.Addr]++
			}
		}
		recs = append(recs, rec)
	}
	if on[a.Addr]+on[b.Addr] != len(recs) || min(on[a.Addr], on[b.Addr]) < 20 {
		t.Errorf("of %d records %v are on the servers", len(recs), on)
	}
	b.Kill()
	there, failed := 0, 0
	for _, rec := range recs {
		if _, err := s.Load(t.Context(), rec.Key); err == nil {
			there++
		} else {
			fails(t, "Load", err)
			failed++
		}
	}
	if there != on[a.Addr] || failed != on[b.Addr] {
		t.Errorf("one of two servers is down: got %d records, %d errors, want %d, %d", there, failed,
			on[a.Addr], on[b.Addr])
	}
}

// The order of the list means nothing, and one server more moves only what it gets.
func TestPick(t *testing.T) {
	t.Parallel()
	const n = 10_000
	count, moved := map[string]int{}, 0
	for i := range n {
		key := fmt.Sprint("hipflask:", i)
		three := memcachedstore.Pick("memcached://a,b,c", key).String()
		count[three]++
		if other := memcachedstore.Pick("memcached://c,a,b", key).String(); other != three {
			t.Fatalf("in another order: got %s, want %s", other, three)
		}
		if four := memcachedstore.Pick("memcached://a,b,c,d", key).String(); four != three {
			moved++
			if four != "d:11211" {
				t.Fatalf("a new server moved a key to an old one")
			}
		}
	}
	for _, c := range append(slices.Collect(maps.Values(count)), moved*4/3) {
		if c < n/3*9/10 || c > n/3*11/10 {
			t.Errorf("got %v and %d moved, want a third each and a quarter", count, moved)
		}
	}
}
