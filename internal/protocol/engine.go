package protocol

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
)

// Options are the settings of an [Engine].
type Options struct {
	Store   store.Store
	Records Records

	Grace        time.Duration // how long a tombstone is needed
	StoreTimeout time.Duration // bounds one load and one save
	TouchEvery   time.Duration // how old the stored time of the last activity may get

	// NewToken and Key are those of session.IDFormat; a token that Key refuses has a Reason.
	NewToken func() (token, key string)
	Key      func(token string) (key string, refused Reason)

	// MaxSessions is how many sessions a principal may have: a login ends the oldest ones beyond that number. 0: no
	// limit. Index finds them.
	MaxSessions int
	Index       store.Lister

	// KeepUnreadable leaves a record that can't be decoded: another framework may be able to read it.
	KeepUnreadable bool
}

// Engine keeps sessions in a store.Store. It is safe for concurrent use.
type Engine struct {
	Options
	store   store.Store
	stale   store.StaleLoader // nil: the store has no cache
	noCache atomic.Bool       // stale has said so
	turns   *turns
}

// New returns an Engine.
func New(o Options) *Engine {
	stale, _ := store.As[store.StaleLoader](o.Store)
	return &Engine{Options: o, store: o.Store, stale: stale, turns: newTurns()}
}

var _ Keeper = (*Engine)(nil)

// maxHops bounds the chain of tombstones that a load follows.
const maxHops = 8

// NewID implements Keeper.
func (k *Engine) NewID() *token.ID {
	id := &token.ID{Handle: token.NewHandle()}
	id.Token, id.Key = k.NewToken()
	return id
}

// NeedsCookie implements Keeper: the client needs each new ID. A Logout takes effect without a cookie.
func (k *Engine) NeedsCookie(c *Change) bool {
	return c.Move != Logout && (c.creates() || c.Move != Stay)
}

// Check implements Keeper.
func (k *Engine) Check(token string) (key string, refused Reason) { return k.Key(token) }

// Load implements Keeper.
func (k *Engine) Load(ctx context.Context, token string, stale bool, v *View) (Reason, error) {
	key, refused := k.Key(token)
	if refused != "" {
		return refused, nil
	}
	return k.find(ctx, key, stale, v)
}

// Reload implements Keeper.
func (k *Engine) Reload(ctx context.Context, v, now *View) error {
	_, err := k.find(ctx, v.Record.Key, false, now)
	return err
}

// Ping loads a random key, which no session has.
func (k *Engine) Ping(ctx context.Context) error {
	_, key := k.NewToken()
	bounded := &timeout{}
	bounded.forLoad(ctx, time.Now().Add(k.StoreTimeout))
	defer bounded.cancel()
	if _, err := k.store.Load(bounded, key); err != nil && !errors.Is(err, store.ErrNotFound) {
		return Unavailable("ping", err)
	}
	return nil
}

// find loads the session under key, and follows the tombstones of Renew. Only a live session may come from the cache:
// for any other result of the cache, find reads the store.
func (k *Engine) find(parent context.Context, key string, stale bool, v *View) (Reason, error) {
	*v = View{At: time.Now()}
	ctx := &timeout{}
	ctx.forLoad(parent, v.At.Add(k.StoreTimeout))
	defer ctx.cancel()
	if stale && k.stale != nil && !k.noCache.Load() && k.findStale(ctx, key, v) {
		return "", nil
	}
	for range maxHops + 1 {
		v.Loads++
		r, err := k.store.Load(ctx, key)
		if err != nil {
			return k.notFound(v, err) // v.Record is the tombstone before, if any
		}
		v.Record = r
		switch v.Record.Kind {
		case store.Live:
			d, err := document.Split(k.Records.Serializer, v.Record.Data, v.Record.Public)
			if err != nil {
				return k.unreadable(ctx, v)
			}
			v.Ahead = correct(&v.Record, v.At)
			if reason := k.Records.Overdue(&v.Record, d, v.At); reason != "" {
				return reason, nil
			}
			v.State, v.Document = Live, d
			return "", nil
		case store.Renewed:
			key, v.Moved = v.Record.MovedTo, true
		case store.Replaced:
			v.State = Late // rule: MarkerLate
			return Replaced, nil
		case store.Ended:
			v.State = Late
			return Ended, nil
		default:
			return k.unreadable(ctx, v)
		}
	}
	return "", Unavailable("load", fmt.Errorf("more than %d renewals within Grace", maxHops))
}

// findStale loads the session under key from the cache, and reports whether it was live there.
func (k *Engine) findStale(ctx context.Context, key string, v *View) bool {
	r, err := k.stale.LoadStale(ctx, key)
	if err != nil || r.Kind != store.Live {
		if errors.Is(err, errors.ErrUnsupported) {
			k.noCache.Store(true)
		}
		return false
	}
	v.Record = r
	d, err := document.Split(k.Records.Serializer, r.Data, r.Public)
	if err != nil || k.Records.Overdue(&v.Record, d, v.At) != "" {
		v.Record = store.Record{}
		return false
	}
	v.Ahead = correct(&v.Record, v.At)
	v.State, v.Document, v.Loads, v.Stale = Live, d, 1, true
	return true
}

// notFound returns why no record was found.
func (k *Engine) notFound(v *View, err error) (Reason, error) {
	if !errors.Is(err, store.ErrNotFound) {
		return "", Unavailable("load", err)
	}
	if expired := (*store.ExpiredError)(nil); errors.As(err, &expired) {
		v.Record = expired.Record
		return k.Records.Expired(&v.Record, document.IsPersistent(v.Record.Public)), nil
	}
	return Unknown, nil
}

// Lists reports whether a listed record is a session: not a tombstone, and not ended by timeouts that were shortened
// after it was written.
func (k *Engine) Lists(r *store.Record, at time.Time) bool {
	return r.Kind == store.Live && k.Records.overdue(r, document.IsPersistent(r.Public), at) == ""
}

func (k *Engine) unreadable(ctx context.Context, v *View) (Reason, error) {
	k.discard(ctx, &v.Record)
	v.Record = store.Record{Handle: v.Record.Handle, Principal: v.Record.Principal}
	return Unreadable, nil
}

// discard ends a record that can't be decoded, so that it is reported once, and the client can have a new session.
func (k *Engine) discard(ctx context.Context, r *store.Record) {
	if !k.KeepUnreadable {
		k.store.Replace(ctx, k.tombstone(r, store.Ended, ""), r.Version)
	}
}

// tombstone returns the record that replaces r. The tombstone outlives Grace by StoreTimeout: a slow store may count
// the lifetime from a moment before it applies the write, and every request that loaded the session before the write
// must still find the tombstone within Grace.
func (k *Engine) tombstone(r *store.Record, kind store.Kind, movedTo string) store.Record {
	now := time.Now().Truncate(time.Millisecond)
	life := k.Grace + k.StoreTimeout // rule: MergeLife
	t := store.Record{
		Key:        r.Key,
		Version:    store.NewVersion(),
		CreatedAt:  r.CreatedAt,
		LastSeenAt: now,
		ExpiresAt:  now.Add(life),
		Kind:       kind,
		MovedTo:    movedTo,
		Handle:     r.Handle,
	}
	t.Principal = r.Principal // rule: KeepPrin
	return t
}

// HandleOf returns the public name of a record. In a layout without room for a name it is the hash of the key.
func HandleOf(r *store.Record) string {
	if r.Handle == "" && r.Key != "" {
		return token.Hash([]byte(r.Key))
	}
	return r.Handle
}
