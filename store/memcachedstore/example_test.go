package memcachedstore_test

import (
	"context"
	"crypto/tls"
	"log"
	"os"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memcachedstore"
)

func ExampleOpen() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := memcachedstore.Open(ctx, "memcached://cache1,cache2", &memcachedstore.Options{Prefix: "shop:"})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	sessions, err := session.New(session.Config{
		SecretKey: os.Getenv("SECRET_KEY"), // the same for all processes
		Store:     s,
		MaxBytes:  1_000_000, // memcached takes items of 1 MiB with everything
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
}

// A client with TLS, for a memcached that is started with --enable-ssl.
func ExampleNew() {
	client := memcache.New("cache.example.com:11211")
	client.DialContext = (&tls.Dialer{}).DialContext
	client.Timeout = 2 * time.Second
	client.MaxIdleConns = 64
	defer client.Close()

	s, err := memcachedstore.New(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
}
