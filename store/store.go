// Package store is the contract between Hipflask and the places where sessions are kept.
//
// A store is a map from opaque keys to records with compare-and-swap, nothing more. Merging, retries, cookies, IDs and
// timeouts live in package session, once for all stores. Package storetest checks whether a store keeps this contract.
// docs/write-a-store.md in the repository shows a small complete store.
//
// # Words
//
// A key is the opaque, printable name of a record: at most [MaxKey] bytes, never the session ID itself. A version is a
// random number that the writer chooses for each write. A tombstone is a record whose Kind is not [Live]. It is under
// the key of a session that has moved or ended, and says where the session went. For a store, a tombstone is a record
// like any other.
//
// # Rules for every method
//
// Methods are safe for concurrent use by goroutines, and by processes where the medium is shared. Each method is one
// atomic step: no caller sees half of a write.
//
// A write is sent to the medium at most once: a client library's own retries of writes are switched off. If a method
// returns another error than those of its documentation, the write may have been applied, or may be applied later; the
// caller finds out by the version.
//
// A Load sees every write that was acknowledged before the Load began; it never reads from a replica.
//
// A record is absent from the moment it expires, before any cleanup has run. At each write the remaining lifetime
// (ExpiresAt - now) is computed by the caller's clock. From then on a single clock, the server's if there is one,
// decides expiry. Times are kept to the millisecond.
//
// A method returns soon after its context ends, with an error.
//
// A store doesn't keep the byte slices that it is given, and the byte slices that it returns belong to the caller.
// Errors never contain a key, a principal or data.
package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// The errors that callers distinguish. A store may wrap them; callers compare with [errors.Is].
var (
	// ErrNotFound says that there is no record under that key, or that it has expired.
	ErrNotFound = errors.New("store: record not found")
	// ErrExists says that Create found a record under that key.
	ErrExists = errors.New("store: record exists")
	// ErrConflict says that the record has another version than the one given.
	ErrConflict = errors.New("store: version conflict")
)

// ExpiredError is an [ErrNotFound] with the expired record: Load may return it for a record that has expired and was
// not removed yet. It tells operators why a visitor lost the login; nothing else depends on it.
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

// Kind distinguishes a live session from tombstones.
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

	// Create stores rec under rec.Key if there is no record; an expired record doesn't count.
	// A principal's index entry exists before the record can be loaded.
	// ErrExists: the key is taken, also by a tombstone.
	Create(ctx context.Context, rec Record) error

	// Replace stores rec in place of the record under rec.Key, if that record has the given version. It never creates a
	// record.
	// ErrConflict: another version is there. ErrNotFound: absent or expired.
	Replace(ctx context.Context, rec Record, version uint64) error

	// Touch sets LastSeenAt and ExpiresAt of the record under key, if the record has the given version. The version
	// stays. Touch never revives an expired record.
	// ErrConflict, ErrNotFound: as for Replace.
	Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error

	// Delete removes the record under key, whatever its version; nil when absent.
	Delete(ctx context.Context, key string) error
}

// BatchReplacer is a store that can replace many records faster than by one Replace for each. It is used to end all
// sessions of a user. A wrapper with Unwrap that has to see every write implements BatchReplacer as well, if the
// wrapped store does.
type BatchReplacer interface {
	// ReplaceBatch does for every i what Replace(ctx, recs[i], versions[i]) does. Each is an atomic step of its own, in
	// any order. No two records have the same key, and there are as many versions as records. replaced[i] is true only
	// if record i was replaced. For the others, a Replace would tell the reason. After an error, each of the records
	// may have been replaced, or may be replaced later. [errors.ErrUnsupported] means that a wrapped store has no
	// ReplaceBatch; then no record was replaced.
	ReplaceBatch(ctx context.Context, recs []Record, versions []uint64) (replaced []bool, err error)
}

// Lister is a store that can list its records: by principal, for "log out everywhere" and pages of devices, and all,
// for administration.
//
// Both sequences yield records without Data but with Public, tombstones included, expired records not. A record that
// exists from the beginning of the loop to its end is yielded exactly once; a record created or removed during the loop
// may or may not be yielded. No lock, cursor or connection is held while the loop's body runs, so the body may call any
// method of the store. The sequence ends after the first error, which comes with a zero Record, and when ctx ends.
type Lister interface {
	// Principal yields the records of one principal. "" yields nothing.
	Principal(ctx context.Context, principal string) iter.Seq2[Record, error]

	// All yields every record, in pages by key: it never blocks the store or reads all of it into memory.
	All(ctx context.Context) iter.Seq2[Record, error]
}

// Sweeper is a store that doesn't remove expired records by itself. A [session.Manager] calls Sweep from time to time.
// The work is proportional to the number of removed records, not to the number of all records.
type Sweeper interface {
	// Sweep removes at most limit expired records and returns how many it removed. If it returns fewer than limit, none
	// are left.
	Sweep(ctx context.Context, limit int) (removed int, err error)
}

// Evicter is a store that may have to remove records before they expire, to stay within its bounds.
type Evicter interface {
	// OnEvict makes the store call fn after each eviction, with the evicted record without its Data. No lock is held
	// during the call. OnEvict returns a function that unregisters fn.
	OnEvict(fn func(Record)) (cancel func())
}

// StaleLoader is a store that can answer a read from a cache. A [session.Manager] calls LoadStale when a request looks
// at its session for the first time, and Load for everything else: for Preload, Take, Elevate, Reload and guard.Fresh,
// which need the newest record, and after a conflict of two writes.
//
// A wrapper that has to see every load implements StaleLoader as well; otherwise As finds that of the wrapped store.
type StaleLoader interface {
	// LoadStale is like Load, but may return the record that an earlier LoadStale of the key has found. Its age is
	// bounded, whatever fails meanwhile: by the bound in the store's documentation, at most a minute. LoadStale never
	// returns a record that is older than this Store's own last write to the key, or than the last record that Load has
	// found there.
	// errors.ErrUnsupported: the store, or the one that it wraps, has no cache; use Load.
	LoadStale(ctx context.Context, key string) (Record, error)
}
