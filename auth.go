package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
)

// Auth says how somebody was authenticated (NIST SP 800-63B-4; ASVS 5.0, 7.1.3, 7.5.1 and 7.5.3). [Session.LoginWith]
// and [Session.Elevate] take one, [Session.Auth] and [Info.Auth] return it. The zero value is a login now, by unknown
// methods. Times are kept to the millisecond.
type Auth struct {
	// Time is when the user was authenticated. Zero, or a time in the future, stands for now.
	Time time.Time

	// Methods are the methods of authentication, by their names in RFC 8176: "pwd", "otp", "hwk", "swk", "fpt" and
	// others. A method has 1 to 64 bytes of printable ASCII without spaces. With the session's other public attributes
	// they have at most 512 bytes: see [PublicAttribute].
	Methods []string

	// Level is the authenticator assurance level, 1 to 3. 0: unknown.
	Level int

	// Until is the end of an elevation, after which the Auth of the login applies again. Zero for a login.
	Until time.Time
}

// LoginWith is [Session.Login] that also records how the user was authenticated. [Config.Lifetime] counts from
// auth.Time, so a login that began in another system ends when it would have ended there. [Info.CreatedAt] is that
// time.
//
// An auth that is out of bounds, or has Until, sets [Session.Err] and fails the request. A layout that is shared with
// Flask has a place for Flask-Login's _fresh alone; the rest of auth is dropped there.
func (s *Session) LoginWith(principal string, auth Auth) {
	err := auth.check()
	if err == nil && !auth.Until.IsZero() {
		err = errors.New("Auth.Until is set, which is for Elevate: leave it zero")
	}
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.view.State != protocol.Failed {
		s.refuse(fmt.Errorf("session: LoginWith: %w", err))
		return
	}
	s.login(principal, auth)
}

// Elevate records that the user who is logged in has been authenticated again, or by a further method ("step-up").
// [Session.Auth] returns auth until auth.Until, which is required; then the Auth of the login applies again. There is
// one elevation at a time: a further one takes its place. The level never sinks: if auth.Level is lower than the
// session's, auth gets the session's level, and ends no later than the earlier elevation.
//
// When the elevation is saved, the session gets a new ID, as by [Session.Renew]. The old ID is no longer valid, so a
// copied cookie is worth nothing. Values, attributes, principal, handle and Lifetime stay. Call it right after the user
// has been authenticated, before the first byte of the response: see [ErrTooLate].
//
// A request that has loaded the session before keeps its view, without the elevation, and may store its changes once
// more. A request that arrives with the old ID afterwards reads an empty session and gets no cookie. If the session is
// ended or replaced by another request, Elevate is dropped: see [ErrEnded].
//
// Errors set [Session.Err] and fail the request: if nobody is logged in, if Until is missing, has passed or is not
// after Time, or if auth is out of bounds. With a [Config.CookieCodec] a copy of the old cookie stays valid, without
// the elevation. A layout that is shared with Flask has a place for Flask-Login's _fresh alone: there Elevate sets
// that, and Auth returns nothing.
func (s *Session) Elevate(auth Auth) {
	now := time.Now()
	err := auth.check()
	switch auth.Time = auth.time(now); {
	case err != nil:
	case auth.Until.IsZero():
		err = errors.New("Auth.Until is zero: say when the elevation ends")
	case !auth.Until.After(auth.Time) || !auth.Until.After(now):
		err = errors.New("Auth.Until has passed, or is not after Auth.Time: it must be in the future")
	}
	s.io.Lock()
	defer s.io.Unlock()
	_ = s.confirm(s.context()) // if the store can't be reached, the save says so
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.view.State == protocol.Failed:
		return
	case err == nil && s.currentPrincipal() == "" && (s.view.State == protocol.Fresh || s.view.State == protocol.Live):
		err = errors.New("nobody is logged in: call Login first")
	}
	if err != nil {
		s.refuse(fmt.Errorf("session: Elevate: %w", err))
		return
	}
	if !s.writable() {
		return
	}
	if s.m.policy != nil {
		s.putAll("Elevate", s.m.policy.Login(s.currentPrincipal(), s.decoded))
	} else {
		base := s.storedAuth()
		if had := base.at(s.loginTime(), now); auth.Level < had.Level {
			if auth.Level = had.Level; !had.Until.IsZero() && had.Until.Before(auth.Until) {
				auth.Until = had.Until
			}
		}
		base.Elevated = &elevation{milli(auth.Time), auth.Methods, auth.Level, milli(auth.Until)}
		elevated := &protocol.Authentication{Attribute: base.encode()}
		if s.move == protocol.Login {
			elevated.Principal, elevated.Since = s.auth.Principal, s.auth.Since
		}
		s.auth = elevated
	}
	if s.move != protocol.Login {
		s.harden()
	}
}

// Auth returns how the user was authenticated, with the elevation that holds now, if there is one. It returns the zero
// Auth while nobody is logged in. With a layout that is shared with Flask, which stores no Auth, it is always zero.
func (s *Session) Auth() Auth {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.currentPrincipal() == "" || s.m.policy != nil {
		return Auth{}
	}
	stored := s.storedAuth()
	return stored.at(s.loginTime(), time.Now())
}

// Auth returns how the user was authenticated, as [Session.Auth] does. It does no I/O.
func (i Info) Auth() Auth {
	if i.Principal == "" || i.CreatedAt.IsZero() {
		return Auth{}
	}
	stored, _ := PublicAttribute[storedAuth](protocol.AuthName).Of(i)
	return stored.at(i.CreatedAt, time.Now())
}

func (a *Auth) check() error {
	if a.Level < 0 || a.Level > 3 {
		return fmt.Errorf("Auth.Level is %d, not 0 to 3", a.Level)
	}
	for _, m := range a.Methods {
		if len(m) == 0 || len(m) > 64 || slices.ContainsFunc([]byte(m), func(b byte) bool {
			return b <= ' ' || b > '~'
		}) {
			return errors.New("one of Auth.Methods is not 1 to 64 bytes of printable ASCII without spaces; " +
				"RFC 8176 has the names")
		}
	}
	return nil
}

// time returns when the authentication was. A clock may be ahead.
func (a *Auth) time(now time.Time) time.Time {
	if a.Time.IsZero() || a.Time.After(now) {
		return now.Truncate(time.Millisecond)
	}
	return a.Time.Truncate(time.Millisecond)
}

// storedAuth is the public attribute in which a session has its Auth. A login of which nothing is said has none. The
// time of the login is Record.CreatedAt.
type storedAuth struct {
	Methods  []string   `json:"m,omitempty"`
	Level    int        `json:"l,omitempty"`
	Elevated *elevation `json:"e,omitempty"`
}

type elevation struct {
	Time    int64    `json:"t"` // in milliseconds since 1970, as Until
	Methods []string `json:"m,omitempty"`
	Level   int      `json:"l,omitempty"`
	Until   int64    `json:"u"`
}

func milli(t time.Time) int64 { return t.UnixMilli() }

// encode returns the encoded attribute; nil: none is needed.
func (a *storedAuth) encode() []byte {
	if len(a.Methods) == 0 && a.Level == 0 && a.Elevated == nil {
		return nil
	}
	data, err := json.Marshal(a)
	if err != nil {
		panic(err) // of numbers and ASCII
	}
	return data
}

// at returns the Auth that holds at the time now of a session whose login was at login.
func (a *storedAuth) at(login, now time.Time) Auth {
	if e := a.Elevated; e != nil && now.UnixMilli() < e.Until {
		return Auth{Time: time.UnixMilli(e.Time), Methods: e.Methods, Level: e.Level, Until: time.UnixMilli(e.Until)}
	}
	return Auth{Time: login, Methods: a.Methods, Level: a.Level}
}

// storedAuth returns what the session has, or will have when it is saved. The caller holds mu.
func (s *Session) storedAuth() storedAuth {
	var data []byte
	if s.auth != nil {
		data = s.auth.Attribute
	}
	if data == nil && s.move != protocol.Login {
		data, _ = s.changes.Get(s.view.Document, document.PublicAttribute(protocol.AuthName))
	}
	var a storedAuth
	if data == nil || JSON.Unmarshal(data, &a) != nil {
		return storedAuth{}
	}
	return a
}

// loginTime returns when the user logged in. The caller holds mu.
func (s *Session) loginTime() time.Time {
	if s.move == protocol.Login {
		return s.auth.Since
	}
	return s.view.Record.CreatedAt
}
