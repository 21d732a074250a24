// Package memcachedstore keeps sessions in memcached: for those who run it already, and can live with what a cache
// does.
//
//	s, err := memcachedstore.Open(ctx, "memcached://cache1:11211,cache2:11211", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//	sessions, err := session.New(session.Config{SecretKey: key, Store: s})
//
// # What a cache does not promise
//
// memcached may forget. When its memory is full it evicts what was used least recently, and after a restart it is
// empty. What this store answered as saved is saved only until then:
//
//   - An evicted session is a visitor who is logged out and whose values are gone. No outage is seen: it looks like a
//     session that has ended. This is less than promise P4 of package session ("lose nothing").
//   - No ended session comes back by it, since nothing but Create makes a record and IDs are never used twice. But an
//     evicted tombstone no longer tells where a renewed session went: a request that was in flight during a Renew or a
//     Login drops its changes (less than P3), and a Logout that overlaps a Renew of the same session can miss the new
//     one (less than P2). It takes a server so small that it is overwritten within the two minutes that tombstones
//     live.
//   - A list of servers that is changed and changed back brings back what the servers had then, sessions that were
//     ended meanwhile included (less than P2). So does a ServerSelector that passes over a server which does not
//     answer. Empty the memory of a server (flush_all, or a restart) before it comes back.
//
// With memcached's option -M a full server refuses writes instead of evicting: clients get 503, and nothing is lost but
// by a restart.
//
// There is no index: Manager.Sessions, All, Revoke, RevokeAll and Session.RevokeOthers return errors.ErrUnsupported.
// "Log out everywhere" after a stolen password is not possible: choose Redis or a database where it has to be.
//
// # Several servers
//
// Each record is on one server, there are no copies. [Open] chooses it so that the order of the list does not matter,
// and that adding or removing one of n servers moves, and so ends, one nth of the sessions. (The client's own choice,
// which a caller of [New] gets unless it passes another memcache.ServerSelector, moves nearly all.) All processes must
// have the same list: with another one a process sees other sessions, and its logouts do not reach the rest. While a
// server is down, its sessions are out of reach, 503, and those of the others are not affected.
//
// # Expiry
//
// The server's clock runs down the time that was left when a record was written. It counts seconds, so a record may be
// there up to 4 seconds longer than its ExpiresAt says; never shorter, while the server's clock ticks at most half a
// second late. Two bounds of memcached's protocol show: a life of more than 30 days ends at a date, of the server's
// clock, and is off by what that differs from the writer's; and dates after 2038-01-19 it doesn't know: such records
// are there until a reader's clock says that they have expired.
//
// # Size
//
// memcached takes items of 1 MiB with everything, unless it is started with another -I: set Config.MaxBytes to
// 1,000,000 or less. What is larger is refused with an error that says so.
//
// # Concurrency
//
// All methods are safe for concurrent use. A compare-and-swap is a gets, a comparison of the versions, and a cas with
// the gets's token, so that a lost race changes nothing. Load, Create and Delete are one round trip, Replace and Touch
// two. The client knows no contexts: each call has a goroutine, which a call that is given up leaves behind until the
// client's own timeout ends it, for 2 seconds with [Open]'s client. [Options].MaxConns bounds their number.
//
// A Load on a connection that the server has closed meanwhile is sent again on a new one. Writes are sent once: a
// Create or Delete that meets such a connection, the first after a restart, is an error.
package memcachedstore

import (
	"context"
	"fmt"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/store"
)

// Options of a Store. The zero value is the defaults; later changes have no effect.
type Options struct {
	// Prefix goes before each key, so that several applications can share a server. Default: "hipflask:". Printable
	// ASCII without spaces, at most 122 bytes: memcached's keys have at most 250.
	Prefix string

	// MaxConns bounds the calls in flight, and with them the connections. Calls beyond it wait, as long
	// as their context allows. Default: 64; memcached itself takes 1024 connections unless it is told otherwise (-c).
	MaxConns int

	_ struct{} // no unkeyed literals: fields may be added
}

const (
	defaultPrefix = "hipflask:"
	maxKey        = 250 // of memcached's protocol
)

// Store keeps records in memcached. It implements [store.Store] and, as memcached lists nothing, not [store.Lister].
// Make one with [New] or [Open].
type Store struct {
	client *Client
	prefix string
}

var _ store.Store = (*Store)(nil)

// New returns a Store that uses client, which stays the caller's: Close does not close it. Nil opts are the defaults.
// It does no I/O.
//
// The client's MaxIdleConns should be as large as MaxConns: by default it keeps 2 connections and opens each further
// one anew. Its Timeout bounds for how long calls that were given up linger. For TLS set its DialContext. It must not
// retry writes; as it comes from its package it doesn't.
func New(client *memcache.Client, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	c, err := NewClient(client, opts.MaxConns)
	if err != nil {
		return nil, err
	}
	return newStore(c, opts)
}

func newStore(c *Client, opts *Options) (*Store, error) {
	prefix := opts.Prefix
	if prefix == "" {
		prefix = defaultPrefix
	}
	if n := len(prefix); n > maxKey-store.MaxKey {
		return nil, fmt.Errorf("memcachedstore: Prefix has %d bytes, at most %d", n, maxKey-store.MaxKey)
	}
	for i := range len(prefix) {
		if c := prefix[i]; c <= ' ' || c > '~' {
			return nil, fmt.Errorf("memcachedstore: Prefix has the byte %#02x: use printable ASCII without spaces", c)
		}
	}
	return &Store{client: c, prefix: prefix}, nil
}

// Open makes a client for the servers that url names and returns a Store that uses it; Close closes it. Nil opts are
// the defaults. It asks each server for its version, so that a wrong address is found at once.
//
//	memcached://host               port 11211
//	memcached://host1:port,host2   several servers; an IPv6 address stands in brackets
//	memcached:///path/to/socket    a socket of this machine
//
// The connections are neither encrypted nor authenticated, which the client library can't do by itself: whoever reaches
// a server can read and write sessions. Keep it in a private network, or pass New a client with TLS.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	c, err := Dial(ctx, url, opts.MaxConns)
	if err != nil {
		return nil, err
	}
	s, err := newStore(c, opts)
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// Close waits for calls in flight, also for those that were given up, and closes a client that Open made. Later calls
// fail. The error is always nil, also when the Store was closed before.
func (s *Store) Close() error { return s.client.Close() }
