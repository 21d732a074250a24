// Package protocol loads, saves, moves and ends sessions by the protocol of docs/protocol.md, which a model checker has
// verified (verify/model). Each step and each order of checks is there because a simpler one lost a write, revived a
// session or logged somebody out. The package knows records, documents, principals and time. It knows no HTTP, no
// cookie and no configuration.
//
// A comment "rule: NAME" marks a line that a rule of the protocol depends on. verify/interleave switches each rule off
// in turn, and shows which promise breaks.
package protocol

import (
	"context"
	"fmt"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
)

// Keeper keeps sessions, in a store ([Engine]) or in the cookie itself. It is safe for concurrent use.
type Keeper interface {
	// NewID makes the ID of a session that is going to be created.
	NewID() *token.ID

	// Check returns the key of the session that a token names, or the reason why the token names none, as far as that
	// is known without I/O.
	Check(token string) (key string, refused Reason)

	// Load reads the session that a client names by token into v, and returns a reason if the session is not live. With
	// stale, a live session may be read from a cache (View.Stale).
	Load(ctx context.Context, token string, stale bool, v *View) (Reason, error)

	// Reload reads the session of v again, into now.
	Reload(ctx context.Context, v, now *View) error

	// NeedsCookie reports whether c is lost unless the client gets a cookie. It does no I/O.
	NeedsCookie(c *Change) bool

	// Save applies c, and returns the session as it is afterwards.
	Save(ctx context.Context, c *Change) (View, error)

	// End ends the session of v on behalf of its own principal. forget reports whether the client may delete its
	// cookie.
	End(ctx context.Context, v *View) (forget bool, err error)
}

// State is what is known of a session.
type State uint8

const (
	Fresh State = iota // nothing is stored
	Live               // the record is stored
	// the ID was retired by a login or an end: the session reads empty and takes no changes; only Login works
	Late
	// saved across a concurrent move that retired the ID: keeps its view, takes no changes; Login and Logout work
	Spent
	Failed // could not be read: reads empty, takes no changes
)

// View is a session as a load found it or a save left it.
type View struct {
	State State
	// reached through a tombstone of Renew: the client has, or will get, the new ID from another response
	Moved    bool
	Loads    uint8             // calls of the store that the load made
	Stale    bool              // Record was stored at most maxStale before At, and may have changed or ended since
	Ahead    bool              // Record had times in the future, which correct has mended
	Record   store.Record      // in state Live; in other states what is known of it, for events
	Document document.Document // of Record; empty after a Login over another principal
	At       time.Time         // when Record was last known to be stored, unless it is Stale
	Token    string            // what Record was decoded from, if the session is kept in the cookie
}

// maxStale is the age that store.StaleLoader allows.
const maxStale = time.Minute

// stored returns when the record was last known to be stored.
func (v *View) stored() time.Time {
	if v.Stale {
		return v.At.Add(-maxStale)
	}
	return v.At
}

// Move says what a change does to the session's ID.
type Move uint8

const (
	Stay  Move = iota
	Renew      // the old ID stays valid for Grace
	Hard       // as Renew, but the old ID is retired at once, as by Login
	Login
	Logout // by Keeper.End, never by Save
)

// retires reports whether the old ID is no longer valid afterwards.
func (m Move) retires() bool { return m == Hard || m == Login }

// Fate is the result of a save.
type Fate uint8

const (
	Unchanged Fate = iota // there was nothing to store, except perhaps the time of the last activity
	Stored                // under the session's ID
	Created               // under Change.Next
	Emptied               // no value was left, so no session is kept
	Dropped               // the session has ended, so the changes were dropped
	Crossed               // the changes were stored across a move that retired the ID, so this request doesn't see them
)

// Change is one save: first its changes, and afterwards its result. It is used once.
type Change struct {
	Base   *View // what the request has loaded; it does not change during the save
	Values document.Changes
	Label  *string         // nil: unchanged
	Auth   *Authentication // of a Login, or a Hard move that elevates; nil: unchanged
	Next   *token.ID       // the ID for a Move, and for the first save of a session
	Take   bool            // Values removes one name, and exactly one of several concurrent saves may do that
	Move   Move
	Active bool // counts as activity
	Sealed bool // no cookie can be sent any more

	Fate      Fate
	Overtaken bool   // newer logins have ended the new session of this Login already, by Options.MaxSessions
	Token     string // to be sent to the client; "": none
	Notes     []Note
	Excess    error // why there may be more sessions than MaxSessions after a Login that is stored; nil: there are not

	Figures Figures

	timeout timeout
}

// Authentication is who is logged in, and how. It is immutable, since saves in flight share it.
type Authentication struct {
	Principal string    // of a Login
	Since     time.Time // of a Login: when the user was authenticated, from which Lifetime counts; zero: now
	Attribute []byte    // the public attribute AuthName; nil: unchanged
}

// Figures are the costs of a save.
type Figures struct {
	Attempts, Conflicts int
	Waited              time.Duration
	Bytes               int // for the caller
}

// creates reports whether c creates a session.
func (c *Change) creates() bool { return c.Base.State != Live }

// onlyMoves reports whether c changes neither values nor the label.
func (c *Change) onlyMoves() bool { return c.Values.Empty() && c.Label == nil }

// onlyTouches reports whether c can change nothing but the time of the last activity.
func (c *Change) onlyTouches() bool { return c.Move == Stay && c.onlyMoves() }

// Note is something that happened during a save and that an operator wants to know.
type Note struct {
	Kind                     NoteKind
	Handle, Principal, Label string
	Name                     string // of AttributesLeft: one of them
	Err                      error
}

// NoteKind says what happened.
type NoteKind uint8

const (
	Undecodable    NoteKind = iota // a record could not be decoded
	TouchFailed                    // the time of the last activity was not stored
	AttributesLeft                 // changes of attributes were dropped, since a login has replaced the session
	LimitEnded                     // a session was ended, since its principal has more than Options.MaxSessions
)

// Reason says why a client's token gives no session.
type Reason string

// The reasons of an [Engine]. Package session has the same texts.
const (
	Idle       Reason = "idle"
	Lifetime   Reason = "lifetime"
	Unknown    Reason = "unknown"
	Ended      Reason = "ended"
	Replaced   Reason = "replaced"
	Unreadable Reason = "undecodable"
)

// Records defines the form of a session's record, wherever it is kept.
type Records struct {
	Serializer document.Serializer
	Begin      document.Document // of a session before its first change
	MaxBytes   int               // of Data

	// Persistent reports whether the session outlives the browser.
	Persistent func(document.Document) bool

	// Expiry returns the end of a session that is not used again, Deadline the end however much it is used, both by the
	// present configuration.
	Expiry   func(created, seen time.Time, persistent bool) time.Time
	Deadline func(r *store.Record, persistent bool) time.Time

	// Issued returns the value of document.Issued, which a Renew sets. Nil: Renew sets none.
	Issued func(time.Time) ([]byte, error)

	// Limited says that Options.MaxSessions is set.
	Limited bool

	// Listed says that a record's Public says whether the session is persistent, since lists don't have the document.
	Listed bool
}

// Overdue returns why a live record that hasn't expired is no session at that time: the timeouts were shortened after
// it was written. "" means that it is a session. Without shorter timeouts the store alone decides, since its clock is
// the same for all servers.
func (f *Records) Overdue(r *store.Record, d document.Document, at time.Time) Reason {
	return f.overdue(r, f.Persistent(d), at)
}

func (f *Records) overdue(r *store.Record, persistent bool, at time.Time) Reason {
	end := f.Expiry(r.CreatedAt, r.LastSeenAt, persistent)
	if !end.Before(r.ExpiresAt) || at.Before(end) {
		return ""
	}
	return idleOrOld(end, f.Deadline(r, persistent))
}

// Expired returns which of the two timeouts has ended the session of an expired record. For an expired tombstone it
// returns Unknown.
func (f *Records) Expired(r *store.Record, persistent bool) Reason {
	if r.Kind != store.Live {
		return Unknown
	}
	return idleOrOld(r.ExpiresAt, f.Deadline(r, persistent))
}

func idleOrOld(end, deadline time.Time) Reason {
	if end.Before(deadline) {
		return Idle
	}
	return Lifetime
}

// skew is how far the clocks of servers may differ before an event reports it.
const skew = time.Minute

// Ahead reports whether a record has a time in the future.
func Ahead(r *store.Record, now time.Time) bool {
	latest := now.Add(skew)
	return r.CreatedAt.After(latest) || r.LastSeenAt.After(latest)
}

// correct mends a record that a server with a wrong clock has written: times in the future become now. Otherwise the
// timeouts would begin in the future. It reports whether it has changed the record.
func correct(r *store.Record, now time.Time) bool {
	if !Ahead(r, now) {
		return false
	}
	now = now.Truncate(time.Millisecond)
	if r.CreatedAt.After(now) {
		r.CreatedAt = now
	}
	r.LastSeenAt = now
	return true
}

// first returns the record and document of a new session.
func (f *Records) first(c *Change, now time.Time) (store.Record, document.Document, error) {
	r := store.Record{Key: c.Next.Key, Handle: c.Next.Handle, CreatedAt: now.Truncate(time.Millisecond)}
	if c.Move == Login {
		r.Principal, r.CreatedAt = c.Auth.Principal, c.loginTime(now)
	}
	return f.moved(c, r, f.Begin, "", now)
}

// successor returns the record under the new ID, with the values of r and the changes. A login over another principal
// starts empty.
func (f *Records) successor(c *Change, r store.Record, d document.Document, now time.Time) (store.Record,
	document.Document, error) {
	if c.Move == Login && r.Principal != "" && r.Principal != c.Auth.Principal { // rule: Scrub
		return f.first(c, now)
	}
	r.Key = c.Next.Key
	over := ""
	if (c.Move == Renew || c.Move == Hard) && f.Issued != nil {
		value, err := f.Issued(now)
		if err != nil {
			return r, nil, err
		}
		d = d.With(document.Issued, value)
	}
	if c.Move == Login {
		if f.Limited && r.Principal == c.Auth.Principal {
			over = HandleOf(&r)
		}
		r.Principal, r.Handle, r.CreatedAt = c.Auth.Principal, c.Next.Handle, c.loginTime(now)
	}
	return f.moved(c, r, d, over, now)
}

func (c *Change) loginTime(now time.Time) time.Time {
	if since := c.Auth.Since; !since.IsZero() && since.Before(now) {
		now = since
	}
	return now.Truncate(time.Millisecond)
}

// AuthName names the public attribute that says how the user was authenticated.
const AuthName = "auth"

// moved is build for a record under a new ID. The authentication is part of this record alone and not among the
// changes, since changes can follow a session to an ID that another request has moved it to. over is the handle of the
// session that a login takes over, if sessions are limited.
func (f *Records) moved(c *Change, r store.Record, d document.Document, over string, now time.Time) (store.Record,
	document.Document, error) {
	r, d, _, err := f.build(c, r, d, now)
	elevates := c.Auth != nil && c.Auth.Attribute != nil
	if err != nil || !elevates && !(f.Limited && c.Move == Login) {
		return r, d, err
	}
	if elevates {
		d = d.With(document.PublicAttribute(AuthName), c.Auth.Attribute)
	}
	if f.Limited && c.Move == Login {
		if d, err = f.ranked(d, &r, over, now); err != nil {
			return r, nil, err
		}
	}
	err = f.encode(c, &r, d, f.Persistent(d))
	return r, d, err
}

// build returns r with the changes, and whether anything except times differs.
func (f *Records) build(c *Change, r store.Record, d document.Document, now time.Time) (store.Record, document.Document,
	bool, error) {
	d, changed, err := c.Values.Apply(d)
	if err != nil {
		return r, nil, false, err
	}
	if c.Label != nil && *c.Label != r.Label {
		r.Label, changed = *c.Label, true
	}
	persistent := f.Persistent(d)
	if err := f.encode(c, &r, d, persistent); err != nil {
		return r, nil, false, err
	}
	if c.Active || r.LastSeenAt.IsZero() {
		r.LastSeenAt = now.Truncate(time.Millisecond)
	}
	r.ExpiresAt = f.Expiry(r.CreatedAt, r.LastSeenAt, persistent)
	return r, d, changed, nil
}

// encode puts d into r.
func (f *Records) encode(c *Change, r *store.Record, d document.Document, persistent bool) (err error) {
	if r.Data, r.Public, err = document.Join(f.Serializer, d, r.Data, f.Listed && persistent); err != nil {
		return fmt.Errorf("session: the session can't be encoded: %w", err)
	}
	return f.check(c, r, d)
}

// Next returns the record and document that c makes of its view, and whether they differ from the view.
func (f *Records) Next(c *Change, now time.Time) (r store.Record, d document.Document, changed bool, err error) {
	switch {
	case c.creates():
		r, d, err = f.first(c, now)
	case c.Move != Stay:
		r, d, err = f.successor(c, c.Base.Record, c.Base.Document, now)
	default:
		return f.build(c, c.Base.Record, c.Base.Document, now)
	}
	return r, d, true, err
}

// check refuses a record that is too large. The error names the longest value that this request has changed.
func (f *Records) check(c *Change, r *store.Record, d document.Document) error {
	if len(r.Public) > store.MaxPublic {
		return fmt.Errorf("%w: the public attributes have %d bytes together, at most %d", ErrTooLarge,
			len(r.Public), store.MaxPublic)
	}
	if len(r.Data) <= f.MaxBytes {
		return nil
	}
	key, longest := "", -1
	for _, m := range d {
		if c.Values.Has(m.Name) && len(m.Value) > longest {
			key, longest = document.PlainName(m.Name), len(m.Value)
		}
	}
	return fmt.Errorf("%w: %d bytes, at most %d; key %q has %d of them", ErrTooLarge, len(r.Data), f.MaxBytes,
		key, longest)
}
