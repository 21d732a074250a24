package memcachedstore

import (
	"context"
	"fmt"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hipflask/session/flask/flasksession"
	"github.com/hipflask/session/store"
)

// FlaskOptions are the settings of a FlaskStore. The zero value is what Flask-Session has.
type FlaskOptions struct {
	// KeyPrefix is SESSION_KEY_PREFIX. Empty: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	// MaxConns is as in Options.
	MaxConns int

	_ struct{} // no unkeyed literals: fields may be added
}

// FlaskStore is a [store.Store] over the sessions of a Flask application with Flask-Session's SESSION_TYPE "memcached",
// which it may share while both run. Use it with flask.SID (or SignedSID) as Config.IDFormat and flask.Msgpack (or JSON)
// as Config.Serializer. What this package says of memcached, its expiry and its sizes holds here too.
//
// A write compares the whole content and is a cas: it never takes the place of what a Flask process has written since, and
// never makes a session again that was deleted. A session that was ended or renewed here leaves a mark, "hipflask:" and
// Flask's name, for Config.Grace. The mark and the end are two steps: a process that dies between them has ended the
// session for Go and not for Flask, and a request that comes between them can lose a change that a Flask process makes at
// the same moment. If the session has just changed the mark is taken back: a login or renewal among parallel requests,
// and one of those, may be answered with 503 then, and have to be repeated.
//
// memcached tells no time left. A process remembers what it has written, some thousand sessions; others are touched by the
// first request that looks at them.
//
// With several servers, pass a client whose ServerSelector chooses as the Flask application's client does. It is no
// Lister. docs/flask-session.md tells the rest.
type FlaskStore struct {
	*flasksession.Store
	medium *flaskItems
}

var _ store.Store = (*FlaskStore)(nil)

// FlaskSession returns a FlaskStore that uses client, which stays the caller's; what [New] says of it holds here too. Nil
// opts are the defaults. It does no I/O.
func FlaskSession(client *memcache.Client, opts *FlaskOptions) (*FlaskStore, error) {
	return flaskStore(opts, func(o *Options) (*Store, error) { return New(client, o) })
}

// OpenFlaskSession makes a client for the server that url names, as [Open] does, and returns a FlaskStore whose Close
// closes it.
func OpenFlaskSession(ctx context.Context, url string, opts *FlaskOptions) (*FlaskStore, error) {
	return flaskStore(opts, func(o *Options) (*Store, error) { return Open(ctx, url, o) })
}

func flaskStore(opts *FlaskOptions, open func(*Options) (*Store, error)) (*FlaskStore, error) {
	if opts == nil {
		opts = new(FlaskOptions)
	}
	m := &flaskItems{prefix: flasksession.DefaultPrefix}
	if opts.KeyPrefix != "" || opts.NoKeyPrefix {
		m.prefix = opts.KeyPrefix
	}
	if most := maxKey - store.MaxKey - len(flasksession.MarkPrefix); len(m.prefix) > most {
		return nil, fmt.Errorf("memcachedstore: KeyPrefix has %d bytes, at most %d", len(m.prefix), most)
	}
	s, err := open(&Options{Prefix: m.prefix, MaxConns: opts.MaxConns})
	if err != nil {
		return nil, err
	}
	s.prefix = "" // names are whole here
	m.Store = s
	return &FlaskStore{flasksession.New(m), m}, nil
}

// Close is as [Store.Close].
func (s *FlaskStore) Close() error { return s.medium.Store.Close() }

// flaskItems is Flask-Session's layout (flask_session/memcached/memcached.py). Its Store is for the connections.
type flaskItems struct {
	*Store
	prefix  string
	expires flasksession.Recent[string, time.Time] // what this process has written, by key
}

func (m *flaskItems) Version(document []byte) uint64 { return flasksession.SHA256(document) }

func (m *flaskItems) names(key string) (session, mark string) {
	return m.prefix + key, flasksession.MarkPrefix + m.prefix + key
}

// Load returns no document beside a mark: what package flasksession would remove then may be what Retire is about to find
// changed.
func (m *flaskItems) Load(ctx context.Context, key string) (document, mark *flasksession.Value, err error) {
	session, name := m.names(key)
	var data, noted []byte
	err = m.do(ctx, "load", func() error {
		items, err := m.client.GetMulti([]string{session, name})
		if err != nil && stale(err) {
			m.client.Close()
			items, err = m.client.GetMulti([]string{session, name})
		}
		if err != nil {
			return err
		}
		if item := items[session]; item != nil {
			data = item.Value
		}
		item := items[name]
		if item == nil && len(data) == 0 {
			// On another server it may have been looked for before it was left, and the session after that.
			if item, err = m.gets(name); err == store.ErrNotFound {
				return nil
			}
		}
		if item != nil {
			noted = item.Value
		}
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	case noted != nil:
		return nil, &flasksession.Value{Data: noted}, nil
	case len(data) == 0: // none, as for Flask-Session
		return nil, nil, nil
	}
	expires, _ := m.expires.Get(key)
	if !expires.IsZero() && !time.Now().Before(expires) {
		expires = time.Time{} // a Flask process has renewed it
	}
	return &flasksession.Value{Data: data, Expires: expires}, nil, nil
}

func (m *flaskItems) Create(ctx context.Context, key string, v flasksession.Value) error {
	session, _ := m.names(key)
	err := m.do(ctx, "create", func() error {
		err := m.client.Add(&memcache.Item{Key: session, Value: v.Data, Expiration: expiration(v.Expires, time.Now())})
		if err == memcache.ErrNotStored {
			return store.ErrExists
		}
		return err
	})
	if err == nil {
		m.expires.Put(key, v.Expires)
	}
	return err
}

// update writes what change makes of the item of a session, if its content has the given version. A lost race begins
// anew: the content may be the same.
func (m *flaskItems) update(ctx context.Context, step, key string, version uint64, write func(*memcache.Item) error) error {
	session, _ := m.names(key)
	return m.do(ctx, step, func() error {
		for range rounds {
			item, err := m.gets(session)
			switch {
			case err != nil:
				return err
			case len(item.Value) == 0:
				return store.ErrNotFound
			case m.Version(item.Value) != version:
				return store.ErrConflict
			case ctx.Err() != nil:
				return ctx.Err()
			}
			switch err := write(item); err {
			case memcache.ErrCASConflict:
			case memcache.ErrCacheMiss:
				return store.ErrNotFound
			default:
				return err
			}
		}
		return store.ErrConflict
	})
}

func (m *flaskItems) Replace(ctx context.Context, key string, version uint64, v flasksession.Value) error {
	err := m.update(ctx, "replace", key, version, func(item *memcache.Item) error {
		item.Value, item.Expiration = v.Data, expiration(v.Expires, time.Now())
		return m.client.CompareAndSwap(item)
	})
	if err == nil {
		m.expires.Put(key, v.Expires)
	}
	return err
}

// Touch leaves the content to whoever writes it at the same time.
func (m *flaskItems) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	err := m.update(ctx, "touch", key, version, func(item *memcache.Item) error {
		return m.client.Touch(item.Key, expiration(expires, time.Now()))
	})
	if err == nil {
		m.expires.Put(key, expires)
	}
	return err
}

// Retire leaves the mark first, and takes it back if the session turns out to have changed.
func (m *flaskItems) Retire(ctx context.Context, key string, version uint64, mark flasksession.Value) error {
	_, name := m.names(key)
	m.expires.Forget(key)
	return m.update(ctx, "replace", key, version, func(item *memcache.Item) error {
		note := &memcache.Item{Key: name, Value: mark.Data, Expiration: expiration(mark.Expires, time.Now())}
		if err := m.client.Set(note); err != nil {
			return err
		}
		item.Expiration = -1 // at once: a delete that compares
		err := m.client.CompareAndSwap(item)
		if err == memcache.ErrCASConflict || err == memcache.ErrCacheMiss {
			_ = m.client.Delete(name)
		}
		return err
	})
}

func (m *flaskItems) Mark(ctx context.Context, key string, mark flasksession.Value) error {
	_, name := m.names(key)
	return m.do(ctx, "create", func() error {
		return m.client.Set(&memcache.Item{Key: name, Value: mark.Data, Expiration: expiration(mark.Expires, time.Now())})
	})
}

func (m *flaskItems) Delete(ctx context.Context, key string) error {
	session, name := m.names(key)
	m.expires.Forget(key)
	return m.do(ctx, "delete", func() error {
		for _, name := range []string{session, name} {
			if err := m.client.Delete(name); err != nil && err != memcache.ErrCacheMiss {
				return err
			}
		}
		return nil
	})
}
