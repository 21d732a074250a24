package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session/internal/token"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
)

// Config is what New makes a Manager from. Only SecretKey is required; every other zero value is a safe default. Later
// changes to a Config, its slices included, have no effect.
type Config struct {
	// SecretKey is the application's secret: at least 16 bytes, better 32 random ones (NewSecretKey makes one). It signs
	// IDs and encrypts cookies through subkeys, one for each use. All servers of an application share it. Short, empty
	// and published sample keys are refused. It is Flask's SECRET_KEY.
	SecretKey string

	// SecretKeyFallbacks are earlier secret keys. They verify, they don't sign: put the old key here when SecretKey
	// changes, and take it away after Lifetime. The order does not matter.
	SecretKeyFallbacks []string

	// Store keeps the sessions. Nil: a file store in a private folder, which the Manager opens and closes:
	// $STATE_DIRECTORY/sessions under systemd, else a folder of the system's temporary directory whose name depends on
	// the user and the SecretKey. A Store given here is never closed by the Manager; several Managers may share it.
	Store store.Store

	// CookieCodec keeps the whole session in the cookie instead of a store: EncryptedCookie, or flask.Cookie. There is
	// no server to merge on: of overlapping requests the last response wins, a copied cookie lives until it expires,
	// and there is no Take, no listing and no Revoke. It excludes Store and BearerToken.
	CookieCodec CookieCodec

	// Cookie names and shapes the cookie. The zero value is __Host-session, Secure, HttpOnly, SameSite=Lax, Path=/.
	Cookie Cookie

	// InsecureHTTP is for development over plain http: the cookie is sent without Secure, under the name "session".
	InsecureHTTP bool

	// BearerToken takes the session's token from "Authorization: Bearer TOKEN" instead of a cookie, and never sends a
	// cookie: the handler gives the client Session.Token. It excludes Cookie.
	BearerToken bool

	// IdleTimeout ends a session that had no request for so long. Zero: 24 hours, or Lifetime if that is shorter.
	// Negative: none. A request counts if it looks at the session; the time is kept to a twentieth of IdleTimeout.
	// Persistent sessions have no other idle timeout than Lifetime.
	IdleTimeout time.Duration

	// Lifetime ends a session so long after its creation or login, whatever its activity; Renew does not extend it.
	// Zero: 30 days. Negative: none.
	Lifetime time.Duration

	// MaxBytes bounds an encoded session. Zero: 1 MiB, or with a CookieCodec what a cookie holds.
	MaxBytes int

	// StoreTimeout bounds one load and one save, with all their steps and retries. Zero: 5 seconds.
	StoreTimeout time.Duration

	// Grace is how long the store remembers where a session went after Login, Renew, Logout and Revoke, for the sake of
	// requests that are under way. At least StoreTimeout. Zero: 2 minutes. A request that takes longer than this and
	// meets one of those drops its changes.
	Grace time.Duration

	// SweepInterval is the pause between two sweeps of expired sessions, for a store that has no expiry of its own.
	// Zero: a minute. Negative: never; somebody else sweeps.
	SweepInterval time.Duration

	// Adopt is called when a request has no session of ours, so that one of an older system can be taken over: read its
	// cookie from the request, then Login and Set. Use the Session that is passed; an error answers the request as a
	// failure (ErrorHandler). A logout has to end the old system's session too, else the next request adopts it again.
	Adopt func(*http.Request, *Session) error

	// ErrorHandler answers a request whose session can't be loaded or saved. Nil: 503 with Retry-After for
	// ErrUnavailable and ErrUncertain, else 500, as plain text.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// OnEvent is called for each Event, synchronously, with the context of the request around the Handler. It must be
	// safe for concurrent use, should return soon, and must not use the request's Session.
	OnEvent func(context.Context, Event)

	// Logger takes failures, each kind at most once in a second, and warnings that are given once. Nil: slog.Default().
	Logger *slog.Logger

	// Serializer says how values are encoded. Nil: JSON, or what the CookieCodec brings.
	Serializer Serializer

	// IDFormat makes the format of session IDs from SecretKey and its fallbacks, in this order, and a name: the
	// cookie's, or "bearer token". Nil: SignedID.
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

// check fills in the defaults and returns all problems at once.
func (c *Config) check() error {
	c.SecretKeyFallbacks = slices.Clone(c.SecretKeyFallbacks)
	problems := slices.Concat(c.checkTimes(), c.checkExclusions())
	if c.MaxBytes < 0 {
		problems = append(problems, fmt.Errorf("session: MaxBytes %d is negative; leave it zero for %d", c.MaxBytes, defaultMaxBytes))
	}
	if !c.BearerToken {
		problems = append(problems, c.Cookie.check(c.InsecureHTTP)...)
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

// checkTimes fills in the durations.
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
		{"StoreTimeout", &c.StoreTimeout, defaultStoreTimeout, false},
		{"Grace", &c.Grace, defaultGrace, false},
		{"SweepInterval", &c.SweepInterval, defaultSweepInterval, true},
	} {
		switch v := *d.value; {
		case v == 0:
			*d.value = d.standard
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
	if c.Grace >= 0 && c.Grace < c.StoreTimeout {
		problem("Grace %v is shorter than StoreTimeout %v; a save could outlive the tombstones that it needs", c.Grace, c.StoreTimeout)
	}
	return problems
}

// checkExclusions looks for fields that can't be set together.
func (c *Config) checkExclusions() (problems []error) {
	for _, e := range []struct {
		together bool
		problem  string
	}{
		{c.CookieCodec != nil && c.Store != nil, "Store and CookieCodec exclude each other: the session is kept in one of them"},
		{c.CookieCodec != nil && c.BearerToken, "BearerToken and CookieCodec exclude each other: a bearer token names a session in a Store"},
		{c.CookieCodec != nil && c.IDFormat != nil, "IDFormat and CookieCodec exclude each other: such a cookie holds no ID"},
		{c.CookieCodec != nil && c.Serializer != nil, "Serializer and CookieCodec exclude each other: the codec brings its own"},
		{c.BearerToken && c.Cookie != (Cookie{}), "BearerToken and Cookie exclude each other: no cookie is sent; leave Cookie empty"},
	} {
		if e.together {
			problems = append(problems, errors.New("session: "+e.problem))
		}
	}
	return problems
}

// formats makes the format of session IDs, or of whole sessions in cookies.
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

// keys returns the key that signs and those that verify.
func (c *Config) keys() []string { return append([]string{c.SecretKey}, c.SecretKeyFallbacks...) }

// checkKeys is for formats that rely on the strength of the secret.
func checkKeys(keys []string) error {
	var problems []error
	for i, k := range keys {
		name := "SecretKey"
		if i > 0 {
			name = fmt.Sprintf("SecretKeyFallbacks[%d]", i-1)
		}
		if p := secretProblem(k); p != "" {
			problems = append(problems, fmt.Errorf("session: %s %s", name, p))
		}
	}
	return errors.Join(problems...)
}

// openDefaultStore opens the file store of this user and these keys.
func openDefaultStore(keys []string) (*filestore.Store, error) {
	dir := ""
	// systemd.exec(5): a list, separated by colons, if the unit names several.
	if state, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); state != "" {
		dir = filepath.Join(state, "sessions")
	} else {
		// Rotation keeps the sessions: the folder of the first key that has one.
		for i, k := range slices.Backward(keys) {
			d := temporaryFolder(k)
			if _, err := os.Lstat(d); err == nil || i == 0 && dir == "" {
				dir = d
			}
		}
	}
	s, err := filestore.Open(dir, nil)
	if err != nil {
		return nil, fmt.Errorf("session: open the default Store: %w; set Config.Store to another one", err)
	}
	return s, nil
}

// temporaryFolder is apart for each user, and for each of a user's applications.
func temporaryFolder(key string) string {
	fingerprint := fmt.Sprintf("%x", token.Subkey(key, "folder")[:8])
	name := "hipflask-" + fingerprint
	if uid := os.Getuid(); uid >= 0 { // Windows has none; its temporary directory is the user's own
		name = fmt.Sprintf("hipflask-%d-%s", uid, fingerprint)
	}
	return filepath.Join(os.TempDir(), name)
}

// Format keeps the secrets of a Config out of logs, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	io.WriteString(f, "session.Config{SecretKey: (hidden), ...}")
}

// Format keeps secrets out of logs, whatever the verb.
func (m *Manager) Format(f fmt.State, _ rune) { io.WriteString(f, "session.Manager") }

// Format keeps the session's token and values out of logs, whatever the verb: it prints the handle.
func (s *Session) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "session.Session(%s)", s.Info().Handle) }
