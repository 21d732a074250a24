package flask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/store"
)

// Adopter takes over Flask-Session's sessions into the native layout, each when it is first met. Its Adopt is for
// Config.Adopt of a Manager with a cookie of another name. An Adopter is safe for concurrent use.
type Adopter struct {
	o      AdopterOptions // without the keys
	ids    session.IDFormat
	policy policy
}

// AdopterOptions say where the sessions are. Packages fmt, log/slog and encoding/json print nothing of them, but fmt
// prints the keys where AdopterOptions are in an unexported field of another struct: see [session.Config].
type AdopterOptions struct {
	// Store is a store in Flask-Session's layout. Required.
	Store store.Store

	// Serializer is what the Flask application uses. Nil: Msgpack, which also reads JSON and pickles.
	Serializer session.Serializer

	// UserKey is the key of the session whose value names the user. Empty: "_user_id", Flask-Login's.
	UserKey string

	// CookieName is SESSION_COOKIE_NAME. Empty: "session".
	CookieName string

	// SigningKeys are SECRET_KEY, and earlier ones, of an application with SESSION_USE_SIGNER. Empty: IDs are not
	// signed.
	SigningKeys []string

	// StoreTimeout bounds the time that one Adopt or End spends on Store, as Config.StoreTimeout does for the Manager's
	// own store. Zero: 5 seconds.
	StoreTimeout time.Duration

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
		return nil, errors.New("flask: AdopterOptions.Store is nil: pass a store of flaskredis, flaskmemcached, " +
			"flasksql or flaskfiles")
	}
	if o.Serializer == nil {
		o.Serializer = Msgpack
	}
	if o.CookieName == "" {
		o.CookieName = defaultCookieName
	}
	if o.StoreTimeout < 0 {
		return nil, fmt.Errorf("flask: AdopterOptions.StoreTimeout %v is negative; leave it zero for %v",
			o.StoreTimeout, defaultStoreTimeout)
	}
	if o.StoreTimeout == 0 {
		o.StoreTimeout = defaultStoreTimeout
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
	return &Adopter{o, ids, (&Options{UserKey: o.UserKey}).policy()}, nil
}

const (
	defaultCookieName   = "session"       // SESSION_COOKIE_NAME
	defaultStoreTimeout = 5 * time.Second // as Config.StoreTimeout's

	// maxAdoptions is how many different sessions of one request are loaded. An honest browser sends one, or two after
	// a change of Domain or Path. The Manager has the same limit for its own.
	maxAdoptions = 3

	// maxAttempts is how often a session is loaded again because a Flask process changes it meanwhile.
	maxAttempts = 8
)

// Adopt gives s the user, the values, the flash messages and the permanence of the request's Flask session, if it has
// one, and stores it. Values that JSON has no form for take the one that encoding/json has for them: bytes are base64
// text, times are text, tuples and sets are lists; what can't be read is left out.
//
// A request can name sessions at will, so at most three are loaded, each once.
//
// Errors: session.ErrUnavailable and ErrUncertain: one of the stores failed, or Store did not answer in time.
func (a *Adopter) Adopt(r *http.Request, s *session.Session) error {
	keys, _ := a.keys(r)
	if len(keys) == 0 {
		return nil
	}
	old, cancel := context.WithTimeout(r.Context(), a.o.StoreTimeout)
	defer cancel()
	for _, key := range keys {
		if found, err := a.adopt(r.Context(), old, key, s); found || err != nil {
			return err
		}
	}
	return nil
}

// keys returns the keys of the sessions that the request's cookies name, each once, and whether these are all.
func (a *Adopter) keys(r *http.Request) (keys []string, all bool) {
	for _, c := range r.CookiesNamed(a.o.CookieName) {
		key, err := a.ids.Parse(c.Value)
		if err != nil || slices.Contains(keys, key) {
			continue
		}
		if len(keys) == maxAdoptions {
			return keys, false
		}
		keys = append(keys, key)
	}
	return keys, true
}

// adopt takes over one session. The context old is for the calls of the old store, ctx for s.
func (a *Adopter) adopt(ctx, old context.Context, key string, s *session.Session) (found bool, err error) {
	for range maxAttempts {
		rec, err := a.o.Store.Load(old, key)
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
		fill(s, &a.policy, a.o.Serializer, members, rec.CreatedAt)
		found = true
		if a.o.Keep {
			return true, nil
		}
		if err := s.Save(ctx); err != nil {
			return true, err
		}
		err = a.o.Store.Replace(old, ended(rec), rec.Version)
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
	return store.Record{Key: rec.Key, Version: rec.Version, Kind: store.Ended, LastSeenAt: now,
		ExpiresAt: now.Add(markLife)}
}

// markLife is for how long a Flask process that was busy can't bring an ended session back.
const markLife = 5 * time.Minute

// fill gives s what is in a Flask session, whose login was at the given time; zero: not known, so now. Of a name that
// is there twice the last counts, as in Python.
func fill(s *session.Session, p *policy, from session.Serializer, members []session.Member, at time.Time) {
	// Set inserts into a sorted list, which takes linear time for names in this order, else quadratic.
	slices.SortStableFunc(members, func(a, b session.Member) int { return strings.Compare(a.Name, b.Name) })
	get := func(key string, pointer any) bool {
		for _, m := range slices.Backward(members) {
			if m.Name == key {
				return from.Unmarshal(m.Value, pointer) == nil
			}
		}
		return false
	}
	if user := p.Principal(get); user != "" && s.Principal() != user {
		s.LoginWith(user, session.Auth{Time: at})
	}
	s.Clear()
	var permanent bool
	get("_permanent", &permanent)
	s.SetPersistent(permanent)
	for i, m := range members {
		if m.Name == "_permanent" || slices.Contains(p.LoginKeys(), m.Name) {
			continue
		}
		if i+1 < len(members) && members[i+1].Name == m.Name {
			continue
		}
		var flashes []document.Flash
		if m.Name == "_flashes" && from.Unmarshal(m.Value, &flashes) == nil {
			for _, f := range flashes {
				s.Flash(f.Message, f.Category)
			}
			continue
		}
		var v any
		if from.Unmarshal(m.Value, &v) != nil {
			continue
		}
		v = jsonForm(v)
		if _, err := session.JSON.Marshal(v); err == nil {
			s.Set(m.Name, v)
		}
	}
}

// End ends the request's Flask session: for a logout beside Keep, before the response is written. It ends up to three,
// and returns an error if the request names more, since it is unknown then which is the browser's own.
func (a *Adopter) End(r *http.Request) error {
	keys, all := a.keys(r)
	ctx, cancel := context.WithTimeout(r.Context(), a.o.StoreTimeout)
	defer cancel()
	for _, key := range keys {
		if err := a.end(ctx, key); err != nil {
			return err
		}
	}
	if !all {
		return fmt.Errorf("flask: the request names more than %d Flask sessions; the others were not ended",
			maxAdoptions)
	}
	return nil
}

func (a *Adopter) end(ctx context.Context, key string) error {
	for range maxAttempts {
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
