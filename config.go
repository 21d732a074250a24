package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/hipflask/session/store"
)

// Config is the configuration of a [Manager], which [New] makes. Only SecretKey is required; the zero value of every
// other field is a safe default. Later changes to a Config, its slices included, have no effect.
//
// Packages fmt, log/slog and encoding/json print nothing of a Config. But package fmt doesn't call the method Format
// for a Config in an unexported field of another struct, nor for %p and %w: there it prints the secrets. So set the
// keys last, from the environment, on the copy that New gets, and keep no Config with keys:
//
//	config := session.Config{IdleTimeout: time.Hour} // what the application keeps
//	config.SecretKey = os.Getenv("SECRET_KEY")
//	m, err := session.New(config)
type Config struct {
	// SecretKey is the application's secret: at least 16 bytes, better 32 random ones. [NewSecretKey] makes one.
	// Session IDs are signed and cookies are encrypted with keys derived from it, one for each use. All servers of an
	// application need the same SecretKey. [New] refuses a short key, a well-known sample, and a guessable key: one
	// that is made of words, repetitions, sequences or walks over the keyboard. Only flask.Cookie accepts such a key,
	// since it is the Flask application's, and logs a warning. Flask calls it SECRET_KEY.
	SecretKey string

	// SecretKeyFallbacks are earlier secret keys. They verify and decrypt, but don't sign or encrypt: put the old key
	// here when SecretKey changes, and remove it after Lifetime. The order doesn't matter. The rules for
	// SecretKey apply to each. Flask calls them SECRET_KEY_FALLBACKS.
	SecretKeyFallbacks []string

	// Store keeps the sessions. Nil: a [filestore.Store] in a private folder, which the Manager opens and closes. The
	// folder is $STATE_DIRECTORY/sessions if that is set, as systemd does, else one in [os.TempDir] that depends on the
	// user and the keys; with a new SecretKey the folder stays the same, if the old key is among the fallbacks at the
	// first start. The Manager never closes a Store given here; several Managers may share it. New finds further
	// capabilities of the Store, such as [store.Lister], with [store.As].
	Store store.Store

	// Realm keeps the principals of Managers that share a Store apart: user "7" of a shop's customers and user "7" of
	// its staff. Lists, counts, Revoke and RevokeAll are of one realm. [Manager.All] and [Manager.RevokeFunc] leave out
	// the sessions of another realm's principals, but anonymous sessions belong to no realm: every Manager of the Store
	// has them there. For a Manager without a Realm, such as that of the command hipflask, these two methods include
	// the sessions of all realms.
	//
	// At most 64 bytes of UTF-8. In the Store a principal is preceded by its realm, so the longest principal is shorter
	// by the bytes of the realm and 6 more. A principal that is stored under another Realm, or none, is not logged in:
	// setting or changing Realm logs everybody out. Empty: none, and New logs a warning if Managers with different
	// cookies share a Store in this process. If they are to share their principals, give them the same Realm. It
	// excludes CookieCodec, and layouts that are shared with Flask.
	Realm string

	// CookieCodec keeps the whole session in the cookie instead of a store: [EncryptedCookie], or flask.Cookie. Nil:
	// Store is used. Without a store nothing can be merged, taken, listed or revoked: the last response of overlapping
	// requests wins, and a copied cookie is valid until it expires. CookieCodec excludes Store, BearerToken, IDFormat
	// and Serializer.
	CookieCodec CookieCodec

	// Cookie has the name and attributes of the cookie. The zero value: __Host-session, Secure, HttpOnly, SameSite=Lax,
	// Path=/, no Domain, and it ends with the browser.
	Cookie Cookie

	// InsecureHTTP is for development over plain http: the cookie is sent without Secure, and its default name is
	// "session". It is not needed behind a proxy that serves https.
	InsecureHTTP bool

	// BearerToken takes the session's token from the header "Authorization: Bearer TOKEN" (RFC 6750, section 2.1)
	// instead of a cookie. No cookie is ever sent: the handler itself sends [Session.Token] to the client. It excludes
	// Cookie and CookieCodec.
	BearerToken bool

	// IdleTimeout ends a session that had no request for this long (ASVS 5.0, 7.3.1). Zero: 24 hours, or Lifetime if
	// that is shorter. Negative: none. At least 1 ms, at most Lifetime. Only requests that look at their session count.
	// Persistent sessions have PersistentIdleTimeout instead.
	//
	// To save writes, a request stores its time only if the stored time is older than a twentieth of IdleTimeout and
	// than a minute. If IdleTimeout is less than 4 minutes, a quarter of it takes the place of the minute. A session
	// may expire that much earlier.
	//
	// New values of IdleTimeout and Lifetime apply to existing sessions too: a session expires by them, or at the
	// stored expiry, whichever is earlier.
	IdleTimeout time.Duration

	// Lifetime ends a session this long after its creation or last login, whatever its activity (ASVS 5.0, 7.3.2).
	// [Session.Renew] does not extend it. Zero: 30 days. Negative: none. At least 1 ms, at most 50 years.
	Lifetime time.Duration

	// PersistentIdleTimeout is the idle timeout of persistent sessions ("remember me": see [Session.SetPersistent]).
	// Zero: none, so that their lifetime alone ends them. At least 1 ms, at most PersistentLifetime. Only the server
	// enforces it: the browser keeps the cookie for longer. A layout shared with Flask has no place for it, and New
	// refuses it there.
	PersistentIdleTimeout time.Duration

	// PersistentLifetime is the lifetime of persistent sessions. Zero: Lifetime. Negative: none, so that with
	// PersistentIdleTimeout a login slides: it lasts for as long as it is used. At least 1 ms, at most 50 years. A
	// layout shared with Flask has no place for it, and New refuses it there.
	//
	// Browsers keep a cookie for at most 400 days. If a persistent session may live longer, a request renews it before
	// that time, early enough for PersistentIdleTimeout: see [Session.Renew].
	PersistentLifetime time.Duration

	// MaxSessions is how many sessions one principal may have at a time (ASVS 5.0, 7.1.2). A login beyond it ends the
	// oldest ones, each of which is an [EventRevoked] with [ReasonMaxSessions]. Zero: any number. It needs a Store that
	// is a [store.Lister]. All Managers that share the Store should have the same number. A login costs a listing of
	// the principal's sessions. The session that the login takes over is not counted, so a browser that logs in again
	// ends no other session.
	//
	// After concurrent logins have returned, exactly MaxSessions sessions are left, even if the clocks of servers
	// differ. A login that newer ones overtake several times may end itself: [ErrEnded], without a cookie. If the store
	// fails after the new session is stored, there may be too many until the next login: then the save is
	// [ErrUncertain], but the response has the cookie.
	MaxSessions int

	// MaxBytes is the most bytes that the encoded values of one session may have; a save of more fails with
	// [ErrTooLarge]. Zero: 1 MiB. With a CookieCodec the cookie's name and value have at most 4096 bytes in any case
	// (RFC 6265bis, section 5.6).
	MaxBytes int

	// StoreTimeout bounds one load, and one save, each with all its steps and retries. Zero: 5 seconds. At least 1 ms.
	// If the time runs out, the request fails with [ErrUnavailable] or [ErrUncertain].
	StoreTimeout time.Duration

	// Grace is how long the store remembers where a session went after Login, Renew, Logout and Revoke, for requests in
	// flight. For that time, the ID from before a Renew is accepted as well. Zero: 2 minutes. At least StoreTimeout. If
	// a request runs longer than Grace and its session was renewed, replaced or ended meanwhile, its changes are
	// dropped.
	Grace time.Duration

	// SweepInterval is the pause between two removals of expired sessions, if the Store is a [store.Sweeper]; other
	// stores have an expiry of their own. Zero: a minute. Negative: never, because another process does it. At least 1
	// ms.
	SweepInterval time.Duration

	// Adopt takes over a session of an older system. It is called when a request that looks at its session has none of
	// ours, at most once per request: read the old system's cookie from the request, then call Login and Set on the
	// Session that is passed. It is not called for a request from another site from which the browser may have withheld
	// our cookie: see [ErrCrossSite]. With SameSite=Strict every link from another site is such a request. An error
	// fails the request: see ErrorHandler.
	//
	// [Session.LoginWith] keeps the time of the old login. One that is older than Lifetime is dropped at once, with all
	// that Adopt has set: an [EventRejected] with [ReasonLifetime]. A logout has to end the old system's session as
	// well, else the next request adopts it again. Set AdoptCookie as well. Nil: nothing is adopted. It must be safe
	// for concurrent use.
	Adopt func(*http.Request, *Session) error

	// AdoptCookie is the name of the cookie that Adopt reads. New refuses the name of our own cookie: a program that
	// makes the browser forget the old cookie would log everybody out. The cookies of alexedwards/scs and of Flask are
	// named "session" by default, as is ours with InsecureHTTP. Empty: Adopt reads no cookie, or one whose name is not
	// checked.
	AdoptCookie string

	// ErrorHandler sends the response to a request whose session can't be loaded or saved, in place of the handler's
	// response. Nil: 503 with Retry-After for [ErrUnavailable] and [ErrUncertain], else 500, as plain text and never
	// cached. The error is for logs: its text names settings and steps, but no secret.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// OnEvent is called for each [Event], with the context of the request around the Handler, or of the call outside
	// one. It is called synchronously, so it should return soon. It must be safe for concurrent use, and must not use
	// the request's Session. Nil: events are only logged, see Logger.
	OnEvent func(context.Context, Event)

	// Trace has functions that are called around each load and save, with their figures, for telemetry. Nil: nothing is
	// measured.
	Trace *Trace

	// Logger gets the events that are failures, each kind at most once a second. It also gets warnings, each once,
	// about a cookie that a browser drops or that is not safe: a Secure one over plain http, one without Secure over
	// https, one of another Domain. New logs a warning if a key is weak but accepted. Nil: [slog.Default] at the time
	// of the call.
	Logger *slog.Logger

	// Serializer encodes values and whole sessions. Nil: [JSON], or the Serializer of the CookieCodec.
	Serializer Serializer

	// IDFormat makes the format of session IDs. It gets SecretKey, followed by its fallbacks, and a name: the cookie's,
	// or "bearer token". Nil: [SignedID].
	IDFormat func(keys []string, name string) (IDFormat, error)
}

const (
	defaultIdleTimeout   = 24 * time.Hour
	defaultLifetime      = 30 * 24 * time.Hour
	defaultMaxBytes      = 1 << 20
	defaultStoreTimeout  = 5 * time.Second
	defaultGrace         = 2 * time.Minute
	defaultSweepInterval = time.Minute

	// forever stands for "no timeout": stores count in 32 bits of seconds, and so does memcached.
	forever = 50 * 365 * 24 * time.Hour
)

// check sets the defaults and returns all problems at once.
func (c *Config) check() error {
	c.SecretKeyFallbacks = slices.Clone(c.SecretKeyFallbacks)
	problems := slices.Concat(c.checkTimes(), c.checkExclusions())
	if err := checkRealm(c.Realm); err != nil {
		problems = append(problems, err)
	}
	if c.MaxSessions < 0 {
		problems = append(problems, fmt.Errorf("session: MaxSessions %d is negative; leave it zero for any number",
			c.MaxSessions))
	}
	if c.MaxBytes < 0 {
		problems = append(problems, fmt.Errorf("session: MaxBytes %d is negative; leave it zero for %d",
			c.MaxBytes, defaultMaxBytes))
	}
	if !c.BearerToken {
		problems = append(problems, c.Cookie.check(c.InsecureHTTP)...)
		if c.AdoptCookie != "" && c.AdoptCookie == c.Cookie.Name {
			problems = append(problems,
				fmt.Errorf("session: AdoptCookie %q is the name of our own cookie too, and one of them would "+
					"replace the other; set Cookie.Name to another name", c.AdoptCookie))
		}
	}
	if c.AdoptCookie != "" && c.Adopt == nil {
		problems = append(problems, errors.New("session: AdoptCookie is set, but Adopt is nil; set both or none"))
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.Serializer == nil {
		c.Serializer = JSON
	}
	if c.IDFormat == nil {
		c.IDFormat = SignedID
	}
	return errors.Join(problems...)
}

// checkTimes sets the default durations and returns what is wrong with the given ones.
func (c *Config) checkTimes() (problems []error) {
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("session: "+format, args...))
	}
	idleGiven := c.IdleTimeout > 0
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
		negative bool // means something
	}{
		{"IdleTimeout", &c.IdleTimeout, defaultIdleTimeout, true},
		{"Lifetime", &c.Lifetime, defaultLifetime, true},
		{"PersistentIdleTimeout", &c.PersistentIdleTimeout, 0, false},
		{"PersistentLifetime", &c.PersistentLifetime, 0, true},
		{"StoreTimeout", &c.StoreTimeout, defaultStoreTimeout, false},
		{"Grace", &c.Grace, defaultGrace, false},
		{"SweepInterval", &c.SweepInterval, defaultSweepInterval, true},
	} {
		switch v := *d.value; {
		case v == 0:
			*d.value = d.standard
		case v < 0 && !d.negative && d.standard == 0:
			problem("%s %v is negative; leave it zero for none", d.name, v)
		case v < 0 && !d.negative:
			problem("%s %v is negative; leave it zero for %v", d.name, v, d.standard)
		case v > 0 && v < time.Millisecond:
			problem("%s %v is shorter than 1ms; write a unit, such as 30*time.Minute", d.name, v)
		case v > forever && d.negative:
			problem("%s %v is longer than 50 years; a negative value means none", d.name, v)
		case v > forever:
			problem("%s %v is longer than 50 years; shorten it", d.name, v)
		}
	}
	if c.Lifetime < 0 {
		c.Lifetime = forever
	}
	switch {
	case c.IdleTimeout < 0:
		c.IdleTimeout = c.Lifetime
	case c.IdleTimeout > c.Lifetime && idleGiven:
		problem("IdleTimeout %v is longer than Lifetime %v; shorten it, or leave it zero", c.IdleTimeout, c.Lifetime)
	}
	c.IdleTimeout = min(c.IdleTimeout, c.Lifetime)
	switch {
	case c.PersistentLifetime < 0:
		c.PersistentLifetime = forever
	case c.PersistentLifetime == 0:
		c.PersistentLifetime = c.Lifetime
	}
	switch {
	case c.PersistentIdleTimeout > c.PersistentLifetime && c.PersistentIdleTimeout <= forever:
		problem("PersistentIdleTimeout %v is longer than the lifetime of persistent sessions, %v; shorten "+
			"it, or set PersistentLifetime",
			c.PersistentIdleTimeout, c.PersistentLifetime)
	case c.PersistentIdleTimeout <= 0:
		c.PersistentIdleTimeout = c.PersistentLifetime
	}
	if c.Grace >= 0 && c.Grace < c.StoreTimeout {
		problem("Grace %v is shorter than StoreTimeout %v; a save could outlive the tombstones that it needs",
			c.Grace, c.StoreTimeout)
	}
	return problems
}

// checkExclusions returns which fields are set that exclude each other.
func (c *Config) checkExclusions() (problems []error) {
	for _, e := range []struct {
		together bool
		problem  string
	}{
		{c.CookieCodec != nil && c.Store != nil,
			"Store and CookieCodec exclude each other: the session is kept in one of them"},
		{c.CookieCodec != nil && c.MaxSessions > 0,
			"MaxSessions and CookieCodec exclude each other: such sessions can't be " +
				"listed or ended; set Store instead of CookieCodec, or leave MaxSessions zero"},
		{c.CookieCodec != nil && c.BearerToken,
			"BearerToken and CookieCodec exclude each other: a bearer token names a session in a Store"},
		{c.CookieCodec != nil && c.IDFormat != nil,
			"IDFormat and CookieCodec exclude each other: such a cookie holds no ID"},
		{c.CookieCodec != nil && c.Serializer != nil,
			"Serializer and CookieCodec exclude each other: the codec brings its own"},
		{c.CookieCodec != nil && c.Realm != "",
			"Realm and CookieCodec exclude each other: a cookie is in no list of principals"},
		{c.BearerToken && c.Cookie != (Cookie{}),
			"BearerToken and Cookie exclude each other: no cookie is sent; leave Cookie empty"},
	} {
		if e.together {
			problems = append(problems, errors.New("session: "+e.problem))
		}
	}
	return problems
}

// formats makes the IDFormat, or else the Codec if there is a CookieCodec.
func (c *Config) formats(keys []string) (ids IDFormat, codec Codec, err error) {
	name := c.Cookie.Name
	if c.BearerToken {
		name = "bearer token"
	}
	if c.CookieCodec != nil {
		codec, err = c.CookieCodec(keys, name)
		return nil, codec, err
	}
	ids, err = c.IDFormat(keys, name)
	return ids, nil, err
}

// keys returns all secret keys. The first one signs, all verify.
func (c *Config) keys() []string { return append([]string{c.SecretKey}, c.SecretKeyFallbacks...) }

// checkKeys refuses weak keys. Formats that rely on the strength of the secret call it.
func checkKeys(keys []string) error {
	var problems []error
	for i, k := range keys {
		if p := secretProblem(k); p != "" {
			problems = append(problems, fmt.Errorf("session: %s %s", keyName(i), p))
		}
	}
	return errors.Join(problems...)
}
