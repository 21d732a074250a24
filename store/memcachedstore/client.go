package memcachedstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/store"
)

var errClosed = errors.New("memcachedstore: the store is closed")

// Client runs calls of a memcache.Client, which knows no contexts, under contexts, and bounds how many run at a time.
// Its errors contain no keys. Its methods are safe for concurrent use. A [Store] has one; so may a package that stores
// something beside sessions.
type Client struct {
	client *memcache.Client
	owned  bool // made by Dial

	slots  chan struct{} // taken by each call in flight
	closed chan struct{}
	close  sync.Once
}

const defaultMaxConns = 64

// NewClient returns a Client that uses client, which stays the caller's. maxConns bounds the calls in flight; 0 is 64,
// a negative number is an error. It does no I/O.
func NewClient(client *memcache.Client, maxConns int) (*Client, error) {
	switch {
	case client == nil:
		return nil, errors.New("memcachedstore: the client is nil: pass one of memcache.New, or use Open")
	case maxConns == 0:
		maxConns = defaultMaxConns
	case maxConns < 0:
		return nil, fmt.Errorf("memcachedstore: MaxConns is %d: use 0 for the default, or more", maxConns)
	}
	return &Client{client: client, slots: make(chan struct{}, maxConns), closed: make(chan struct{})}, nil
}

// openTimeout is the timeout of Dial's client: long enough for a server under load, and a bound on the goroutines that
// calls leave behind when their context ends first.
const openTimeout = 2 * time.Second

// Dial returns a Client for the servers that url names, as [Open] describes them, and asks each server for its version.
// Close closes the connections.
func Dial(ctx context.Context, url string, maxConns int) (*Client, error) {
	addrs, err := parse(url)
	if err != nil {
		return nil, err
	}
	client := memcache.NewFromSelector(addrs)
	client.Timeout = openTimeout
	c, err := NewClient(client, maxConns)
	if err != nil {
		return nil, err
	}
	client.MaxIdleConns = cap(c.slots)
	c.owned = true
	if err := c.Do(ctx, "ask the servers for their version", (*memcache.Client).Ping); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close waits for calls in flight, also for those that were given up, and closes the connections that Dial made. Later
// calls fail. The error is always nil, also when the Client was closed before.
func (c *Client) Close() error {
	c.close.Do(func() {
		close(c.closed)
		for range cap(c.slots) { // and never gives them back
			c.slots <- struct{}{}
		}
		if c.owned {
			c.client.Close()
		}
	})
	return nil
}

// Read is Do for calls that only read. It runs call again, once, if a connection turns out to have been closed by the
// server: after a restart of the server all connections that the client has kept are closed, and each of them would
// cost a request.
func (c *Client) Read(ctx context.Context, step string, call func(*memcache.Client) error) error {
	return c.Do(ctx, step, func(client *memcache.Client) error { return again(client, call) })
}

// again runs a call that only reads, and once more if it met a connection that the server has closed.
func again(client *memcache.Client, call func(*memcache.Client) error) error {
	err := call(client)
	if err != nil && stale(err) {
		client.Close() // drops the idle connections; the client stays usable
		err = call(client)
	}
	return err
}

// Do runs call, once, in a goroutine of its own, and returns when call has returned or ctx has ended. step says in
// errors what failed. A call that was given up goes on: if Do returns an error, the caller must not use what call reads
// or writes. An error of package store that call returns is returned as it is.
func (c *Client) Do(ctx context.Context, step string, call func(*memcache.Client) error) error {
	select {
	case <-c.closed:
		return errClosed
	default:
	}
	if ctx.Err() != nil {
		return givenUp(ctx, step)
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.closed:
		return errClosed
	case <-ctx.Done():
		return givenUp(ctx, step)
	}
	done := make(chan error, 1)
	go func() {
		err := call(c.client)
		<-c.slots
		done <- err
	}()
	select {
	case err := <-done:
		return describe(step, err)
	case <-ctx.Done():
		return givenUp(ctx, step)
	}
}

func givenUp(ctx context.Context, step string) error {
	return fmt.Errorf("memcachedstore: %s: %w", step, ctx.Err())
}

// describe makes an error of the client one of ours. The client's own texts stay out of it, as they quote the server's
// answers, in which there may be keys; those of package net name addresses only.
func describe(step string, err error) error {
	text := ""
	switch {
	case err == nil, err == store.ErrNotFound, err == store.ErrExists, err == store.ErrConflict:
		return err
	case fromNetwork(err), errors.Is(err, memcache.ErrNoServers), errors.Is(err, errOurs):
		return fmt.Errorf("memcachedstore: %s: %w", step, err)
	case errors.Is(err, memcache.ErrMalformedKey):
		text = "the key is no printable ASCII, or too long"
	case strings.Contains(err.Error(), "too large"):
		text = "the record is larger than the server takes: store less (Config.MaxBytes), or start memcached " +
			"with a larger -I"
	case strings.Contains(err.Error(), "out of memory"):
		text = "the server is out of memory: give it more (-m)"
	default:
		text = "the server answers what is no answer to this"
	}
	return fmt.Errorf("memcachedstore: %s: %s", step, text)
}

// errOurs is wrapped by errors whose text is this package's.
var errOurs = errors.New("refused")

func fromNetwork(err error) bool {
	var op *net.OpError
	var timeout *memcache.ConnectTimeoutError
	return errors.As(err, &op) || errors.As(err, &timeout) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}

// stale tells whether err may come from a connection that the server closed while nobody used it.
func stale(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "dial" && !op.Timeout()
	}
	return errors.Is(err, io.EOF)
}
