package flask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// Adopter takes over Flask-Session's sessions into the native layout, each when it is first met. Its Adopt is for
// Config.Adopt of a Manager with a cookie of another name. An Adopter is safe for concurrent use.
type Adopter struct {
	o   AdopterOptions // without the keys
	ids session.IDFormat
}

// AdopterOptions say where the sessions are. Packages fmt, log/slog and encoding/json print nothing of them, but fmt prints
// the keys where AdopterOptions are in an unexported field of another struct: see [session.Config].
type AdopterOptions struct {
	// Store is a store in Flask-Session's layout. Required.
	Store store.Store

	// Serializer is what the Flask application uses. Nil: Msgpack, which also reads JSON and pickles.
	Serializer session.Serializer

	// CookieName is SESSION_COOKIE_NAME. Empty: "session".
	CookieName string

	// SigningKeys are SECRET_KEY, and earlier ones, of an application with SESSION_USE_SIGNER. Empty: IDs are not signed.
	SigningKeys []string

	// Keep leaves Flask's session as it is, for a Flask application that goes on using it. What changes on one side
	// afterwards is not seen on the other, a logout in Flask included; one in Go has to call End. Default: the session
	// is ended where it was when it is stored in its new place.
	Keep bool
}

const hiddenOptions = "flask.AdopterOptions{SigningKeys: (hidden), ...}"

// Format implements [fmt.Formatter]. It prints nothing of the options, whatever the verb.
func (o AdopterOptions) Format(f fmt.State, _ rune) { io.WriteString(f, hiddenOptions) }

// MarshalText implements [encoding.TextMarshaler], so that encoding/json and log/slog print nothing of the options.
func (o AdopterOptions) MarshalText() ([]byte, error) { return []byte(hiddenOptions), nil }

// NewAdopter returns an Adopter. It does no I/O.
func NewAdopter(o AdopterOptions) (*Adopter, error) {
	if o.Store == nil {
		return nil, errors.New("flask: AdopterOptions.Store is nil: pass a store of flaskredis, flaskmemcached, flasksql or flaskfiles")
	}
	if o.Serializer == nil {
		o.Serializer = Msgpack
	}
	if o.CookieName == "" {
		o.CookieName = "session"
	}
	format := SID
	if len(o.SigningKeys) > 0 {
		format = SignedSID
	}
	ids, err := format(o.SigningKeys, o.CookieName)
	if err != nil {
		return nil, err
	}
	o.SigningKeys = nil
	return &Adopter{o, ids}, nil
}

// Adopt gives s the user, the values, the flash messages and the permanence of the request's Flask session, if it has
// one, and stores it. Values that JSON has no form for take the one that encoding/json has for them: bytes are base64
// text, times are text, tuples and sets are lists; what can't be read is left out.
//
// Errors: session.ErrUnavailable and ErrUncertain: one of the stores failed.
func (a *Adopter) Adopt(r *http.Request, s *session.Session) error {
	for _, c := range r.CookiesNamed(a.o.CookieName) {
		key, err := a.ids.Parse(c.Value)
		if err != nil {
			continue
		}
		if found, err := a.adopt(r.Context(), key, s); found || err != nil {
			return err
		}
	}
	return nil
}

// adoptions bounds how often a session is read again that a Flask process changes meanwhile.
const adoptions = 8

func (a *Adopter) adopt(ctx context.Context, key string, s *session.Session) (found bool, err error) {
	for range adoptions {
		rec, err := a.o.Store.Load(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return found, nil
		case err != nil:
			return found, fmt.Errorf("%w: load a Flask session: %v", session.ErrUnavailable, err)
		case rec.Kind != store.Live:
			return found, nil
		}
		members, err := a.o.Serializer.Split(rec.Data)
		if err != nil {
			return found, nil // for Flask alone to read
		}
		a.fill(s, members)
		found = true
		if a.o.Keep {
			return true, nil
		}
		if err := s.Save(ctx); err != nil {
			return true, err
		}
		err = a.o.Store.Replace(ctx, ended(rec), rec.Version)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return true, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return true, fmt.Errorf("%w: end a Flask session: %v", session.ErrUncertain, err)
		}
	}
	return found, nil // it goes on in both places
}

// ended is the mark of a session that has moved to where Flask-Session's IDs lead nowhere.
func ended(rec store.Record) store.Record {
	now := time.Now()
	return store.Record{Key: rec.Key, Version: rec.Version, Kind: store.Ended, LastSeenAt: now, ExpiresAt: now.Add(markLife)}
}

// markLife is for how long a Flask process that was busy can't bring an ended session back.
const markLife = 5 * time.Minute

func (a *Adopter) fill(s *session.Session, members []session.Member) {
	get := func(key string, pointer any) bool {
		for _, m := range members {
			if m.Name == key {
				return a.o.Serializer.Unmarshal(m.Value, pointer) == nil
			}
		}
		return false
	}
	if user := (&policy{}).Principal(get); user != "" && s.Principal() != user {
		s.Login(user)
	}
	s.Clear()
	var permanent bool
	get("_permanent", &permanent)
	s.SetPersistent(permanent)
	for _, m := range members {
		switch m.Name {
		case userKey, Fresh, ID, "_permanent":
			continue
		}
		var v any
		if a.o.Serializer.Unmarshal(m.Value, &v) != nil {
			continue
		}
		v = jsonForm(v)
		if _, err := session.JSON.Marshal(v); err == nil {
			s.Set(m.Name, v)
		}
	}
}

// End ends the request's Flask session: for a logout beside Keep, before the answer is written.
func (a *Adopter) End(r *http.Request) error {
	for _, c := range r.CookiesNamed(a.o.CookieName) {
		key, err := a.ids.Parse(c.Value)
		if err != nil {
			continue
		}
		if err := a.end(r.Context(), key); err != nil {
			return err
		}
	}
	return nil
}

func (a *Adopter) end(ctx context.Context, key string) error {
	for range adoptions {
		rec, err := a.o.Store.Load(ctx, key)
		if err == nil && rec.Kind == store.Live {
			err = a.o.Store.Replace(ctx, ended(rec), rec.Version)
		}
		switch {
		case err == nil, errors.Is(err, store.ErrNotFound):
			return nil
		case !errors.Is(err, store.ErrConflict):
			return fmt.Errorf("%w: end a Flask session: %v", session.ErrUncertain, err)
		}
	}
	return fmt.Errorf("%w: end a Flask session: it changes all the time", session.ErrUnavailable)
}
