package memcachedstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/store"
)

var errClosed = errors.New("memcachedstore: the store is closed")

// do runs call, which knows no context, in a goroutine of its own and returns when that or ctx has ended. A call that is
// given up goes on: what it reads or writes must not be used by the caller then.
func (s *Store) do(ctx context.Context, step string, call func() error) error {
	select {
	case <-s.closed:
		return errClosed
	default:
	}
	if ctx.Err() != nil {
		return givenUp(ctx, step)
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.closed:
		return errClosed
	case <-ctx.Done():
		return givenUp(ctx, step)
	}
	done := make(chan error, 1)
	go func() {
		err := call()
		<-s.slots
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
		text = "the record is larger than the server takes: store less (Config.MaxBytes), or start memcached with a larger -I"
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
	return errors.As(err, &op) || errors.As(err, &timeout) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// stale tells whether err may come from a connection that the server closed while nobody used it.
func stale(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "dial" && !op.Timeout()
	}
	return errors.Is(err, io.EOF)
}
