package flask

import (
	"errors"
	"fmt"
	"hash"
	"net/http"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// Cookie is the session.CookieCodec of Flask's signed session cookie, SecureCookieSessionInterface of Flask 3.1, with
// Flask's defaults. See Options for others.
//
// Config.Lifetime is PERMANENT_SESSION_LIFETIME: how old a cookie may be, counted from its last change, for permanent
// sessions and others alike; zero: 31 days. IdleTimeout does not apply. SetPersistent is Flask's session.permanent; the
// cookie of a permanent session is renewed from time to time while it is used. Login and Principal are Flask-Login's
// logged-in user.
//
// Short and published keys are taken as they are: they are the other application's. An empty one is refused.
func Cookie(keys []string, cookieName string) (session.Codec, error) {
	return Options{}.Cookie(keys, cookieName)
}

// Options are for Flask applications that changed their session interface. The zero value is Flask's own.
type Options struct {
	// Salt is SecureCookieSessionInterface.salt. Empty: "cookie-session".
	Salt string

	// Digest is its digest_method. Nil: SHA-1.
	Digest func() hash.Hash

	// Derivation is its key_derivation. Zero: DeriveHMAC.
	Derivation Derivation

	// UserKey is the key of the session whose value names the user: what Principal reads and Login sets. Setting it is
	// a Login, deleting it ends one. Empty: "_user_id", Flask-Login's. The application of Flask's tutorial has
	// "username".
	UserKey string

	// RememberCookie is Flask-Login's REMEMBER_COOKIE_NAME. Empty: "remember_token". Where a request has that cookie,
	// Logout leaves "_remember": "clear" in the new session, so that Flask-Login deletes it and doesn't log in by it
	// again.
	RememberCookie string

	// Tags are those that were registered beside Flask's.
	Tags []Tag

	// Leeway is how far ahead of ours the clock of whoever signed a cookie may be. Zero, as in Flask: not a second, so
	// that hosts with different clocks drop each other's fresh cookies.
	Leeway time.Duration

	// MaxInflated bounds a decompressed session in bytes. Zero: 1 MiB.
	MaxInflated int
}

// Cookie is a session.CookieCodec.
func (o Options) Cookie(keys []string, cookieName string) (session.Codec, error) {
	if o.Salt == "" {
		o.Salt = "cookie-session"
	}
	if o.Leeway < 0 || o.MaxInflated < 0 {
		return nil, errors.New("flask: Options.Leeway and Options.MaxInflated can't be negative")
	}
	signer, err := NewSigner(o.Salt, keys, o.Derivation, o.Digest, o.MaxInflated)
	if err != nil {
		return nil, err
	}
	return &codec{signer: signer, serializer: NewTaggedJSON(o.Tags...), leeway: o.Leeway, policy: o.policy()}, nil
}

const maxCookieLine = 4093 // MAX_COOKIE_SIZE, of the whole Set-Cookie value

type codec struct {
	signer     *Signer
	serializer session.Serializer
	leeway     time.Duration
	policy
}

func (c *codec) Serializer() session.Serializer { return c.serializer }

// CheckCookie implements session.Policy: what Flask warns of is an error here, before anything is sent.
func (c *codec) CheckCookie(cookie *http.Cookie) error {
	const attributes = 200 // more than their names, Expires, Max-Age and SameSite have
	if len(cookie.Name)+len(cookie.Value)+len(cookie.Path)+len(cookie.Domain)+attributes <= maxCookieLine {
		return nil
	}
	if size := len(cookie.String()); size > maxCookieLine {
		return fmt.Errorf("%w: the cookie has %d bytes, Flask's MAX_COOKIE_SIZE is %d", session.ErrTooLarge,
			size, maxCookieLine)
	}
	return nil
}

func (c *codec) Encode(r store.Record) (string, error) {
	return c.signer.Sign(r.Data, time.Now()), nil
}

// Refresh signs the payload anew as it was received. Compressed again it could be longer, and no longer fit: Go's zlib
// is not Python's.
func (c *codec) Refresh(value string) (string, error) {
	return c.signer.resign(value, time.Now())
}

func (c *codec) Decode(value string) (store.Record, error) {
	r, err := c.decode(value, time.Now())
	if err == nil {
		members, _ := c.serializer.Split(r.Data) // whether it is a session is found out when it is split
		r.Principal = c.user(members)
	}
	return r, err
}

// DecodeSplit is Decode and Split: the user and the session are found in one pass.
func (c *codec) DecodeSplit(value string) (store.Record, []session.Member, error) {
	r, err := c.decode(value, time.Now())
	if err != nil {
		return r, nil, err
	}
	members, err := c.serializer.Split(r.Data)
	if err != nil {
		return r, nil, session.ReasonUndecodable
	}
	r.Principal = c.user(members)
	return r, members, nil
}

// decode returns the record without the user.
func (c *codec) decode(value string, now time.Time) (store.Record, error) {
	payload, at, err := c.signer.Unsign(value)
	if err != nil {
		return store.Record{}, err
	}
	// Whole seconds, as itsdangerous counts (timed.py, unsign).
	age := time.Duration(now.Unix()-at.Unix()) * time.Second
	switch {
	case age < -c.leeway:
		return store.Record{}, session.ReasonFuture
	case age > c.lifetime.Truncate(time.Second):
		return store.Record{}, session.ReasonLifetime
	}
	return store.Record{CreatedAt: at, LastSeenAt: at, ExpiresAt: at.Add(c.lifetime + time.Second), Data: payload}, nil
}

// user returns the user of a session. Of several members with one name the last one counts.
func (c *codec) user(members []session.Member) string {
	return c.Principal(func(key string, pointer any) (ok bool) {
		for _, m := range members {
			if m.Name == key {
				ok = c.serializer.Unmarshal(m.Value, pointer) == nil
			}
		}
		return ok
	})
}
