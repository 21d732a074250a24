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
	anyName := j.name == ""
	j.name = nameOr(j.name, j.format)
	names := []string{j.name, "__Host-session", "session", "__Secure-session", "bearer token"}
	v := &verdict{Format: j.format, Cookie: j.name, now: j.now}
	switch j.format {
	default:
		return nil, unknownFormat(j.format)
	case formatID, formatEncrypted:
		if len(j.secrets) == 0 {
			return nil, usage("with which key? SECRET_KEY in the environment, or --secret-file")
		}
	case formatFlask:
		names = names[:1] // its signature says nothing of a name
		payload, at, readable := peek(j.value)
		switch {
		case readable && len(j.secrets) == 0:
			v.Data, v.Unverified = payload, true
			v.Explanation = fmt.Sprintf("it says that it was signed %s; without a key nobody knows whether "+
				"that is true",
				ago(at, j.now))
			return v, nil
		case readable:
			v.Data = payload
		case len(j.secrets) == 0:
			return j.unfit(v, session.ReasonMalformed), nil
		}
	}
	reason := session.ReasonSignature
	for _, name := range names {
		for _, s := range j.secrets {
			r, err := j.open(s.key, name)
			found, isReason := err.(session.Reason)
			if err != nil && !isReason {
				return nil, fmt.Errorf("%s is not usable: %w", s.name, err)
			}
			switch found {
			case session.ReasonMalformed:
				reason = found
				continue
			case session.ReasonSignature:
				continue
			}
			v.Key = s.name
			if name != j.name && !anyName {
				return v.refuse(session.ReasonSignature,
					"it was %s with %s, but for a cookie named %q, and it came as %q",
					j.made(), s.name, name, j.name), nil
			}
			v.Cookie = name
			if found != "" {
				return v.refuse(found, "it was %s with %s, but what is in it can't be read: another version made it, "+
					"or another program", j.made(), s.name), nil
			}
			return j.fit(ctx, v, r)
		}
	}
	return j.unfit(v, reason), nil
}

// made says what a key does to a cookie.
func (j *judge) made() string {
	if j.format == formatEncrypted {
		return "encrypted"
	}
	return "signed"
}

// open reads the cookie by one key, as a cookie of a name. Of an ID it returns the key of the record alone. An error is
// a session.Reason, unless the key can't be used.
func (j *judge) open(key, name string) (r store.Record, err error) {
	switch j.format {
	case formatID:
		f, err := session.SignedID([]string{key}, name)
		if err == nil {
			r.Key, err = f.Parse(j.value)
		}
		return r, err
	case formatEncrypted:
		c, err := session.EncryptedCookie([]string{key}, name)
		if err == nil {
			r, err = c.Decode(j.value)
		}
		return r, err
	}
	signer, err := flask.NewSigner(flaskSalt, []string{key}, flask.DeriveHMAC, nil, 0)
	if err == nil {
		r.Data, r.LastSeenAt, err = signer.Unsign(j.value)
	}
	if err != nil {
		return r, err
	}
	if _, err := flask.TaggedJSON.Split(r.Data); err != nil {
		return r, session.ReasonUndecodable
	}
	return r, nil
}

// unfit refuses a cookie that no key fits.
func (j *judge) unfit(v *verdict, reason session.Reason) *verdict {
	malformed := reason == session.ReasonMalformed
	switch {
	case malformed && j.format == formatFlask:
		return v.refuse(reason, "it is not of the form that Flask writes: cut off, or something else")
	case malformed && j.format == formatEncrypted:
		return v.refuse(reason, "it is no encrypted cookie: cut off, or something else")
	case malformed && len(j.value) != idLength:
		return v.refuse(reason, "it has %d characters and a session ID has %d: it was cut off, or is something else",
			len(j.value), idLength)
	case malformed:
		return v.refuse(reason, "it has characters that no session ID has: something else, or changed on its way")
	case j.format == formatFlask:
		return v.refuse(reason, "its signature fits none of the keys given (%s): it was signed with "+
			"another key or salt, or forged or changed", j.keyNames())
	case j.format == formatID:
		return v.refuse(reason, "its signature fits none of the keys given (%s): it was signed with another key, "+
			"or for a cookie of another name than %q, or forged or changed", j.keyNames(), j.name)
	}
	// An encrypted cookie names its key in the clear, so a wrong key and a changed text are told apart.
	id := keyID(j.value)
	for _, s := range j.secrets {
		if c, err := session.EncryptedCookie([]string{s.key}, j.name); err == nil {
			if sample, err := c.Encode(store.Record{}); err == nil && keyID(sample) == id {
				v.Key = s.name
				return v.refuse(reason, "it names %s as its key, but doesn't decrypt: it was tampered "+
					"with or cut off, or made for a cookie of another name than %q", s.name, j.name)
			}
		}
	}
	return v.refuse(reason, "it was encrypted with a key (ID %s) that is none of those given (%s)", id, j.keyNames())
}

// fit judges the times of a cookie that a key fits, and the session of an ID.
func (j *judge) fit(ctx context.Context, v *verdict, r store.Record) (*verdict, error) {
	v.Valid, v.Explanation = true, j.made()+" with "+v.Key
	switch j.format {
	case formatID:
		v.Explanation = "a session ID, " + v.Explanation
		if j.store != nil {
			return j.stored(ctx, v, r.Key)
		}
		v.Explanation += "; whether its session is still there, --store tells"
	case formatEncrypted:
		v.Session, v.Data = describe(session.InfoOf(r)), r.Data
		if !j.now.Before(r.ExpiresAt) {
			return v.refuse(session.ReasonIdle, "%s, but it expired %s", v.Explanation, ago(r.ExpiresAt, j.now)), nil
		}
	case formatFlask:
		at, lifetime := r.LastSeenAt, j.lifetime
		if lifetime <= 0 {
			lifetime = flaskLifetime
		}
		switch age := j.now.Sub(at).Truncate(time.Second); {
		case age < 0:
			return v.refuse(session.ReasonFuture, "it was %s, at a time that is %s ahead of this clock: "+
				"the clocks of two hosts differ", v.Explanation, span(-age)), nil
		case age > lifetime:
			return v.refuse(session.ReasonLifetime, "it was %s, but %s, and its lifetime is %s", v.Explanation,
				ago(at, j.now), span(lifetime)), nil
		}
		v.Explanation += " " + ago(at, j.now)
		v.Session = &described{LastSeenAt: at.UTC(), ExpiresAt: at.Add(lifetime).UTC()}
	}
	return v, nil
}

func (j *judge) keyNames() string {
	var names []string
	for _, s := range j.secrets {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// stored looks for the session of a rightly signed ID.
func (j *judge) stored(ctx context.Context, v *verdict, key string) (*verdict, error) {
	r, err := j.store.Load(ctx, key)
	if expired := (*store.ExpiredError)(nil); errors.As(err, &expired) {
		v.Session = describe(session.InfoOf(expired.Record))
		return v.refuse(session.ReasonIdle, "signed with %s, but the session expired %s",
			v.Key, ago(v.Session.ExpiresAt, j.now)), nil
	}
	if errors.Is(err, store.ErrNotFound) {
		return v.refuse(session.ReasonUnknown, "signed with %s, but the store has no such session: it "+
			"has expired, or was ended more than the Grace (2 minutes) ago, or is in another store", v.Key), nil
	}
	if err != nil {
		return nil, err
	}
	v.Session = describe(session.InfoOf(r))
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
