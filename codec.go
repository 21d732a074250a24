package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
)

// cookieKeeper keeps sessions in the cookie itself. It can't merge the changes of overlapping requests: the last
// response wins.
type cookieKeeper struct {
	m       *Manager
	codec   Codec
	records protocol.Records
}

var _ protocol.Keeper = (*cookieKeeper)(nil)

// NewID implements [protocol.Keeper]. It makes only a handle, since the token is the session itself.
func (k *cookieKeeper) NewID() *token.ID { return &token.ID{Handle: token.NewHandle()} }

func (k *cookieKeeper) Check(value string) (key string, refused protocol.Reason) {
	var v protocol.View
	refused, _ = k.Load(context.Background(), value, false, &v)
	return value, refused
}

func (k *cookieKeeper) Load(_ context.Context, value string, _ bool, v *protocol.View) (protocol.Reason, error) {
	*v = protocol.View{At: time.Now()}
	if len(value) > maxCookie {
		return protocol.Reason(ReasonMalformed), nil
	}
	var members []Member
	var err error
	if v.Record, members, err = k.open(value); err != nil {
		return refusal(err), nil
	}
	r := &v.Record
	d, err := document.Of(members, r.Public)
	switch {
	case err != nil:
		return protocol.Unreadable, nil
	case k.m.policy == nil && protocol.Ahead(r, v.At): // a framework has a rule of its own
		return protocol.Reason(ReasonFuture), nil
	case !v.At.Before(r.ExpiresAt):
		return k.records.Expired(r, k.records.Persistent(d)), nil
	}
	if reason := k.records.Overdue(r, d, v.At); reason != "" {
		return reason, nil
	}
	v.State, v.Document, v.Token = protocol.Live, d, value
	return "", nil
}

// splitter is implemented by a Codec that finds the members of a session when it decodes the cookie.
type splitter interface {
	DecodeSplit(value string) (store.Record, []Member, error)
}

// open returns what a cookie holds. Of one that can't be split into its values it returns the rest.
func (k *cookieKeeper) open(value string) (store.Record, []Member, error) {
	if c, ok := k.codec.(splitter); ok {
		return c.DecodeSplit(value)
	}
	r, err := k.codec.Decode(value)
	if err != nil {
		return store.Record{}, nil, err
	}
	members, err := k.records.Serializer.Split(r.Data)
	if err != nil {
		err = ReasonUndecodable
	}
	return r, members, err
}

// refusal returns the Reason in the error of a Codec or an IDFormat.
func refusal(err error) protocol.Reason {
	reason := ReasonMalformed
	errors.As(err, &reason)
	return protocol.Reason(reason)
}

// Reload implements [protocol.Keeper]. It returns the session unchanged: the cookie of this request is the only source.
func (k *cookieKeeper) Reload(_ context.Context, v, now *protocol.View) error {
	*now = *v
	return nil
}

func (k *cookieKeeper) NeedsCookie(c *protocol.Change) bool {
	if created(c) {
		return true
	}
	_, _, changed, err := k.records.Next(c, time.Now())
	return changed && err == nil
}

// created reports whether c makes a new session or changes its ID, which is an event.
func created(c *protocol.Change) bool {
	return c.Base.State != protocol.Live || c.Move != protocol.Stay
}

func (k *cookieKeeper) Save(_ context.Context, c *protocol.Change) (protocol.View, error) {
	now := time.Now()
	r, d, changed, err := k.records.Next(c, now)
	switch {
	case err != nil:
		return protocol.View{}, err
	case r.Principal == "" && d.Bare():
		if c.Base.State == protocol.Live {
			c.Fate = protocol.Emptied
		}
		return protocol.View{}, nil
	case !changed && !k.touchDue(c, now):
		return *c.Base, nil
	case created(c):
		c.Fate = protocol.Created
	case !changed:
		value, err := k.seal(&r, d, c.Base.Token)
		if err != nil {
			return *c.Base, nil // the request only reads: it does without a renewal that no browser would take
		}
		c.Fate, c.Token = protocol.Stored, value
		return protocol.View{State: protocol.Live, Record: r, Document: d, At: now}, nil
	default:
		c.Fate = protocol.Stored
	}
	c.Token, err = k.seal(&r, d, "")
	return protocol.View{State: protocol.Live, Record: r, Document: d, At: now}, err
}

// touchDue reports whether the cookie has to be sent again because of the idle timeout.
func (k *cookieKeeper) touchDue(c *protocol.Change, now time.Time) bool {
	if !c.Active || c.Sealed || k.m.touchPersistent && !k.m.persistentIn(c.Base.Document) {
		return false
	}
	return now.Sub(c.Base.Record.LastSeenAt) >= k.m.touchInterval
}

// refresher is implemented by a Codec that can say by a cookie's value alone that its session was used again.
type refresher interface {
	Refresh(value string) (string, error)
}

// seal returns the cookie's value for r. With a Policy it first sets the times of r as the policy's framework counts
// them. If r has not changed, old is the value that it was decoded from.
func (k *cookieKeeper) seal(r *store.Record, d document.Document, old string) (value string, err error) {
	m := k.m
	if m.policy != nil {
		now := time.Now().Truncate(time.Millisecond)
		r.CreatedAt, r.LastSeenAt = now, now
		r.ExpiresAt = m.deadline(r, false)
	}
	if refresher, ok := k.codec.(refresher); ok && old != "" {
		value, err = refresher.Refresh(old)
	} else {
		value, err = k.codec.Encode(*r)
	}
	if err != nil {
		return "", err
	}
	if size := len(m.config.Cookie.Name) + len(value); size > maxCookie {
		return "", fmt.Errorf("%w: the cookie's name and value have %d bytes, browsers take %d", ErrTooLarge,
			size, maxCookie)
	}
	if m.policy != nil {
		err = m.policy.CheckCookie(m.cookie(&cookieChange{value, m.persistentIn(d),
			m.deadline(r, m.persistentIn(d)), true}))
	}
	return value, err
}

// End implements [protocol.Keeper]: the browser is told to forget the cookie. Nothing is stored that could be ended.
func (k *cookieKeeper) End(context.Context, *protocol.View) (forget bool, err error) {
	return true, nil
}
