// Package redisstore keeps sessions in Redis or Valkey: for more than one machine.
//
//	s, err := redisstore.Open(ctx, "rediss://shop:secret@redis.example.com", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer s.Close()
//
// It works with Redis from version 6.2 and Valkey, alone, under Sentinel, and as a cluster. [Open] lists the URLs,
// [New] takes a client of github.com/redis/rueidis. docs/redis.md in the repository is about running it: memory,
// settings of the server, permissions.
//
// # What is stored
//
// A record is one string that expires by itself, named prefix + "s:" + key. It is read by one GETEX, created by one SET
// and changed by one script, which compares the version: one round trip each. The principal's index is a sorted set,
// prefix + "p:" + principal (a hash of one longer than 22 bytes), of keys and how long they may be needed. A login and
// a logout take one more round trip for it.
//
// Names, principals, labels and data are stored as they are. Whoever can read the server can read them, but can't make
// a cookie from it: keys are hashes of session IDs.
//
// # What is promised
//
// Everything that package store asks for, by the master that answered. A master that fails takes with it what its
// replicas did not have yet, since Redis replicates after it has answered: the last changes of sessions, and also
// logouts. With [Options].Replicas a write counts only when so many replicas have it; that makes a loss unlikely, not
// impossible, because a failover may choose another replica (redis.io/docs/latest/commands/wait, "Consistency and
// WAIT").
//
// A server that removes keys for others (a maxmemory-policy other than noeviction) ends sessions early, which looks
// like a logout, and can remove an index, so that a principal's list lacks sessions until they are used again.
//
// # The index
//
// An entry is made before its record and lasts until after the record's end, by the clock of the server: a write that
// would give the record more life than its entry is applied only after the entry was prolonged. So the list of a
// principal misses no session, in whatever order calls arrive. What somebody else removes from it is made again when
// the session is next prolonged: after at most the idle timeout and a minute, or a day and a half if that is longer,
// while it is in use.
//
// The clocks of the application and of the server may differ. If they differ by more than a minute, each change of a
// user's session costs two more round trips.
package redisstore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// Options are the settings of a Store. The zero value is the default.
type Options struct {
	// Prefix begins the names of all keys. Default: "hipflask:". Stores of different applications in one database need
	// different ones, none of which is another one followed by "s:" or "p:".
	Prefix string

	// Replicas is how many replicas must have a write before it counts as saved (WAIT). If they don't have it when the
	// call's context ends, or after 5 s, the write is uncertain: the client gets 503, and the change may be there later
	// or not. Reads wait as well where they could find a write that does not count: see the file wait.go. However many
	// calls wait, they take one more connection to each master, with its goroutines and buffers: what waits together is
	// sent together. Default: 0, the master's answer is enough.
	Replicas int

	// MaxStale lets plain reads be as old as this. Then most of them cost no round trip and a tenth of the CPU: the
	// Store keeps what it has read in memory, at most 64 MiB, until the server says that it has changed, but never for
	// longer than MaxStale. So a logout by another process is usually seen within some milliseconds, and within
	// MaxStale whatever happens to the network and the servers. What depends on the newest state, and what this Store
	// has written itself, is read as without MaxStale: see [store.StaleLoader], and docs/redis.md in the repository. At
	// most a minute. It needs a server with CLIENT TRACKING, and a Store of [Open]. Default: 0, every read asks the
	// server.
	MaxStale time.Duration

	_ struct{} // no unkeyed literals: fields may be added
}

func (o *Options) check() error {
	if o.Replicas < 0 {
		return fmt.Errorf("redisstore: Replicas is %d: it can't be negative", o.Replicas)
	}
	if o.MaxStale < 0 || o.MaxStale > longestMaxStale {
		return fmt.Errorf("redisstore: MaxStale is %v: it can be 0 to %v", o.MaxStale, longestMaxStale)
	}
	return nil
}

// Store keeps records in Redis. It implements [store.Store], [store.Lister] and [store.BatchReplacer]; expired records
// are removed by the server. Its methods are safe for concurrent use, and end 20 ms after their contexts at the latest.
// Make one with [Open] or [New].
type Store struct {
	client   rueidis.Client
	owned    bool // made by Open
	prefix   string
	replicas int

	cache   *cache        // nil without Options.MaxStale
	lanes   lanes         // what waits for replicas
	doubts  *doubts       // nil without replicas to wait for
	clock   clock         // the server's
	silent  atomic.Bool   // the last call got no answer
	keeps   atomic.Uint64 // calls of keep: some of them tidy the index
	running sync.RWMutex  // read-locked by each goroutine of the Store's; Close locks it
}

var (
	_ store.Store         = (*Store)(nil)
	_ store.Lister        = (*Store)(nil)
	_ store.BatchReplacer = (*Store)(nil)
	_ store.StaleLoader   = (*Store)(nil)
)

const defaultPrefix = "hipflask:"

// New returns a Store that uses a client, which stays the caller's. Nil opts are the defaults. New does no I/O.
//
// ClientOption.ConnLifetime of the client has to be 0: rueidis sends commands again, writes included, that wait for
// their answer when the lifetime of their connection ends. AlwaysPipelining should be set: without it a call may notice
// the cancellation of its context only at the context's deadline. A MaxFlushDelay of 25 microseconds and a
// PipelineMultiplex of -1 spare much of the time under load. 2 to the power of RingScaleEachConn is how many calls a
// server that has stopped to answer may have before further ones outlast their contexts. Everything else is as you
// like: the Store reads from the master whatever SendToReplicas says, and writes are never sent again, whatever
// DisableRetry says.
func New(client rueidis.Client, opts *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("redisstore: the client is nil")
	}
	if opts == nil {
		opts = new(Options)
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.MaxStale > 0 {
		return nil, errors.New("redisstore: MaxStale needs a Store of Open, whose client tells it what has changed")
	}
	s := newStore(opts)
	s.client = client
	return s, nil
}

// newStore returns a Store that has no client yet.
func newStore(opts *Options) *Store {
	s := &Store{prefix: opts.Prefix, replicas: opts.Replicas}
	if s.prefix == "" {
		s.prefix = defaultPrefix
	}
	if s.replicas > 0 {
		s.doubts = new(doubts)
	}
	if opts.MaxStale > 0 {
		s.cache = newCache(opts.MaxStale, s.recordKey(""))
	}
	return s
}

// Close closes the connections of a Store that Open made, and does nothing to others. It waits for what calls that were
// given up have left behind. Calls in flight may fail. The error is always nil, also when the Store
// was closed before.
func (s *Store) Close() error {
	if s.owned {
		s.client.Close()
	}
	s.running.Lock()
	defer s.running.Unlock()
	return nil
}

// background runs f in a goroutine that Close waits for.
func (s *Store) background(f func()) {
	s.running.RLock()
	go func() {
		defer s.running.RUnlock()
		f()
	}()
}

// recordKey and indexKey are the names of a record and of a principal's index on the server. A long principal is in the
// name as 16 bytes of its SHA-256, since the record contains it anyway. Whoever lists an index compares the records'
// principals.
func (s *Store) recordKey(key string) string { return s.prefix + "s:" + key }

func (s *Store) indexKey(principal string) string {
	const hash = 16
	if len(principal) > base64id.EncodedLen(hash) {
		sum := sha256.Sum256([]byte(principal))
		principal = "#" + base64id.EncodeToString(sum[:hash])
	}
	return s.prefix + "p:" + principal
}
