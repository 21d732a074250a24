// Package flasksession is what the stores in Flask-Session's layouts have in common. A layout is a [Medium]: it has
// room for a session's document and its expiry. [Store] makes a [store.Store] of it, which a Flask application and a Go
// application share while both run. Packages flaskredis, flaskmemcached, flasksql and flaskfiles beside this one have
// the layouts that Flask-Session has; docs/flask-session.md in the repository describes what they promise.
//
// # Versions
//
// The version of a session is a hash of its document. A write compares it, so that the write applies only to the
// document that it was made from, whoever wrote that, Flask included. Two things it can't see: that a document was
// changed and changed back in between, which makes no difference to its content; and that a write is the late copy of
// an earlier one, whose response was lost, if the document was changed back just then.
//
// # Marks
//
// A session that was ended or moved leaves a mark, in a place that Flask never reads. The mark decides, whatever is
// stored under the session's own key: a Flask process with a request in flight may have stored the session there again.
// A Load that finds both removes the session.
//
// # Fields
//
// The layout has no room for Principal (the policy of package flask reads it from the document), Label, Handle,
// CreatedAt and LastSeenAt. They are dropped from sessions, not from marks.
package flasksession

import (
	"context"
	"crypto/fips140"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/hipflask/session/store"
)

// MarkPrefix begins the name of a mark; the whole name of the session follows.
const MarkPrefix = "hipflask:"

// Prefix returns what Flask-Session puts before an ID: keyPrefix, or its default "session:" if that is empty and none
// is false. The two are the options KeyPrefix and NoKeyPrefix of a layout.
func Prefix(keyPrefix string, none bool) string {
	if keyPrefix == "" && !none {
		return "session:"
	}
	return keyPrefix
}

// Value is a document or a mark as it is stored.
type Value struct {
	Data    []byte
	Expires time.Time // zero: the medium does not tell
}

// Medium is the layout on one kind of server. The rules of package store hold for its methods. An expired value is
// absent. Any error other than store.ErrNotFound, ErrExists and ErrConflict leaves open whether a write was applied.
type Medium interface {
	// Load returns the document of a session, and its mark; nil if there is none. A medium that leaves what Flask
	// stores after the end to Flask returns no document beside a mark.
	Load(ctx context.Context, key string) (document, mark *Value, err error)

	// Create stores a document if there is neither a document nor a mark. ErrExists.
	Create(ctx context.Context, key string, v Value) error

	// Replace stores v in place of the document of that version. It never creates. ErrConflict, ErrNotFound.
	Replace(ctx context.Context, key string, version uint64, v Value) error

	// Touch moves the expiry of the document of that version. ErrConflict, ErrNotFound.
	Touch(ctx context.Context, key string, version uint64, expires time.Time) error

	// Retire removes the document of that version and leaves a mark. ErrConflict, ErrNotFound: it left no mark.
	Retire(ctx context.Context, key string, version uint64, mark Value) error

	// Mark leaves a mark under a key that has no document.
	Mark(ctx context.Context, key string, mark Value) error

	// Delete removes the document and the mark.
	Delete(ctx context.Context, key string) error

	// Version returns the version of a document: [SHA256], or [SHA1] if the server can compute only that.
	Version(document []byte) uint64
}

// Lister is a Medium that can list its sessions.
type Lister interface {
	// All yields every session that has neither expired nor a mark. The key of an Entry is "" if the medium does not
	// know it.
	All(ctx context.Context) iter.Seq2[Entry, error]
}

// Entry is a session that a Lister yields.
type Entry struct {
	Key string
	Value
}

// versionBits is how many bits of a hash are the version: 15 hexadecimal digits, which scripts and SQL can cut off.
const versionBits = 60

// SHA256 is the version by which most media compare.
func SHA256(document []byte) uint64 {
	sum := sha256.Sum256(document)
	return binary.BigEndian.Uint64(sum[:]) >> (64 - versionBits)
}

// SHA1 is the version by which Redis compares: its scripts have no other hash. Nothing depends on its strength: a
// visitor who can choose two documents with the same hash can lose a change to his own session, no more.
func SHA1(document []byte) (version uint64) {
	fips140.WithoutEnforcement(func() {
		sum := sha1.Sum(document)
		version = binary.BigEndian.Uint64(sum[:]) >> (64 - versionBits)
	})
	return version
}

// Hex returns a version as the first 15 hexadecimal digits of the hash.
func Hex(version uint64) string { return fmt.Sprintf("%015x", version) }

// Store is a store.Store over a Medium. Its methods are safe for concurrent use. Make one with [New].
type Store struct {
	medium Medium
	recent recent
}

var _ store.Store = (*Store)(nil)

// New returns a Store.
func New(m Medium) *Store { return &Store{medium: m} }

// Layout returns "Flask-Session", the framework whose layout it is. By this method package session knows that the store
// needs IDs of that framework: see flask.SID.
func (s *Store) Layout() string { return "Flask-Session" }

// check rejects keys that the contract of package store excludes. On some media they would match other keys' patterns.
func check(key string) error {
	if len(key) == 0 || len(key) > store.MaxKey {
		return fmt.Errorf("flasksession: a key has %d bytes, allowed are 1 to %d", len(key), store.MaxKey)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return errors.New("flasksession: a key has bytes other than printable ASCII without spaces")
		}
	}
	return nil
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	if err := check(key); err != nil {
		return store.Record{}, err
	}
	document, mark, err := s.medium.Load(ctx, key)
	switch {
	case err != nil:
		return store.Record{}, err
	case mark != nil && document != nil:
		// Flask stored the session after its end. If removing it fails, the next Load tries again.
		rec := decodeMark(key, *mark)
		_ = s.medium.Retire(ctx, key, s.medium.Version(document.Data), Value{mark.Data, rec.ExpiresAt})
		return rec, nil
	case mark != nil:
		return decodeMark(key, *mark), nil
	case document == nil:
		return store.Record{}, store.ErrNotFound
	}
	if document.Expires.IsZero() {
		document.Expires = s.recent.get(key).expires
		if !time.Now().Before(document.Expires) { // a Flask process has renewed it
			document.Expires = time.Time{}
		}
	}
	return s.record(key, *document), nil
}

func (s *Store) record(key string, v Value) store.Record {
	return store.Record{Key: key, Version: s.medium.Version(v.Data), ExpiresAt: v.Expires, Data: v.Data}
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	if err := check(rec.Key); err != nil {
		return err
	}
	if rec.Kind != store.Live {
		return s.mark(ctx, rec)
	}
	err := s.medium.Create(ctx, rec.Key, Value{rec.Data, rec.ExpiresAt})
	if err == nil {
		s.recent.put(rec.Key, written{rec.Version, s.medium.Version(rec.Data), rec.ExpiresAt})
	}
	return err
}

// mark creates a tombstone where no session was, which package session never does.
func (s *Store) mark(ctx context.Context, rec store.Record) error {
	switch _, err := s.Load(ctx, rec.Key); {
	case err == nil:
		return store.ErrExists
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return s.medium.Mark(ctx, rec.Key, encodeMark(rec))
}

// Replace implements [store.Store]. A tombstone removes the document and leaves a mark.
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if err := check(rec.Key); err != nil {
		return err
	}
	content := s.content(rec.Key, version)
	if rec.Kind != store.Live {
		s.recent.forget(rec.Key)
		return s.absent(ctx, rec.Key, s.medium.Retire(ctx, rec.Key, content, encodeMark(rec)))
	}
	err := s.medium.Replace(ctx, rec.Key, content, Value{rec.Data, rec.ExpiresAt})
	if err == nil {
		s.recent.put(rec.Key, written{rec.Version, s.medium.Version(rec.Data), rec.ExpiresAt})
	}
	return s.absent(ctx, rec.Key, err)
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, _, expires time.Time) error {
	if err := check(key); err != nil {
		return err
	}
	content := s.content(key, version)
	err := s.medium.Touch(ctx, key, content, expires)
	if err == nil {
		s.recent.put(key, written{version, content, expires})
	}
	return s.absent(ctx, key, err)
}

// content returns the version of the document that a record of the given version has: the version itself if the record
// was loaded.
func (s *Store) content(key string, version uint64) uint64 {
	if w := s.recent.get(key); w.version == version {
		return w.content
	}
	return version
}

// absent distinguishes a session that has moved or ended, which is a conflict, from one that never existed.
func (s *Store) absent(ctx context.Context, key string, err error) error {
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, mark, loadErr := s.medium.Load(ctx, key); loadErr == nil && mark != nil {
		return store.ErrConflict
	}
	return err
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(key); err != nil {
		return err
	}
	s.recent.forget(key)
	return s.medium.Delete(ctx, key)
}

// All yields every session with its data, for programs that convert them; errors.ErrUnsupported if the medium is no
// [Lister]. It is not the method of a store.Lister, which has a list by principal as well.
func (s *Store) All(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		l, ok := s.medium.(Lister)
		if !ok {
			yield(store.Record{}, errors.ErrUnsupported)
			return
		}
		for e, err := range l.All(ctx) {
			if err != nil {
				yield(store.Record{}, err)
				return
			}
			if e.Key != "" && check(e.Key) != nil { // of another application
				continue
			}
			if !yield(s.record(e.Key, e.Value), nil) {
				return
			}
		}
	}
}

// note is a mark as it is stored.
type note struct {
	Version   uint64 `json:"v,string"`
	Kind      store.Kind
	Principal string `json:",omitempty"`
	MovedTo   string `json:",omitempty"`
	Handle    string `json:",omitempty"`
	Label     string `json:",omitempty"`
	Public    []byte `json:",omitempty"`
	Created   int64  `json:",omitempty"` // times are in milliseconds since 1970
	Seen      int64  `json:",omitempty"`
	Expires   int64  `json:",omitempty"`
	Data      []byte `json:",omitempty"`
}

func encodeMark(r store.Record) Value {
	data, err := json.Marshal(note{r.Version, r.Kind, r.Principal, r.MovedTo, r.Handle, r.Label, r.Public,
		milliseconds(r.CreatedAt),
		milliseconds(r.LastSeenAt), milliseconds(r.ExpiresAt), r.Data})
	if err != nil {
		panic("flasksession: " + err.Error()) // cannot happen with such fields
	}
	return Value{data, r.ExpiresAt}
}

// decodeMark returns the tombstone of a mark. An unreadable mark ends the session.
func decodeMark(key string, v Value) store.Record {
	var n note
	if err := json.Unmarshal(v.Data, &n); err != nil || n.Kind == store.Live {
		n = note{Kind: store.Ended}
	}
	return store.Record{Key: key, Version: n.Version, Kind: n.Kind, Principal: n.Principal, MovedTo: n.MovedTo,
		Handle: n.Handle,
		Label:  n.Label, Public: n.Public, CreatedAt: moment(n.Created), LastSeenAt: moment(n.Seen),
		ExpiresAt: moment(n.Expires), Data: n.Data}
}

func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
