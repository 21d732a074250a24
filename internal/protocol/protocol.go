// Package protocol loads, saves, moves and ends sessions: the protocol of docs/protocol.md, which a model checker has
// been over (verify/model). Each step and each order of questions is there because a simpler one lost a write, revived
// a session or logged somebody out. It knows records, documents, principals and time; it knows no HTTP, no cookie and
// no configuration.
//
// A comment "rule: NAME" marks the line that a rule of the protocol stands on. verify/interleave switches each of them
// off in turn, and shows which promise breaks.
package protocol

import (
	"context"
	"fmt"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
)

// Keeper keeps sessions: in a store ([Engine]), or in the cookie itself. It is safe for concurrent use.
type Keeper interface {
	// NewID makes the ID of a session that is going to be created.
	NewID() *token.ID

	// Check returns the key of the session that a token names, or refuses one that gives none, as far as that can be
	// told without I/O.
	Check(token string) (key string, refused Reason)

	// Load reads the session that a client names by token into v. A session that is not live has a reason. stale: a
	// live one may be as it was a moment before (View.Stale).
	Load(ctx context.Context, token string, stale bool, v *View) (Reason, error)

	// Reload reads the session of v again, into now.
	Reload(ctx context.Context, v, now *View) error

	// NeedsCookie reports whether the client has to get a cookie for c, or c is lost. It does no I/O.
	NeedsCookie(c *Change) bool

	// Save does what c says, and returns the session as it is then.
	Save(ctx context.Context, c *Change) (View, error)

	// End ends the session of v, by its own principal. forget: the client may forget it.
	End(ctx context.Context, v *View) (forget bool, err error)
}

// State is what is known of a session.
type State uint8

const (
	Fresh State = iota // nothing is stored
	Live               // the record is stored
	// found under an ID that a login or an end retired: reads empty, takes no changes; only Login works
	Late
	Spent  // saved across a concurrent move that retired its ID: keeps its view, takes no changes
	Failed // could not be read: reads empty, takes no changes
)

// View is a session as a load found it or a save left it.
type View struct {
	State State
	// found by a tombstone of Renew: the client has, or will get, the new ID from another response
	Moved    bool
	Loads    uint8             // calls of the store that the load took
	Stale    bool              // Record was there at most maxStale before At, and may have changed or ended since
	Ahead    bool              // Record came with times in the future, and has been corrected: see Records.correct
	Record   store.Record      // of state Live; of others what is known, for events
	Document document.Document // of Record, or none after a Login over another principal
	At       time.Time         // when Record was last known to be stored, unless it is Stale
	Token    string            // what Record was decoded from, if the session is kept in the cookie
}

// maxStale is what store.StaleLoader allows.
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

// Fate is what became of a save.
type Fate uint8

const (
	Unchanged Fate = iota // there was nothing to store, but perhaps the time of the last activity
	Stored                // under the ID that the session had
	Created               // under Change.Next
	Emptied               // nothing was left that is worth a session, so none is kept
	Dropped               // the session has ended, and the changes with it
	Crossed               // the changes followed a move that retired the ID, which this request does not get to see
)

// Change is one save: what it is to do, and afterwards what became of it. It is used once.
type Change struct {
	Base   *View // what the request has loaded; it does not change while the save runs
	Values document.Changes
	Label  *string         // nil: as it is
	Auth   *Authentication // of a Login, or a Hard move that elevates; nil: as it is
	Next   *token.ID       // of a Move, and of the first save of a session
	Take   bool            // Values removes one name, which exactly one of several saves may do
	Move   Move
	Active bool // counts as activity
	Sealed bool // no cookie can be sent any more

	Fate      Fate
	Overtaken bool   // of a Login: newer ones have ended the new session already, by Options.MaxSessions
	Token     string // what the client has to get; "": nothing
	Notes     []Note
	Excess    error // of a Login that is stored: why there may be more sessions than MaxSessions; nil: there are not

	Figures Figures

	timeout timeout
}

// Authentication is who is logged in, and how. It doesn't change: a save in flight has it.
type Authentication struct {
	Principal string    // of a Login
	Since     time.Time // of a Login: when the user was authenticated, from which Lifetime counts; zero: now
	Attribute []byte    // the public attribute AuthName; nil: as it is
}

// Figures are what a save took.
type Figures struct {
	Attempts, Conflicts int
	Waited              time.Duration
	Bytes               int // for the caller
}

// creates reports whether c makes a session where none is.
func (c *Change) creates() bool { return c.Base.State != Live }

// onlyMoves reports whether c changes nothing within the session.
func (c *Change) onlyMoves() bool { return c.Values.Empty() && c.Label == nil }

// onlyTouches reports whether all that c can change is the time of the last activity.
func (c *Change) onlyTouches() bool { return c.Move == Stay && c.onlyMoves() }

// Note is something that happened on the way of a save and that an operator wants to know.
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
	AttributesLeft                 // changes of attributes were dropped, since a login has taken the session's place
	LimitEnded                     // a session was ended, since its principal has more than Options.MaxSessions
)

// Reason says why a client's token gives no session.
type Reason string

// The reasons that an [Engine] has. Those of package session have the same texts.
const (
	Idle       Reason = "idle"
	Lifetime   Reason = "lifetime"
	Unknown    Reason = "unknown"
	Ended      Reason = "ended"
	Replaced   Reason = "replaced"
	Unreadable Reason = "undecodable"
)

// Records says what a session's record looks like, wherever it is kept.
type Records struct {
	Serializer document.Serializer
	Begin      document.Document // what a session holds before its first change
	MaxBytes   int               // of Data

	// Persistent reports whether the session outlives the browser.
	Persistent func(document.Document) bool

	// Expiry is the end of a session that is not used again, Deadline its end however much it is used: both by the
	// configuration of now.
	Expiry   func(created, seen time.Time, persistent bool) time.Time
	Deadline func(r *store.Record, persistent bool) time.Time

	// Issued returns the value of document.Issued, which a Renew sets; nil: nobody needs it.
	Issued func(time.Time) ([]byte, error)

	// Limited says that Options.MaxSessions is set.
	Limited bool

	// Listed says that a record's Public tells whether the session is persistent, since lists don't have the document.
	Listed bool
}

// Overdue says why a live record gives no session at that time, though it hasn't expired: the timeouts were shortened
// after it was written. "": it does. If they were not, the store alone decides, whose clock is the same for all
// servers.
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

// Expired says which of its two times ended a session whose record has expired. Of an expired tombstone nothing is
// known any more.
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

// skew is how far the clocks of servers may differ before anybody is told.
const skew = time.Minute

// Ahead reports whether a record has a time that lies in the future.
func Ahead(r *store.Record, now time.Time) bool {
	latest := now.Add(skew)
	return r.CreatedAt.After(latest) || r.LastSeenAt.After(latest)
}

// correct makes a record that a server with a wrong clock has written one that is first seen now. Otherwise its
// timeouts would begin when that clock says. It reports whether it did.
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

// first returns the record and document of a session that has none.
func (f *Records) first(c *Change, now time.Time) (store.Record, document.Document, error) {
	r := store.Record{Key: c.Next.Key, Handle: c.Next.Handle, CreatedAt: now.Truncate(time.Millisecond)}
	if c.Move == Login {
		r.Principal, r.CreatedAt = c.Auth.Principal, c.loginTime(now)
	}
	return f.moved(c, r, f.Begin, "", now)
}

// successor returns the record under the new ID, which has the values of r and the changes. A login over another
// principal starts from nothing.
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

// AuthName is the public attribute that says how the user was authenticated.
const AuthName = "auth"

// moved is build for a record under a new ID. What the user was authenticated by is part of that record alone: it is
// not among the changes, which can follow a session to wherever another request has moved it. over is the handle of the
// session that a login takes over, where that counts.
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

// build returns r with the changes, and whether anything but times differs.
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

// Next returns the record and document that c makes of its view, and whether they differ from it.
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

// check refuses a record that is too large, and names the longest of the values that this request changed.
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
