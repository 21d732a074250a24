// Package flaskredis shares the sessions of a Flask application with Flask-Session's SESSION_TYPE "redis", in Redis or
// Valkey, while both run:
//
//	st, err := flaskredis.Open(ctx, os.Getenv("REDIS_URL"), nil)
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
// # What is promised
//
// A session is a string with a time to live, under the name that Flask-Session gives it. Every write is one script,
// sent at most once, that compares the whole content by its SHA-1: it never takes the place of what a Flask process has
// written since, and never creates a session again that was deleted. A session that was ended or renewed here leaves a
// mark for Config.Grace, named "hipflask:{" + the session's name + "}", which is in the same slot of a cluster.
//
// Only content is compared: a session that was changed and changed back counts as unchanged. A Flask process overwrites
// what Go has written since it read the session; docs/flask-session.md in the repository has the details. The Store
// does not wait for replicas, and is no store.Lister: Flask-Session has no index by user.
package flaskredis

import (
	"context"
	"crypto/fips140"
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
	"github.com/hipflask/session/store/redisstore"
)

// Options are the settings of a Store. The zero value has the defaults of Flask-Session.
type Options struct {
	// KeyPrefix is SESSION_KEY_PREFIX. Default: "session:".
	KeyPrefix string

	// NoKeyPrefix is for an application whose SESSION_KEY_PREFIX is empty.
	NoKeyPrefix bool

	_ struct{} // no unkeyed literals: fields may be added
}

// Store is a [store.Store] over the sessions. Its methods are safe for concurrent use. Make one with [Open] or [New].
type Store struct {
	engine
	client rueidis.Client
	owned  bool // made by Open
}

// engine has the methods of package store, which say there what they do; the field's name is hidden, they are not.
type engine = *flasksession.Store

var _ store.Store = (*Store)(nil)

// New returns a Store that uses a client, which stays the caller's; what [redisstore.New] says of the client holds here
// too. Nil opts are the defaults. It does no I/O.
func New(client rueidis.Client, opts *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("flaskredis: the client is nil")
	}
	if opts == nil {
		opts = new(Options)
	}
	m := &keys{client, flasksession.Prefix(opts.KeyPrefix, opts.NoKeyPrefix)}
	return &Store{engine: flasksession.New(m), client: client}, nil
}

// Open connects to the server that a URL names, as [redisstore.Dial] does, and returns a Store whose Close closes the
// connections. It tries a read and a write, with the permissions that docs/flask-session.md names.
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	client, err := redisstore.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	s, err := New(client, opts)
	if err != nil {
		client.Close()
		return nil, err
	}
	s.owned = true
	name := "try-" + rand.Text()
	if _, err = s.Load(ctx, name); errors.Is(err, store.ErrNotFound) {
		err = s.Delete(ctx, name)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the connections of a Store that Open made, and does nothing to others. Calls in flight may fail. The
// error is always nil, also when the Store was closed before.
func (s *Store) Close() error {
	if s.owned {
		s.client.Close()
	}
	return nil
}

// keys is Flask-Session's layout (flask_session/redis/redis.py) as a flasksession.Medium.
type keys struct {
	client rueidis.Client
	prefix string
}

func (m *keys) Version(document []byte) uint64 { return flasksession.SHA1(document) }

// What the scripts return.
const (
	notFound = 0
	done     = 1
	conflict = 2
	exists   = 3
)

// script returns a script that is sent by its SHA-1, and once more as a text if the server doesn't know that. Nothing
// depends on the strength of the hash.
func script(text string) (lua *rueidis.Lua) {
	fips140.WithoutEnforcement(func() { lua = rueidis.NewLuaScript(text) })
	return lua
}

// The scripts take the names of the session and of its mark. The version is 15 digits of the content's SHA-1, since
// sha1hex is the only hash that scripts have.
const compare = `local v = redis.call('GET', KEYS[1])
if not v then return 0 end
if string.sub(redis.sha1hex(v), 1, 15) ~= ARGV[1] then return 2 end
`

const loadText = `return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[2])}`

var (
	loadScript = script(loadText)

	// create takes: document; milliseconds left or "0".
	createScript = script(`if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 3 end
if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1`)

	// replace takes: version; document; milliseconds left or "0".
	replaceScript = script(compare + `if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1`)

	// touch takes: version; milliseconds left, of which 0 ends the session.
	touchScript = script(compare + `redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

	// retire takes: version; mark; milliseconds left or "0". It removes the session first, since a server that has
	// reached maxmemory lets a script store something only after it has removed something.
	retireScript = script(compare + `redis.call('DEL', KEYS[1])
if ARGV[3] ~= '0' then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1`)
)

// names returns the names of a session and of its mark. The braces around the session's name, if it has none itself,
// make both hash to one slot of a cluster.
func (m *keys) names(key string) (session, mark string) {
	session = m.prefix + key
	if _, rest, ok := strings.Cut(session, "{"); ok && strings.Index(rest, "}") > 0 {
		return session, flasksession.MarkPrefix + session
	}
	return session, flasksession.MarkPrefix + "{" + session + "}"
}

var errUnexpected = errors.New("unexpected answer")

func failed(op string, err error) error {
	return fmt.Errorf("flaskredis: %s: %w", op, redisstore.Clean(err))
}

// exec runs a script on both names of a session.
func (m *keys) exec(ctx context.Context, sc *rueidis.Lua, key string, args ...string) rueidis.RedisResult {
	session, mark := m.names(key)
	return sc.Exec(ctx, m.client, []string{session, mark}, args)
}

// change runs a script that writes.
func (m *keys) change(ctx context.Context, op string, sc *rueidis.Lua, key string, args ...string) error {
	code, err := m.exec(ctx, sc, key, args...).AsInt64()
	if err != nil {
		if wrongType(err) {
			return store.ErrNotFound
		}
		return failed(op, err)
	}
	switch code {
	case done:
		return nil
	case notFound:
		return store.ErrNotFound
	case conflict:
		return store.ErrConflict
	case exists:
		return store.ErrExists
	}
	return failed(op, errUnexpected)
}

// wrongType reports whether a key holds something else than a string, which is no session.
func wrongType(err error) bool {
	answered, ok := rueidis.IsRedisErr(err)
	return ok && strings.Contains(answered.Error(), "WRONGTYPE")
}

// timeLeft returns the milliseconds until expires as an argument of a script, "0" if there are none.
func timeLeft(expires time.Time) string {
	const most = int64(1e15) // 30,000 years: Redis adds it to its clock
	return strconv.FormatInt(min(max(expires.UnixMilli()-time.Now().UnixMilli(), 0), most), 10)
}

// reads is how often a read is sent if connections break: a server that was restarted leaves several broken ones.
const reads = 3

// read sends a command that only reads, until it is answered.
func read(ctx context.Context, send func() rueidis.RedisResult) (res rueidis.RedisResult) {
	for range reads {
		res = send()
		if err := res.NonRedisError(); err == nil || ctx.Err() != nil || errors.Is(err, rueidis.ErrClosing) {
			break
		}
	}
	return res
}

func (m *keys) Load(ctx context.Context, key string) (document, mark *flasksession.Value, err error) {
	return values(read(ctx, func() rueidis.RedisResult { return m.exec(ctx, loadScript, key) }))
}

// never is the remaining lifetime that is reported of a session without expiry.
const never = 50 * 365 * 24 * time.Hour

// values reads the result of loadScript. An empty value counts as none, as for Flask-Session.
func values(res rueidis.RedisResult) (document, mark *flasksession.Value, err error) {
	values, err := res.ToArray()
	if err == nil && len(values) != 3 {
		err = errUnexpected
	}
	if err != nil {
		if wrongType(err) {
			return nil, nil, nil
		}
		return nil, nil, failed("load", err)
	}
	if data, err := values[0].AsBytes(); err == nil && len(data) > 0 {
		left := never
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

func (m *keys) Create(ctx context.Context, key string, v flasksession.Value) error {
	return m.change(ctx, "create", createScript, key, string(v.Data), timeLeft(v.Expires))
}

func (m *keys) Replace(ctx context.Context, key string, version uint64, v flasksession.Value) error {
	return m.change(ctx, "replace", replaceScript, key, flasksession.Hex(version), string(v.Data), timeLeft(v.Expires))
}

func (m *keys) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	return m.change(ctx, "touch", touchScript, key, flasksession.Hex(version), timeLeft(expires))
}

func (m *keys) Retire(ctx context.Context, key string, version uint64, mark flasksession.Value) error {
	return m.change(ctx, "replace", retireScript, key, flasksession.Hex(version), string(mark.Data),
		timeLeft(mark.Expires))
}

func (m *keys) Mark(ctx context.Context, key string, mark flasksession.Value) error {
	left := timeLeft(mark.Expires)
	if left == "0" {
		return nil
	}
	_, name := m.names(key)
	return m.plain(ctx, "create", m.client.B().Arbitrary("SET").Keys(name).Args(string(mark.Data), "PX", left).Build())
}

func (m *keys) Delete(ctx context.Context, key string) error {
	session, mark := m.names(key)
	return m.plain(ctx, "delete", m.client.B().Del().Key(session, mark).Build())
}

func (m *keys) plain(ctx context.Context, op string, command rueidis.Completed) error {
	if err := m.client.Do(ctx, command).Error(); err != nil {
		return failed(op, err)
	}
	return nil
}

// All yields every session, by the server's SCAN of each master, a few hundred at a time.
func (m *keys) All(ctx context.Context) iter.Seq2[flasksession.Entry, error] {
	return func(yield func(flasksession.Entry, error) bool) {
		nodes, err := redisstore.Masters(ctx, m.client)
		if err != nil {
			yield(flasksession.Entry{}, failed("list", err))
			return
		}
		pattern, seen := globs.Replace(m.prefix)+"*", new(window)
		for _, node := range nodes {
			for cursor := "0"; ; {
				entry, err := read(ctx, func() rueidis.RedisResult {
					return node.Do(ctx, node.B().Arbitrary("SCAN", cursor, "MATCH", pattern, "COUNT", "256").Build())
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

// globs makes a text mean itself in a pattern of SCAN.
var globs = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// window remembers the last names that SCAN has returned. SCAN may return a name twice while the table shrinks, but
// soon after the first time, so that a bounded number is enough.
type window struct{ young, aging map[string]bool }

const windowSize = 1 << 16

// add returns false if the name was added before, not too long ago.
func (w *window) add(name string) bool {
	if w.young[name] || w.aging[name] {
		return false
	}
	if w.young == nil || len(w.young) >= windowSize {
		w.young, w.aging = map[string]bool{}, w.young
	}
	w.young[name] = true
	return true
}

// page yields the sessions under names that were not seen before, and reports whether the loop goes on.
func (m *keys) page(ctx context.Context, names []string, seen *window,
	yield func(flasksession.Entry, error) bool) bool {
	var found []string
	var commands rueidis.Commands
	for _, name := range names {
		if m.prefix == "" && strings.HasPrefix(name, flasksession.MarkPrefix) || !seen.add(name) {
			continue
		}
		key := strings.TrimPrefix(name, m.prefix)
		session, mark := m.names(key)
		found = append(found, key)
		commands = append(commands, m.client.B().Eval().Script(loadText).Numkeys(2).Key(session, mark).Build())
	}
	if len(found) == 0 {
		return true
	}
	for i, res := range m.client.DoMulti(ctx, commands...) {
		document, mark, err := values(res)
		if err != nil { // perhaps a connection that broke: Load tries again
			document, mark, err = m.Load(ctx, found[i])
		}
		if err != nil {
			yield(flasksession.Entry{}, err)
			return false
		}
		if document != nil && mark == nil && !yield(flasksession.Entry{Key: found[i], Value: *document}, nil) {
			return false
		}
	}
	return true
}
