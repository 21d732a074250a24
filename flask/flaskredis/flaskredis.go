package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/flask/flasksession"
	"github.com/hipflask/session/store"
)

// FlaskOptions are the settings of a FlaskStore. The zero value is what Flask-Session has.
type FlaskOptions struct {
	// KeyPrefix is SESSION_KEY_PREFIX. Empty: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	_ struct{} // no unkeyed literals: fields may be added
}

// FlaskStore is a [store.Store] over the sessions of a Flask application with Flask-Session's SESSION_TYPE "redis", which
// it may share while both run. Use it with flask.SID (or SignedSID) as Config.IDFormat and flask.Msgpack (or JSON) as
// Config.Serializer.
//
// A session is a string with a time to live under Flask's name for it. Every write is one script that compares the whole
// content, by its SHA-1: it never takes the place of what a Flask process has written since, and never makes a session
// again that was deleted. A session that was ended or renewed here leaves a mark for Config.Grace, named "hipflask:{" +
// Flask's name + "}", which is in the same slot of a cluster.
//
// The content is all there is to compare: a session that was changed and changed back counts as unchanged. A Flask process
// overwrites what Go has written since it read the session. docs/flask-session.md tells the rest. It does not wait for
// replicas, and is no Lister: Flask-Session has no index by user.
type FlaskStore struct {
	*flasksession.Store
	medium *flaskKeys
}

var _ store.Store = (*FlaskStore)(nil)

// FlaskSession returns a FlaskStore that uses a client, which stays the caller's; what [New] says of it holds here too. Nil
// opts are the defaults. It does no I/O.
func FlaskSession(client rueidis.Client, opts *FlaskOptions) (*FlaskStore, error) {
	s, err := New(client, nil)
	if err != nil {
		return nil, err
	}
	return flaskStore(s, opts), nil
}

// OpenFlaskSession connects to the server that a URL names, as [Open] does, and returns a FlaskStore whose Close closes
// the connections. It tries a read and a write, with the permissions that docs/flask-session.md names.
func OpenFlaskSession(ctx context.Context, url string, opts *FlaskOptions) (*FlaskStore, error) {
	s, err := connect(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	f := flaskStore(s, opts)
	name := "try-" + rand.Text()
	if _, err = f.Load(ctx, name); errors.Is(err, store.ErrNotFound) {
		err = f.Delete(ctx, name)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return f, nil
}

func flaskStore(s *Store, opts *FlaskOptions) *FlaskStore {
	m := &flaskKeys{Store: s, prefix: flasksession.DefaultPrefix}
	if opts != nil && (opts.KeyPrefix != "" || opts.NoKeyPrefix) {
		m.prefix = opts.KeyPrefix
	}
	return &FlaskStore{flasksession.New(m), m}
}

// Close closes the connections of a FlaskStore that OpenFlaskSession made. Closing twice is fine.
func (s *FlaskStore) Close() error { return s.medium.Store.Close() }

// flaskKeys is Flask-Session's layout (flask_session/redis/redis.py). Its Store is for the connections.
type flaskKeys struct {
	*Store
	prefix string
}

func (m *flaskKeys) Version(document []byte) uint64 { return flasksession.SHA1(document) }

// The scripts take the session's key and its mark's. The version is 15 digits of the content's SHA-1, whose sha1hex is the
// only hash that scripts have.
const compareFlask = `local v = redis.call('GET', KEYS[1])
if not v then return 0 end
if string.sub(redis.sha1hex(v), 1, 15) ~= ARGV[1] then return 2 end
`

var (
	flaskLoad = script{"33b20ee042a2f96711a34f5ab19106fe54d7d15c", `return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[2])}`}

	// create takes: document; milliseconds left or "0".
	flaskCreate = script{"b1deacbef96c6b0f3c97f0af0e5c1f46c86bfd0b", `if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 3 end
if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1`}

	// replace takes: version; document; milliseconds left or "0".
	flaskReplace = script{"1bcce5bfd18018eb59ba16a953ad993795f1454d", compareFlask + `if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1`}

	// touch takes: version; milliseconds left, which end the session if they are 0.
	flaskTouch = script{"b691afe9b948e16ec875bf68eca96a9346cf35f8", compareFlask + `redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`}

	// retire takes: version; mark; milliseconds left or "0". It removes first: see replaceScript.
	flaskRetire = script{"422ae71d6768a22a581f2381cbd936b09ce111b3", compareFlask + `redis.call('DEL', KEYS[1])
if ARGV[3] ~= '0' then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1`}
)

// names returns the session's key and its mark's. Braces around a key that has none make the two hash alike on a cluster.
func (m *flaskKeys) names(key string) (session, mark string) {
	session = m.prefix + key
	if _, rest, ok := strings.Cut(session, "{"); ok && strings.Index(rest, "}") > 0 {
		return session, flasksession.MarkPrefix + session
	}
	return session, flasksession.MarkPrefix + "{" + session + "}"
}

// exec runs a script once, on both keys.
func (m *flaskKeys) exec(ctx context.Context, sc *script, key string, args ...string) rueidis.RedisResult {
	session, mark := m.names(key)
	res := m.do(ctx, m.client.B().Evalsha().Sha1(sc.sha1).Numkeys(2).Key(session, mark).Arg(args...).Build())
	if noScript(res) {
		res = m.do(ctx, m.client.B().Eval().Script(sc.lua).Numkeys(2).Key(session, mark).Arg(args...).Build())
	}
	return res
}

// change runs a script that writes.
func (m *flaskKeys) change(ctx context.Context, op string, sc *script, key string, args ...string) error {
	if err := check(key); err != nil {
		return err
	}
	a, err := parse(m.exec(ctx, sc, key, args...))
	if err != nil {
		return failed(op, err)
	}
	switch a.code {
	case answerDone:
		return nil
	case answerNotFound:
		return store.ErrNotFound
	case answerConflict:
		return store.ErrConflict
	case answerExists:
		return store.ErrExists
	}
	return failed(op, errUnexpected)
}

func flaskVersion(version uint64) string { return fmt.Sprintf("%015x", version) }

func timeLeft(expires time.Time) string { return milliseconds(left(expires)) }

func (m *flaskKeys) Load(ctx context.Context, key string) (document, mark *flasksession.Value, err error) {
	if err := check(key); err != nil {
		return nil, nil, err
	}
	res := m.read(ctx, func() rueidis.RedisResult { return m.exec(ctx, &flaskLoad, key) })
	return flaskValues(res)
}

// flaskValues reads what flaskLoad answers. An empty value counts as none, as for Flask-Session; what never expires, as
// ending after 50 years.
func flaskValues(res rueidis.RedisResult) (document, mark *flasksession.Value, err error) {
	values, err := res.ToArray()
	if err == nil && len(values) != 3 {
		err = errUnexpected
	}
	if err != nil {
		if err = failed("load", err); errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return nil, nil, err
	}
	if data, err := values[0].AsBytes(); err == nil && len(data) > 0 {
		left := 50 * 365 * 24 * time.Hour
		if ms, err := values[1].AsInt64(); err == nil && ms >= 0 {
			left = time.Duration(ms) * time.Millisecond
		}
		document = &flasksession.Value{Data: data, Expires: time.Now().Add(left).Truncate(time.Millisecond)}
	}
	if data, err := values[2].AsBytes(); err == nil {
		mark = &flasksession.Value{Data: data}
	}
	return document, mark, nil
}

func (m *flaskKeys) Create(ctx context.Context, key string, v flasksession.Value) error {
	return m.change(ctx, "create", &flaskCreate, key, string(v.Data), timeLeft(v.Expires))
}

func (m *flaskKeys) Replace(ctx context.Context, key string, version uint64, v flasksession.Value) error {
	return m.change(ctx, "replace", &flaskReplace, key, flaskVersion(version), string(v.Data), timeLeft(v.Expires))
}

func (m *flaskKeys) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return m.change(ctx, "touch", &flaskTouch, key, flaskVersion(version), timeLeft(expires))
}

func (m *flaskKeys) Retire(ctx context.Context, key string, version uint64, mark flasksession.Value) error {
	return m.change(ctx, "replace", &flaskRetire, key, flaskVersion(version), string(mark.Data), timeLeft(mark.Expires))
}

func (m *flaskKeys) Mark(ctx context.Context, key string, mark flasksession.Value) error {
	left := timeLeft(mark.Expires)
	if err := check(key); err != nil || left == "0" {
		return err
	}
	_, name := m.names(key)
	return m.plain(ctx, "create", m.client.B().Set().Key(name).Value(string(mark.Data)).Px(time.Until(mark.Expires)).Build())
}

func (m *flaskKeys) Delete(ctx context.Context, key string) error {
	if err := check(key); err != nil {
		return err
	}
	session, mark := m.names(key)
	return m.plain(ctx, "delete", m.client.B().Del().Key(session, mark).Build())
}

func (m *flaskKeys) plain(ctx context.Context, op string, command rueidis.Completed) error {
	if err := m.do(ctx, command).Error(); err != nil {
		return failed(op, err)
	}
	return nil
}

// All yields every session, by the server's SCAN of each master, a few hundred at a time.
func (m *flaskKeys) All(ctx context.Context) iter.Seq2[flasksession.Entry, error] {
	return func(yield func(flasksession.Entry, error) bool) {
		nodes, err := m.masters(ctx)
		if err != nil {
			yield(flasksession.Entry{}, failed("list", err))
			return
		}
		seen, pattern := newWindow(), escape(m.prefix)+"*"
		for _, node := range nodes {
			for cursor := "0"; ; {
				entry, err := m.read(ctx, func() rueidis.RedisResult {
					return node.Do(ctx, node.B().Arbitrary("SCAN", cursor, "MATCH", pattern, "COUNT", pageText).Build())
				}).AsScanEntry()
				if err != nil {
					yield(flasksession.Entry{}, failed("list", err))
					return
				}
				if !m.page(ctx, entry.Elements, seen, yield) {
					return
				}
				if entry.Cursor == 0 {
					break
				}
				cursor = strconv.FormatUint(entry.Cursor, 10)
			}
		}
	}
}

// page yields the sessions under names, and tells whether the loop goes on.
func (m *flaskKeys) page(ctx context.Context, names []string, seen *window, yield func(flasksession.Entry, error) bool) bool {
	var keys []string
	var commands rueidis.Commands
	for _, name := range names {
		key := strings.TrimPrefix(name, m.prefix)
		if m.prefix == "" && strings.HasPrefix(name, flasksession.MarkPrefix) || check(key) != nil || !seen.add(name) {
			continue
		}
		session, mark := m.names(key)
		keys = append(keys, key)
		commands = append(commands, m.client.B().Evalsha().Sha1(flaskLoad.sha1).Numkeys(2).Key(session, mark).Build())
	}
	if len(keys) == 0 {
		return true
	}
	for i, res := range m.client.DoMulti(ctx, commands...) {
		document, mark, err := flaskValues(res)
		if err != nil { // a connection that broke, a server that does not know the script yet
			document, mark, err = m.Load(ctx, keys[i])
		}
		if err != nil {
			yield(flasksession.Entry{}, err)
			return false
		}
		if document != nil && mark == nil && !yield(flasksession.Entry{Key: keys[i], Value: *document}, nil) {
			return false
		}
	}
	return true
}
