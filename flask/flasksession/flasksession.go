// Package flasksession is what the stores in Flask-Session's layout have in common. A layout has room for a document
// and its expiry; [Store] makes a [store.Store] of that:
//
// The version of a session is a hash of its document. A write compares by it, so it applies to the document that it was
// made from, whoever wrote that, Flask included. Two things it can't see: that a document was changed and changed back
// in between, which makes no difference to its content; and that a write is the late copy of an earlier one, whose
// answer was lost, if the document was changed back just then.
//
// A session that was ended or moved leaves a mark, in a place that Flask never reads. The mark counts, whatever stands
// under the session's own key: a Flask process that was busy with the session meanwhile may have written it there
// again. A Load that meets both removes it.
//
// Fields of a record that the layout has no room for are dropped from sessions, not from marks: Principal (the policy of
// package flask reads it from the document), Label, Handle, CreatedAt and LastSeenAt.
package flasksession

import (
	"context"
	"crypto/fips140"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/hipflask/session/store"
)

// DefaultPrefix is SESSION_KEY_PREFIX of Flask-Session.
const DefaultPrefix = "session:"

// MarkPrefix stands before the whole key of a session whose mark is meant.
const MarkPrefix = "hipflask:"

// Value is what a medium has under a key.
type Value struct {
	Data    []byte
	Expires time.Time // zero: the medium does not tell
}

// Medium is the layout on one kind of server. The rules of package store hold for its methods. What has expired is
// absent. Errors other than store.ErrNotFound, ErrExists and ErrConflict say nothing about the session.
type Medium interface {
	// Load returns the document of a session, and its mark; nil where there is none.
	Load(ctx context.Context, key string) (document, mark *Value, err error)

	// Create stores a document if there is neither one nor a mark. ErrExists.
	Create(ctx context.Context, key string, v Value) error

	// Replace stores v in place of the document of the given version. ErrConflict, ErrNotFound; it never creates.
	Replace(ctx context.Context, key string, version uint64, v Value) error

	// Touch moves the expiry of the document of the given version. ErrConflict, ErrNotFound.
	Touch(ctx context.Context, key string, version uint64, expires time.Time) error

	// Retire removes the document of the given version and leaves a mark. ErrConflict, ErrNotFound: no mark was left.
	Retire(ctx context.Context, key string, version uint64, mark Value) error

	// Mark leaves a mark where nothing else is.
	Mark(ctx context.Context, key string, mark Value) error

	// Delete removes the document and the mark.
	Delete(ctx context.Context, key string) error

	// Version is the version of a document: SHA256, or SHA1 where the server computes it.
	Version(document []byte) uint64
}

// versionBits is how much of a hash is the version: 15 hexadecimal digits, which a script or SQL cuts off.
const versionBits = 60

// SHA256 is the version by which most media compare.
func SHA256(document []byte) uint64 {
	sum := sha256.Sum256(document)
	return binary.BigEndian.Uint64(sum[:]) >> (64 - versionBits)
}

// SHA1 is the version by which Redis compares: its scripts have no other hash. Nothing depends on its strength: who can
// choose two documents of one hash can lose a change to a session of his own.
func SHA1(document []byte) (version uint64) {
	fips140.WithoutEnforcement(func() {
		sum := sha1.Sum(document)
		version = binary.BigEndian.Uint64(sum[:]) >> (64 - versionBits)
	})
	return version
}

// Store is a store.Store over a Medium.
type Store struct {
	medium Medium

	// own knows the content under the versions that this process has written. The writer chooses a random version for
	// each write, and goes on with that; the layout knows only content. It is no loss to forget one: the writer then
	// meets a conflict, and loads what is there.
	own Recent[uint64, uint64]
}

// New returns a Store.
func New(m Medium) *Store { return &Store{medium: m} }

// Layout returns the name of the framework whose layout it is.
func (s *Store) Layout() string { return "Flask-Session" }

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	document, mark, err := s.medium.Load(ctx, key)
	switch {
	case err != nil:
		return store.Record{}, err
	case mark != nil && document != nil:
		// What Flask wrote after the end. If this fails, the next Load tries again.
		rec := decodeMark(key, *mark)
		_ = s.medium.Retire(ctx, key, s.medium.Version(document.Data), Value{mark.Data, rec.ExpiresAt})
		return rec, nil
	case mark != nil:
		return decodeMark(key, *mark), nil
	case document == nil:
		return store.Record{}, store.ErrNotFound
	}
	return s.record(key, *document), nil
}

func (s *Store) record(key string, v Value) store.Record {
	return store.Record{Key: key, Version: s.medium.Version(v.Data), ExpiresAt: v.Expires, Data: v.Data}
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	if rec.Kind != store.Live {
		return s.mark(ctx, rec)
	}
	err := s.medium.Create(ctx, rec.Key, Value{rec.Data, rec.ExpiresAt})
	if err == nil {
		s.own.Put(rec.Version, s.medium.Version(rec.Data))
	}
	return err
}

// mark creates a mark where no session was, which package session never does.
func (s *Store) mark(ctx context.Context, rec store.Record) error {
	switch _, err := s.Load(ctx, rec.Key); {
	case err == nil:
		return store.ErrExists
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return s.medium.Mark(ctx, rec.Key, encodeMark(rec))
}

// Replace implements store.Store. A tombstone takes the session away and leaves a mark.
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	content := s.content(version)
	var err error
	if rec.Kind == store.Live {
		err = s.medium.Replace(ctx, rec.Key, content, Value{rec.Data, rec.ExpiresAt})
	} else {
		err = s.medium.Retire(ctx, rec.Key, content, encodeMark(rec))
	}
	if err == nil && rec.Kind == store.Live {
		s.own.Put(rec.Version, s.medium.Version(rec.Data))
	}
	return s.absent(ctx, rec.Key, err)
}

// Touch implements store.Store.
func (s *Store) Touch(ctx context.Context, key string, version uint64, _, expires time.Time) error {
	return s.absent(ctx, key, s.medium.Touch(ctx, key, s.content(version), expires))
}

// content returns the content that a version stands for: itself, if it was loaded.
func (s *Store) content(version uint64) uint64 {
	if content, ok := s.own.Get(version); ok {
		return content
	}
	return version
}

// absent tells a session that has moved or ended, which is a conflict, from one that was never there.
func (s *Store) absent(ctx context.Context, key string, err error) error {
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, mark, loadErr := s.medium.Load(ctx, key); loadErr == nil && mark != nil {
		return store.ErrConflict
	}
	return err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error { return s.medium.Delete(ctx, key) }

// Lister is a Medium that can list its sessions.
type Lister interface {
	// All yields the keys and values of all sessions, marks and expired ones excluded. A key may be unknown: "".
	All(ctx context.Context) iter.Seq2[Entry, error]
}

// Entry is a session that a Lister yields.
type Entry struct {
	Key string
	Value
}

// All yields every session, with its data.
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
			if !yield(s.record(e.Key, e.Value), nil) {
				return
			}
		}
	}
}

// note is a tombstone as it is stored.
type note struct {
	Version   uint64 `json:"v,string"`
	Kind      store.Kind
	Principal string `json:",omitempty"`
	MovedTo   string `json:",omitempty"`
	Handle    string `json:",omitempty"`
	Label     string `json:",omitempty"`
	Created   int64  `json:",omitempty"` // milliseconds, as the others
	Seen      int64  `json:",omitempty"`
	Expires   int64  `json:",omitempty"`
	Data      []byte `json:",omitempty"`
}

func encodeMark(r store.Record) Value {
	data, err := json.Marshal(note{r.Version, r.Kind, r.Principal, r.MovedTo, r.Handle, r.Label, milliseconds(r.CreatedAt),
		milliseconds(r.LastSeenAt), milliseconds(r.ExpiresAt), r.Data})
	if err != nil {
		panic("flasksession: " + err.Error()) // of such fields it can't be
	}
	return Value{data, r.ExpiresAt}
}

// decodeMark returns the tombstone of a mark. One that can't be read is the end of the session.
func decodeMark(key string, v Value) store.Record {
	var n note
	if err := json.Unmarshal(v.Data, &n); err != nil || n.Kind == store.Live {
		n = note{Kind: store.Ended}
	}
	return store.Record{Key: key, Version: n.Version, Kind: n.Kind, Principal: n.Principal, MovedTo: n.MovedTo, Handle: n.Handle,
		Label: n.Label, CreatedAt: moment(n.Created), LastSeenAt: moment(n.Seen), ExpiresAt: moment(n.Expires), Data: n.Data}
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
