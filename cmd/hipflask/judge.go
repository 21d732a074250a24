package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/flask"
	"github.com/hipflask/session/store"
)

// judge finds out about one cookie. It asks the core's own codecs, one key and one name at a time, and so learns which
// of them it is that fits.
type judge struct {
	format, name, value string
	anyName             bool // nobody said which it is
	secrets             []secret
	lifetime            time.Duration
	store               *place // nil: only the cookie itself is judged
	now                 time.Time
}

// verdict is what was found out. Reason is the library's own, as in an event.
type verdict struct {
	Valid       bool            `json:"valid"`
	Unverified  bool            `json:"unverified,omitempty"` // there was no key to check it with
	Format      string          `json:"format"`
	Cookie      string          `json:"cookie"`
	Key         string          `json:"key,omitempty"`
	Reason      session.Reason  `json:"reason,omitempty"`
	Explanation string          `json:"explanation"`
	Session     *described      `json:"session,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
	now         time.Time
}

func (v *verdict) refuse(reason session.Reason, format string, args ...any) *verdict {
	v.Valid, v.Reason, v.Explanation = false, reason, fmt.Sprintf(format, args...)
	return v
}

const idLength = 43 // 16 bytes and 16 of their signature in base64url

// guess tells the format by the look of a value.
func guess(value string) string {
	switch {
	case strings.Contains(value, "."):
		return formatFlask
	case len(value) <= idLength+8: // one too long is one with something on it
		return formatID
	}
	return formatEncrypted
}

func (j *judge) judge(ctx context.Context) (*verdict, error) {
	if j.format == "" {
		j.format = guess(j.value)
	}
	j.anyName = j.name == ""
	j.name = nameOr(j.name, j.format)
	v := &verdict{Format: j.format, Cookie: j.name, now: j.now}
	if len(j.secrets) == 0 && j.format != formatFlask {
		return nil, usage("with which key? SECRET_KEY in the environment, or --secret-file")
	}
	switch j.format {
	case formatID:
		return j.id(ctx, v)
	case formatEncrypted:
		return j.encrypted(v)
	case formatFlask:
		return j.flask(v)
	}
	return nil, unknownFormat(j.format)
}

// otherNames are names under which the cookie might have been made.
func (j *judge) otherNames() (names []string) {
	for _, n := range []string{"__Host-session", "session", "__Secure-session", "bearer token"} {
		if n != j.name {
			names = append(names, n)
		}
	}
	return names
}

// anyOf calls try with each key under the cookie's name, then under other names, and returns the first that fits.
func (j *judge) anyOf(try func(key, name string) (fits bool, err error)) (s *secret, name string, err error) {
	for _, name := range append([]string{j.name}, j.otherNames()...) {
		for i := range j.secrets {
			fits, err := try(j.secrets[i].key, name)
			if err != nil {
				return nil, "", fmt.Errorf("%s is not usable: %w", j.secrets[i].name, err)
			}
			if fits && j.anyName {
				j.name = name
			}
			if fits {
				return &j.secrets[i], name, nil
			}
		}
	}
	return nil, "", nil
}

func (j *judge) keyNames() string {
	var names []string
	for _, s := range j.secrets {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// id judges a signed session ID.
func (j *judge) id(ctx context.Context, v *verdict) (*verdict, error) {
	malformed := false
	by, name, err := j.anyOf(func(key, name string) (bool, error) {
		f, err := session.SignedID([]string{key}, name)
		if err != nil {
			return false, err
		}
		_, err = f.Parse(j.value)
		malformed = err == session.ReasonMalformed
		return err == nil, nil
	})
	switch {
	case err != nil:
		return nil, err
	case malformed && len(j.value) != idLength:
		return v.refuse(session.ReasonMalformed, "it has %d characters and a session ID has %d: it was "+
			"cut off, or is something else", len(j.value), idLength), nil
	case malformed:
		return v.refuse(session.ReasonMalformed,
			"it has characters that no session ID has: something else, or changed on its way"), nil
	case by == nil:
		return v.refuse(session.ReasonSignature, "its signature fits none of the keys given (%s): it was signed "+
			"with another key, or for a cookie of another name than %q, or forged or changed", j.keyNames(),
			j.name), nil
	case name != j.name:
		v.Key = by.name
		return v.refuse(session.ReasonSignature, "it was signed with %s, but for a cookie named %q, and it came as %q",
			by.name, name, j.name), nil
	}
	v.Key, v.Cookie, v.Valid = by.name, name, true
	v.Explanation = "a session ID, signed with " + by.name
	if j.store != nil {
		return j.stored(ctx, v, by.key)
	}
	v.Explanation += "; whether its session is still there, --store tells"
	return v, nil
}

// stored looks for the session of a rightly signed ID.
func (j *judge) stored(ctx context.Context, v *verdict, secretKey string) (*verdict, error) {
	f, err := session.SignedID([]string{secretKey}, j.name)
	if err != nil {
		return nil, err
	}
	key, err := f.Parse(j.value)
	if err != nil {
		return nil, err
	}
	r, err := j.store.Load(ctx, key)
	if expired := (*store.ExpiredError)(nil); errors.As(err, &expired) {
		d := describe(session.InfoOf(expired.Record))
		v.Session = &d
		return v.refuse(session.ReasonIdle, "signed with %s, but the session expired %s",
			v.Key, ago(d.ExpiresAt, j.now)), nil
	}
	if errors.Is(err, store.ErrNotFound) {
		return v.refuse(session.ReasonUnknown, "signed with %s, but the store has no such session: it "+
			"has expired, or was ended more than the Grace (2 minutes) ago, or is in another store", v.Key), nil
	}
	if err != nil {
		return nil, err
	}
	d := describe(session.InfoOf(r))
	v.Session = &d
	since := ago(r.LastSeenAt, j.now)
	switch r.Kind {
	case store.Ended:
		return v.refuse(session.ReasonEnded, "signed with %s, but the session was logged out or revoked %s",
			v.Key, since), nil
	case store.Replaced:
		return v.refuse(session.ReasonReplaced,
			"signed with %s, but a login took the session's place %s, with a new cookie", v.Key, since), nil
	case store.Renewed:
		v.Explanation = fmt.Sprintf("signed with %s; the session got a new cookie %s, and this one is "+
			"good for a moment more", v.Key, since)
		return v, nil
	}
	v.Data = r.Data
	v.Explanation = "a session ID, signed with " + v.Key + ", and its session is live"
	return v, nil
}

// encrypted judges a session.EncryptedCookie.
func (j *judge) encrypted(v *verdict) (*verdict, error) {
	var r store.Record
	var undecodable, malformed bool
	by, name, err := j.anyOf(func(key, name string) (bool, error) {
		c, err := session.EncryptedCookie([]string{key}, name)
		if err != nil {
			return false, err
		}
		found, err := c.Decode(j.value)
		malformed = err == session.ReasonMalformed
		undecodable = err == session.ReasonUndecodable
		if err == nil {
			r = found
		}
		return err == nil || undecodable, nil
	})
	switch {
	case err != nil:
		return nil, err
	case malformed:
		return v.refuse(session.ReasonMalformed, "it is no encrypted cookie: cut off, or something else"), nil
	case by == nil:
		return j.undecryptable(v)
	}
	v.Key, v.Cookie = by.name, j.name
	switch {
	case name != j.name:
		return v.refuse(session.ReasonSignature,
			"it was encrypted with %s, but for a cookie named %q, and it came as %q", by.name, name, j.name), nil
	case undecodable:
		return v.refuse(session.ReasonUndecodable,
			"it was encrypted with %s, but what is in it can't be read: another version made it", by.name), nil
	}
	d := describe(session.InfoOf(r))
	v.Session, v.Data = &d, r.Data
	if !j.now.Before(r.ExpiresAt) {
		return v.refuse(session.ReasonIdle, "encrypted with %s, but it expired %s",
			by.name, ago(r.ExpiresAt, j.now)), nil
	}
	v.Valid, v.Explanation = true, "encrypted with "+by.name
	return v, nil
}

// undecryptable tells a cookie of another key from one that was changed: its key's ID is in the clear.
func (j *judge) undecryptable(v *verdict) (*verdict, error) {
	id := keyID(j.value)
	for _, s := range j.secrets {
		c, err := session.EncryptedCookie([]string{s.key}, j.name)
		if err != nil {
			return nil, err
		}
		sample, err := c.Encode(store.Record{})
		if err != nil {
			return nil, err
		}
		if keyID(sample) == id {
			v.Key = s.name
			return v.refuse(session.ReasonSignature, "it names %s as its key, but doesn't decrypt: it "+
				"was tampered with or cut off, or made for a cookie of another name than %q", s.name, j.name), nil
		}
	}
	return v.refuse(session.ReasonSignature, "it was encrypted with a key (ID %s) that is none of those given (%s)", id,
		j.keyNames()), nil
}

// keyID is the ID of the key in an encrypted cookie: the four bytes after the version.
func keyID(value string) string {
	head, _ := base64.RawURLEncoding.DecodeString(value[:min(8, len(value))])
	if len(head) < 5 {
		return ""
	}
	return hex.EncodeToString(head[1:5])
}

const (
	flaskSalt     = "cookie-session"
	flaskLifetime = 31 * 24 * time.Hour // PERMANENT_SESSION_LIFETIME
)

// flask judges Flask's own cookie.
func (j *judge) flask(v *verdict) (*verdict, error) {
	lifetime := j.lifetime
	if lifetime <= 0 {
		lifetime = flaskLifetime
	}
	payload, at, readable := peek(j.value)
	if readable {
		v.Data = payload
	}
	if len(j.secrets) == 0 {
		if !readable {
			return v.refuse(session.ReasonMalformed, "it is not of the form that Flask writes"), nil
		}
		v.Unverified = true
		v.Explanation = fmt.Sprintf("it says that it was signed %s; without a key nobody knows whether that is true",
			ago(at, j.now))
		return v, nil
	}
	var reason error
	for _, s := range j.secrets {
		signer, err := flask.NewSigner(flaskSalt, []string{s.key}, flask.DeriveHMAC, nil, 0)
		if err != nil {
			return nil, err
		}
		if _, _, reason = signer.Unsign(j.value); reason != session.ReasonSignature {
			v.Key = s.name
			break
		}
	}
	switch {
	case reason == session.ReasonMalformed:
		v.Key = ""
		return v.refuse(session.ReasonMalformed, "it is not of the form that Flask writes: cut off, or something else"),
			nil
	case reason == session.ReasonSignature:
		return v.refuse(session.ReasonSignature, "its signature fits none of the keys given (%s): it "+
			"was signed with another key or salt, or forged or changed", j.keyNames()), nil
	case reason != nil || !readable:
		return v.refuse(session.ReasonUndecodable, "it was signed with %s, but what is in it can't be read", v.Key), nil
	}
	age := j.now.Sub(at).Truncate(time.Second)
	switch {
	case age < 0:
		return v.refuse(session.ReasonFuture, "it was signed with %s, at a time that is %s ahead of "+
			"this clock: the clocks of two hosts differ", v.Key, span(-age)), nil
	case age > lifetime:
		return v.refuse(session.ReasonLifetime, "it was signed with %s, but %s, and its lifetime is %s",
			v.Key, ago(at, j.now), span(lifetime)), nil
	}
	if _, err := flask.TaggedJSON.Split(payload); err != nil {
		return v.refuse(session.ReasonUndecodable,
			"it was signed with %s, but its values are no JSON that Flask writes", v.Key), nil
	}
	v.Valid = true
	v.Explanation = fmt.Sprintf("signed with %s %s", v.Key, ago(at, j.now))
	v.Session = &described{LastSeenAt: at.UTC(), ExpiresAt: at.Add(lifetime).UTC()}
	return v, nil
}
