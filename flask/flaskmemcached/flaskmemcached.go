// Package flaskmemcached shares the sessions of a Flask application with Flask-Session's SESSION_TYPE "memcached",
// while both run:
//
//	st, err := flaskmemcached.Open(ctx, "memcached://cache:11211", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer st.Close()
//	sessions, err := session.New(session.Config{
//		SecretKey:  os.Getenv("SECRET_KEY"), // the Flask application's
//		Store:      st,
//		IDFormat:   flask.SID, // or SignedSID
//		Serializer: flask.Msgpack, // or JSON
//		Cookie:     session.Cookie{Name: "session", Persistent: true},
//	})
//
// What package memcachedstore says of memcached, its expiry and its sizes holds here too.
//
// # What is promised
//
// A write compares the whole content and is a cas: it never takes the place of what a Flask process has written since,
// and never creates a session again that was deleted. A session that was ended or renewed here leaves a mark,
// "hipflask:" and the session's name, for Config.Grace. The mark and the end are two steps. A process that dies between
// them has ended the session for Go and not for Flask, and a request that comes between them can lose a change that a
// Flask process makes at the same moment. If the session has just changed, the mark is taken back: a login or renewal
// among concurrent requests, or one of those requests, may then get a 503 and has to be repeated.
//
// memcached does not tell when a session expires. A process remembers the sessions that it has written, some thousands
// of them; the first request that looks at any other session touches it.
//
// With several servers, pass [New] a client whose ServerSelector chooses as the Flask application's client does. A
// Store is no store.Lister. docs/flask-session.md in the repository has the details.
package flaskmemcached

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/flask/flasksession"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memcachedstore"
)

// Options are the settings of a Store. The zero value has the defaults of Flask-Session.
type Options struct {
	// KeyPrefix is SESSION_KEY_PREFIX: printable ASCII without spaces, at most 113 bytes. Default: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	// MaxConns is as in memcachedstore.Options.
	MaxConns int

	_ struct{} // no unkeyed literals: fields may be added
}

// Store is a [store.Store] over the sessions. Its methods are safe for concurrent use. Make one with [Open] or [New].
type Store struct {
	engine
	client *memcachedstore.Client
}

// engine has the methods of package store, which say there what they do; the field's name is hidden, they are not.
type engine = *flasksession.Store

var _ store.Store = (*Store)(nil)

// New returns a Store that uses client, which stays the caller's; what [memcachedstore.New] says of it holds here too.
// Nil opts are the defaults. It does no I/O.
func New(client *memcache.Client, opts *Options) (*Store, error) {
	return newStore(opts, func(maxConns int) (*memcachedstore.Client, error) {
		return memcachedstore.NewClient(client, maxConns)
	})
}

// Open makes a client for the server that url names, as [memcachedstore.Open] does, and returns a Store whose Close
// closes it.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	return newStore(opts, func(maxConns int) (*memcachedstore.Client, error) {
		return memcachedstore.Dial(ctx, url, maxConns)
	})
}

const maxKey = 250 // of memcached's protocol

func newStore(opts *Options, connect func(maxConns int) (*memcachedstore.Client, error)) (*Store, error) {
	if opts == nil {
		opts = new(Options)
	}
	prefix := flasksession.Prefix(opts.KeyPrefix, opts.NoKeyPrefix)
	if most := maxKey - store.MaxKey - len(flasksession.MarkPrefix); len(prefix) > most {
		return nil, fmt.Errorf("flaskmemcached: KeyPrefix has %d bytes, at most %d", len(prefix), most)
	}
	for i := range len(prefix) {
		if c := prefix[i]; c <= ' ' || c > '~' {
			return nil, fmt.Errorf("flaskmemcached: KeyPrefix has the byte %#02x: memcached's keys are "+
				"printable ASCII without spaces", c)
		}
	}
	client, err := connect(opts.MaxConns)
	if err != nil {
		return nil, err
	}
	return &Store{flasksession.New(&items{client, prefix}), client}, nil
}

// Close waits for calls in flight and closes a client that Open made. Later calls fail. The error is always nil, also
// when the Store was closed before.
func (s *Store) Close() error { return s.client.Close() }

// items is Flask-Session's layout (flask_session/memcached/memcached.py) as a flasksession.Medium.
type items struct {
	client *memcachedstore.Client
	prefix string
}

func (m *items) Version(document []byte) uint64 { return flasksession.SHA256(document) }

func (m *items) names(key string) (session, mark string) {
	return m.prefix + key, flasksession.MarkPrefix + m.prefix + key
}

// get returns the item of that name, nil if there is none.
func get(c *memcache.Client, name string) (*memcache.Item, error) {
	item, err := c.Get(name)
	switch {
	case err == memcache.ErrCacheMiss:
		return nil, nil
	case err != nil:
		return nil, err
	case item.Key != name: // which the client does not check
		return nil, errors.New("the server answered for another key")
	}
	return item, nil
}

// Load returns no document beside a mark: package flasksession would remove the document, while Retire may be about to
// find that it has changed.
func (m *items) Load(ctx context.Context, key string) (document, mark *flasksession.Value, err error) {
	session, name := m.names(key)
	var data, noted []byte
	err = m.client.Read(ctx, "load", func(c *memcache.Client) error {
		data, noted = nil, nil // of an attempt that failed
		items, err := c.GetMulti([]string{session, name})
		if err != nil {
			return err
		}
		if item := items[session]; item != nil {
			data = item.Value
		}
		item := items[name]
		if item == nil && len(data) == 0 {
			// If the mark is on another server, it may have been written after it was looked for, and before the
			// session was.
			if item, err = get(c, name); err != nil {
				return err
			}
		}
		if item != nil {
			noted = item.Value
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case noted != nil:
		return nil, &flasksession.Value{Data: noted}, nil
	case len(data) == 0: // none, as for Flask-Session
		return nil, nil, nil
	}
	return &flasksession.Value{Data: data}, nil, nil
}

func (m *items) Create(ctx context.Context, key string, v flasksession.Value) error {
	session, _ := m.names(key)
	return m.client.Do(ctx, "create", func(c *memcache.Client) error {
		err := c.Add(item(session, v))
		if err == memcache.ErrNotStored {
			return store.ErrExists
		}
		return err
	})
}

func item(name string, v flasksession.Value) *memcache.Item {
	return &memcache.Item{Key: name, Value: v.Data, Expiration: memcachedstore.Expiration(v.Expires, time.Now())}
}

// rounds bounds how often update begins again: far more often than requests of one session overlap.
const rounds = 64

// update runs write with the item of a session, if its content has the given version. After a lost race it begins
// again, since the content may be the same.
func (m *items) update(
	ctx context.Context, step, key string, version uint64, write func(*memcache.Client, *memcache.Item) error,
) error {
	session, _ := m.names(key)
	for range rounds {
		var found *memcache.Item
		err := m.client.Read(ctx, step, func(c *memcache.Client) (err error) {
			found, err = get(c, session)
			return err
		})
		switch {
		case err != nil:
			return err
		case found == nil || len(found.Value) == 0:
			return store.ErrNotFound
		case m.Version(found.Value) != version:
			return store.ErrConflict
		}
		lost := false
		err = m.client.Do(ctx, step, func(c *memcache.Client) error {
			switch err := write(c, found); err {
			case memcache.ErrCASConflict:
				lost = true
				return nil
			case memcache.ErrCacheMiss:
				return store.ErrNotFound
			default:
				return err
			}
		})
		if err != nil || !lost {
			return err
		}
	}
	return store.ErrConflict
}

func (m *items) Replace(ctx context.Context, key string, version uint64, v flasksession.Value) error {
	return m.update(ctx, "replace", key, version, func(c *memcache.Client, found *memcache.Item) error {
		found.Value, found.Expiration = v.Data, memcachedstore.Expiration(v.Expires, time.Now())
		return c.CompareAndSwap(found)
	})
}

// Touch leaves the content as it is, also if somebody changes it at the same time.
func (m *items) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return m.update(ctx, "touch", key, version, func(c *memcache.Client, found *memcache.Item) error {
		return c.Touch(found.Key, memcachedstore.Expiration(expires, time.Now()))
	})
}

// Retire leaves the mark first, and takes it back if the session turns out to have changed.
func (m *items) Retire(ctx context.Context, key string, version uint64, mark flasksession.Value) error {
	_, name := m.names(key)
	return m.update(ctx, "replace", key, version, func(c *memcache.Client, found *memcache.Item) error {
		if err := c.Set(item(name, mark)); err != nil {
			return err
		}
		found.Expiration = -1 // at once: a delete that compares
		err := c.CompareAndSwap(found)
		if err == memcache.ErrCASConflict || err == memcache.ErrCacheMiss {
			_ = c.Delete(name)
		}
		return err
	})
}

func (m *items) Mark(ctx context.Context, key string, mark flasksession.Value) error {
	_, name := m.names(key)
	return m.client.Do(ctx, "create", func(c *memcache.Client) error { return c.Set(item(name, mark)) })
}

func (m *items) Delete(ctx context.Context, key string) error {
	session, mark := m.names(key)
	return m.client.Do(ctx, "delete", func(c *memcache.Client) error {
		for _, name := range []string{session, mark} {
			if err := c.Delete(name); err != nil && err != memcache.ErrCacheMiss {
				return err
			}
		}
		return nil
	})
}
