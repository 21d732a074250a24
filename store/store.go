// Package store is the contract between Hipflask and the places where sessions are kept.
//
// A store is a map from opaque keys to records with compare-and-swap, nothing more. Merging, retries, cookies, IDs and
// timeouts live in package session, once for all stores. Package storetest tells whether a store keeps this contract;
// package memstore is the smallest whole example.
//
// # Words
//
// A key is the opaque, printable name of a record: at most [MaxKey] bytes, never the session ID itself. A version is a
// random number that the writer chooses for each write. A tombstone is a record whose [Kind] is not [Live]: it stands
// where a session was and says where it went. To a store it is a record like any other.
//
// # Rules for every method
//
// Methods are safe for concurrent use by goroutines, and by processes where the medium is shared. Each is one atomic
// step: no caller sees half of a write.
//
// A write is sent to the medium at most once: a client library's own retries of writes are switched off. When a method
// returns an error other than the ones named at it, the write may or may not have been applied, now or later; the
// caller finds out by the version.
//
// A Load sees every write that was answered before it began; it never reads from a replica.
//
// A record is absent from the moment it expires, before any cleanup has run. The caller's clock says how much time is
// left (ExpiresAt less now) when the record is written; one clock, the server's where there is one, runs it down.
// Times are kept to the millisecond.
//
// A method returns soon after its context ends, with an error.
//
// Byte slices given to a store are not kept, byte slices returned belong to the caller. Errors never contain a key, a
// principal or data.
package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// The answers that callers tell apart. A store may wrap them; callers compare with [errors.Is].
var (
	// ErrNotFound says that there is no record under that key, or that it has expired.
	ErrNotFound = errors.New("store: record not found")
	// ErrExists says that Create found a record under that key.
	ErrExists = errors.New("store: record exists")
	// ErrConflict says that the record has another version than the one given.
	ErrConflict = errors.New("store: version conflict")
)

// ExpiredError is an ErrNotFound that knows more: Load may return it for a record that has expired and was not removed
// yet. It is for operators, who want to know why a visitor lost the login; nothing else depends on it.
type ExpiredError struct {
	Record Record // without Data
}

// Error says that the record has expired.
func (e *ExpiredError) Error() string { return "store: record expired" }

// Unwrap makes it an [ErrNotFound].
func (e *ExpiredError) Unwrap() error { return ErrNotFound }

// The longest texts of a record, in bytes.
const (
	MaxKey       = 128
	MaxPrincipal = 256
	MaxLabel     = 256
	MaxPublic    = 512
)

// NewVersion returns a random version for a write: uniform in 1..1<<63-1, from crypto/rand.
func NewVersion() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:])
		if v := binary.NativeEndian.Uint64(b[:]) >> 1; v != 0 {
			return v
		}
	}
}

// Kind tells a live session from the tombstones that are left where one was.
type Kind uint8

const (
	Live     Kind = iota // a session
	Renewed              // tombstone: the session has a new ID, with the same rights, at MovedTo
	Replaced             // tombstone: a login took the session's place, at MovedTo
	Ended                // tombstone: logged out or revoked
)

// String returns the name of k in lower case.
func (k Kind) String() string {
	switch k {
	case Live:
		return "live"
	case Renewed:
		return "renewed"
	case Replaced:
		return "replaced"
	case Ended:
		return "ended"
	}
	return "unknown"
}

// Record is what a store keeps under a key. Every field comes back as it was given, times to the millisecond.
type Record struct {
	Key     string // opaque, printable ASCII without spaces, 1 to MaxKey bytes
	Version uint64 // random in 1..1<<63-1, chosen by the writer for every write; compare as text in Lua
	// who is logged in, "" while anonymous; UTF-8, at most MaxPrincipal bytes; never changes under a key
	Principal  string
	Label      string    // for lists of sessions; UTF-8, at most MaxLabel bytes
	CreatedAt  time.Time // creation or login
	LastSeenAt time.Time
	ExpiresAt  time.Time
	Kind       Kind
	MovedTo    string // the next key, of Renewed and Replaced
	Handle     string // random and public, names the session in lists; printable ASCII, at most MaxKey bytes
	Public     []byte // for lists of sessions: one JSON object of at most MaxPublic bytes; nil and empty are the same
	Data       []byte // any bytes; nil and empty are the same
}

// Store keeps records. See the package documentation for the rules that hold for every method.
type Store interface {
	// Load returns the record under key, tombstones included.
	// ErrNotFound: absent or expired; an [ExpiredError] where that is still known.
	Load(ctx context.Context, key string) (Record, error)

	// Create stores rec under rec.Key if nothing is there; an expired record counts as nothing.
	// A principal's index entry exists before the record can be loaded.
	// ErrExists: the key is taken, also by a tombstone.
	Create(ctx context.Context, rec Record) error

	// Replace stores rec in place of the record under rec.Key if that has the given version. It never creates.
	// ErrConflict: another version is there. ErrNotFound: absent or expired.
	Replace(ctx context.Context, rec Record, version uint64) error

	// Touch moves LastSeenAt and ExpiresAt of the record under key if it has the given version, which it keeps.
	// ErrConflict, ErrNotFound: as for Replace. It never revives an expired record.
	Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error

	// Delete removes the record under key, whatever its version; nil when absent.
	Delete(ctx context.Context, key string) error
}

// BatchReplacer is a store that replaces many records in less time than by one Replace for each, as the end of all
// sessions of a user takes. A wrapper with Unwrap that has to see every write implements it as well, if the wrapped
// store does.
type BatchReplacer interface {
	// ReplaceBatch does for every i what Replace(ctx, recs[i], versions[i]) does. Each is an atomic step of its own, in
	// any order. No two records have the same key, and there are as many versions as records.
	// replaced[i] is true only if that record was replaced; why another one was not, Replace would say.
	// With an error, each of the records may or may not have been replaced, now or later; with errors.ErrUnsupported,
	// of a wrapper around a store that can't, none was.
	ReplaceBatch(ctx context.Context, recs []Record, versions []uint64) (replaced []bool, err error)
}

// Lister is a store that can list its records: by principal, for "log out everywhere" and pages of devices, and all,
// for administration.
//
// Both sequences yield records without Data but with Public, tombstones included, expired records not. A record that is
// there from the beginning of the loop to its end is yielded exactly once; of records that come or go meanwhile nothing
// is said. No lock, cursor or connection is held while the loop's body runs: it may call any method of the store. The
// sequence ends after the first error, which comes with a zero Record, and when ctx ends.
type Lister interface {
	// Principal yields the records of one principal. "" yields nothing.
	Principal(ctx context.Context, principal string) iter.Seq2[Record, error]

	// All yields every record, in pages by key: it never blocks the store or reads it whole into memory.
	All(ctx context.Context) iter.Seq2[Record, error]
}

// Sweeper is a store without expiry of its own: somebody has to remove what has expired. A session.Manager does, from
// time to time. The work is proportional to the number of records removed, not to the number there.
type Sweeper interface {
	// Sweep removes at most limit expired records and returns how many it removed; fewer than limit: none are left.
	Sweep(ctx context.Context, limit int) (removed int, err error)
}

// Evicter is a store that may have to remove records before they expire, to stay within its bounds.
type Evicter interface {
	// OnEvict makes the store call fn, without a lock held, after it evicted a record, which is passed without Data.
	// It returns a function that undoes this.
	OnEvict(fn func(Record)) (cancel func())
}

// StaleLoader is a store that can answer a read from a cache. A session.Manager uses it where a request looks at its
// session for the first time, and Load for everything else: for what can't bear an old record, such as Preload, Take,
// Elevate, Reload and guard.Fresh, and for whatever a write looks at that met another one.
//
// A wrapper that passes calls on implements it as well, or As reaches the wrapped store past it.
type StaleLoader interface {
	// LoadStale is Load, but the record may be one that an earlier LoadStale of the key has found. How long ago that
	// was is bounded, whatever fails meanwhile: by what the store's documentation says, at most by a minute. The
	// same Store has written nothing under the key since, and found no other record there by Load.
	// errors.ErrUnsupported: the store, or the one that it wraps, has no cache; use Load.
	LoadStale(ctx context.Context, key string) (Record, error)
}
