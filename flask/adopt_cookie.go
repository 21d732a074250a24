package flask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/hipflask/session"
)

// CookieAdopter takes over the sessions of Flask's signed cookie into the native layout, each when it is first met, and
// ends the old cookie: for the time after the last route has moved to Go. Set Config.Adopt to its Adopt, and use its
// Handler in place of the Manager's:
//
//	adopter, err := flask.NewCookieAdopter(flask.CookieAdopterOptions{SecretKeys: []string{os.Getenv("SECRET_KEY")}})
//	sessions, err := session.New(session.Config{
//		SecretKey: os.Getenv("NEW_SECRET_KEY"), Adopt: adopter.Adopt, AdoptCookie: "session",
//	})
//	http.ListenAndServe(":8080", adopter.Handler(sessions, router))
//
// Cookies that are older than Lifetime are not adopted. An adopted login counts its [session.Config.Lifetime] from the
// time of Flask's signature; one that is older than that is not logged in. The browser forgets the old cookie with the
// response to the first request that has it, so a logout is final for this browser. But nothing on the server knows the
// old cookie: a copy of it can be adopted until it is Lifetime old, as Flask accepts it until then. Lifetime after
// Flask has signed its last cookie, remove the CookieAdopter.
//
// A CookieAdopter is safe for concurrent use.
type CookieAdopter struct {
	codec  *codec
	delete []string // Set-Cookie lines
	name   string
}

// CookieAdopterOptions say how the Flask application makes its cookies.
type CookieAdopterOptions struct {
	// SecretKeys are SECRET_KEY and SECRET_KEY_FALLBACKS. Required.
	SecretKeys []string

	// Lifetime is PERMANENT_SESSION_LIFETIME: how old a cookie may be. Zero: 31 days.
	Lifetime time.Duration

	// Cookie has SESSION_COOKIE_NAME, _DOMAIN, _PATH, _SAMESITE and _PARTITIONED, without which a browser doesn't
	// forget the cookie. An empty Name is "session", an empty Path "/". The Manager's cookie needs another name.
	Cookie session.Cookie

	// InsecureHTTP is for an application without https, as Config.InsecureHTTP.
	InsecureHTTP bool

	// Session is for applications that changed their session interface.
	Session Options
}

const hiddenCookieOptions = "flask.CookieAdopterOptions{SecretKeys: (hidden), ...}"

// Format implements [fmt.Formatter]. It prints nothing of the options, whatever the verb.
func (o CookieAdopterOptions) Format(f fmt.State, _ rune) { io.WriteString(f, hiddenCookieOptions) }

// MarshalText implements [encoding.TextMarshaler], so that encoding/json and log/slog print nothing of the options.
func (o CookieAdopterOptions) MarshalText() ([]byte, error) { return []byte(hiddenCookieOptions), nil }

// SignedAt is when Flask signed the cookie of an adopted login. The user logged in no later. An adopted session's
// CreatedAt is the same time, from which [session.Config.Lifetime] counts, until its ID is renewed or the user logs in
// again; SignedAt also tells that the login is Flask's, and is kept until a Login in Go drops it.
const SignedAt = session.Attribute[time.Time]("github.com/hipflask/session/flask.SignedAt")

// NewCookieAdopter returns a CookieAdopter.
func NewCookieAdopter(o CookieAdopterOptions) (*CookieAdopter, error) {
	if len(o.SecretKeys) == 0 {
		return nil, errors.New("flask: CookieAdopterOptions.SecretKeys is empty: pass the Flask application's " +
			"SECRET_KEY")
	}
	if o.Lifetime < 0 {
		return nil, fmt.Errorf("flask: CookieAdopterOptions.Lifetime %v is negative; leave it zero for 31 days",
			o.Lifetime)
	}
	if o.Cookie.Name == "" {
		o.Cookie.Name = defaultCookieName
	}
	made, err := o.Session.Cookie(o.SecretKeys, o.Cookie.Name)
	if err != nil {
		return nil, err
	}
	a := &CookieAdopter{codec: made.(*codec), name: o.Cookie.Name}
	a.codec.Lifetime(o.Lifetime)
	forget := http.Cookie{
		Name: o.Cookie.Name, Path: o.Cookie.Path, Domain: o.Cookie.Domain, SameSite: o.Cookie.SameSite,
		Partitioned: o.Cookie.Partitioned,
		MaxAge:      -1, Expires: time.Unix(0, 0), HttpOnly: true, Secure: !o.InsecureHTTP,
	}
	if forget.Path == "" {
		forget.Path = "/"
	}
	if err := forget.Valid(); err != nil {
		return nil, fmt.Errorf("flask: CookieAdopterOptions.Cookie: %w", err)
	}
	a.delete = append(a.delete, forget.String())
	if forget.Domain != "" { // the application may have had no Domain earlier
		forget.Domain = ""
		a.delete = append(a.delete, forget.String())
	}
	return a, nil
}

// Handler is the Manager's Handler, but it also makes the browser forget the old cookie, with each response to a
// request that has it. Such a request loads its session, even if next doesn't look at it, and if that fails next is not
// called. If the session can't be saved, the browser keeps the old cookie and can try again. If the Manager's cookie
// has the name of the old one, every request fails, since forgetting that cookie would be a logout.
func (a *CookieAdopter) Handler(m *session.Manager, next http.Handler) http.Handler {
	if m.CookieName() == a.name {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.Error(w, r, fmt.Errorf("flask: CookieAdopter: Flask's cookie and the Manager's are both "+
				"named %q; set Config.Cookie.Name to another name", a.name))
		})
	}
	inside := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(a) != nil {
			if _, err := session.Open(r); err != nil {
				m.Error(w, r, err)
				return
			}
			for _, line := range a.delete {
				w.Header().Add("Set-Cookie", line)
			}
			w.Header().Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.CookiesNamed(a.name)) > 0 {
			r = r.WithContext(context.WithValue(r.Context(), a, true))
		}
		inside.ServeHTTP(w, r)
	})
}

// Adopt gives s the user, the values, the flash messages and the permanence of the request's Flask cookie, if it has
// one that is rightly signed and not too old. Values change as those of [Adopter.Adopt] do. At most three different
// cookies of the name are decoded; the first that can be read is taken.
//
// Outside Handler, Adopt returns an error, since nothing would end the old cookie, which would undo the next logout.
func (a *CookieAdopter) Adopt(r *http.Request, s *session.Session) error {
	var seen []string
	for _, c := range r.CookiesNamed(a.name) {
		if slices.Contains(seen, c.Value) {
			continue
		}
		if len(seen) == maxAdoptions {
			break
		}
		seen = append(seen, c.Value)
		if r.Context().Value(a) == nil {
			return errors.New("flask: CookieAdopter.Adopt without its Handler: use (*CookieAdopter).Handler " +
				"in place of (*Manager).Handler")
		}
		rec, err := a.codec.Decode(c.Value)
		if err != nil {
			continue
		}
		members, err := a.codec.serializer.Split(rec.Data)
		if err != nil || len(members) == 0 {
			continue
		}
		fill(s, &a.codec.policy, a.codec.serializer, members, rec.CreatedAt)
		if s.Principal() != "" {
			SignedAt.Set(s, rec.CreatedAt)
		}
		return nil
	}
	return nil
}
