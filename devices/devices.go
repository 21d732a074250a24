// Package devices is a page on which users see where they are logged in, and end their own sessions (OWASP ASVS 5.0,
// 7.5.2):
//
//	mux.Handle("/devices", devices.New(sessions, nil))
//
// It goes inside [session.Manager.Handler]. A session is shown by the label that it got at the login:
//
//	s.Login(name)
//	s.SetLabel(devices.Label(r)) // "Firefox on Windows"
//
// The page is whole as it is: no script and no file beside it. It works with a keyboard, on a screen of 320 pixels, and
// in light and dark. It refuses forged requests of other sites by itself.
//
// # Security
//
// The page shows and ends sessions of the request's own user alone. Whoever holds a copy of the cookie could end the
// others and stay: put guard.Fresh before the page where that matters. A label says what the browser claims to be.
//
// # Cost
//
// Each page reads the user's sessions from the store's index once. Without an index (memcached, cookie codecs) the page
// shows this session alone, and says so.
package devices

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// Options are the settings of the page. Nil and the zero value are the defaults.
type Options struct {
	// Texts replaces the words of the page. An empty field has the English text.
	Texts Texts

	// Template replaces the page. It is executed with a [View], at which its forms are described. The default page's
	// headers are sent with it, all but Content-Security-Policy, which is yours then.
	Template *template.Template

	// AfterLogout is where the browser goes after the user has ended this session: a path of this site. Empty: "/".
	AfterLogout string
}

// Texts are the words of the page. Each is plain text.
type Texts struct {
	Language  string // of the page, as BCP 47 names it; empty: "en"
	Title     string // "Your devices"
	Intro     string // "You are logged in on these devices. ..."
	This      string // "this device", behind its label
	Bound     string // "bound to this device", of this session, if another device can't use it
	BoundTo   string // "bound to that device", of another one
	Unknown   string // "Unknown browser", for a session without a label
	FirstSeen string // "First seen"
	LastSeen  string // "Last seen"
	End       string // "Log out", on the button of one session
	EndOthers string // "Log out everywhere else"
	More      string // "more, which were used longer ago", behind a number
	Alone     string // "Other devices can't be listed here."
	Ended     string // "That device is logged out."
	Gone      string // "That device was logged out already."
	AllEnded  string // "All other devices are logged out."
	Nobody    string // "You are not logged in."

	// Time renders a time. Nil: as in "2 Jan 2006, 15:04 UTC".
	Time func(time.Time) string
}

// View is what the page's template shows. A template of your own ends a session by a form with method="post", no
// action, and a field "handle"; and all others by one with a field "others" that is not empty.
type View struct {
	Texts   Texts
	Notice  string   // what the last form did; "" for nothing
	Devices []Device // this one first, then the ones that were used last; at most 100. None: nobody is logged in
	More    int      // how many more there are
	Alone   bool     // the store can't list the others
}

// Device is one session of the user.
type Device struct {
	Handle    string // for the form
	Label     string // "Firefox on Windows"; never empty
	This      bool   // the session of this request
	Bound     bool   // by module dbsc: a copy of its cookie is worth nothing after minutes
	FirstSeen time.Time
	LastSeen  time.Time
}

// maxShown bounds the page of a user with very many sessions.
const maxShown = 100

// bound is dbsc.Bound. The module isn't imported: most applications don't need it.
const bound session.PublicAttribute[bool] = "github.com/hipflask/session/dbsc"

//go:embed page.html
var source string

//go:embed style.css
var style string

var (
	standard = template.Must(template.New("devices").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(style) },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}).Parse(source))

	// policy allows nothing but the page's own style and its forms.
	policy = func() string {
		sum := sha256.Sum256([]byte(style))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	}()
)

type page struct {
	sessions *session.Manager
	template *template.Template
	texts    Texts
	after    string
}

// New returns the page, for any path. It answers GET, HEAD and POST. It shows the sessions of this Manager, whose
// [session.Manager.Handler] must be around it; else the first request panics. If the store fails,
// [session.Manager.Error] sends the response. Nobody logged in: 401. The handler is safe for concurrent use.
func New(sessions *session.Manager, options *Options) http.Handler {
	if options == nil {
		options = &Options{}
	}
	p := &page{sessions: sessions, template: options.Template, texts: options.Texts.complete(),
		after: options.AfterLogout}
	if p.template == nil {
		p.template = standard
	}
	if p.after == "" {
		p.after = "/"
	}
	return http.NewCrossOriginProtection().Handler(p)
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if p.template == standard {
		h.Set("Content-Security-Policy", policy)
	}
	s, err := p.sessions.Open(r)
	if err != nil {
		p.sessions.Error(w, r, err)
		return
	}
	user := s.Principal()
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost:
		h.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "Method not allowed.", http.StatusMethodNotAllowed)
	case user == "":
		p.show(w, http.StatusUnauthorized, View{Texts: p.texts, Notice: p.texts.Nobody})
	case r.Method == http.MethodPost:
		p.end(w, r, s, user)
	default:
		p.list(w, r, s, user)
	}
}

// end ends one session of the user, or all but this one.
func (p *page) end(w http.ResponseWriter, r *http.Request, s *session.Session, user string) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	handle, others := r.PostFormValue("handle"), r.PostFormValue("others") != ""
	done, err := "", error(nil)
	switch {
	case others:
		_, err = s.RevokeOthers(r.Context())
		done = "others"
	case handle == "":
		http.Error(w, "The form has neither a handle nor others.", http.StatusBadRequest)
		return
	case handle == s.Info().Handle:
		s.Logout()
		see(w, p.after)
		return
	default:
		if done, err = "one", p.sessions.Revoke(r.Context(), user, handle); errors.Is(err, session.ErrEnded) {
			done, err = "gone", nil
		}
	}
	if err != nil {
		p.sessions.Error(w, r, err)
		return
	}
	see(w, "?done="+done)
}

// see sends the browser to an address, which may be relative to the one in its address bar. http.Redirect would make it
// relative to the path of r, which http.StripPrefix may have changed.
func see(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

func (p *page) list(w http.ResponseWriter, r *http.Request, s *session.Session, user string) {
	v := View{Texts: p.texts}
	switch r.URL.Query().Get("done") {
	case "one":
		v.Notice = p.texts.Ended
	case "gone":
		v.Notice = p.texts.Gone
	case "others":
		v.Notice = p.texts.AllEnded
	}
	this := s.Info()
	if this.Label == "" {
		this.Label = Label(r)
	}
	v.Devices = append(v.Devices, p.device(this))
	v.Devices[0].This = true
	for i, err := range p.sessions.Sessions(r.Context(), user) {
		if errors.Is(err, errors.ErrUnsupported) {
			v.Alone = true
			break
		}
		if err != nil {
			p.sessions.Error(w, r, err)
			return
		}
		if i.Handle == this.Handle {
			continue
		}
		if v.Devices = append(v.Devices, p.device(i)); len(v.Devices) == 2*maxShown {
			v.More += shorten(&v.Devices)
		}
	}
	v.More += shorten(&v.Devices)
	p.show(w, http.StatusOK, v)
}

// shorten sorts the devices behind the first one, keeps at most maxShown, and returns how many it dropped.
func shorten(devices *[]Device) int {
	d := *devices
	slices.SortFunc(d[1:], func(a, b Device) int {
		if c := b.LastSeen.Compare(a.LastSeen); c != 0 {
			return c
		}
		return strings.Compare(a.Handle, b.Handle)
	})
	n := max(len(d)-maxShown, 0)
	*devices = d[:len(d)-n]
	return n
}

func (p *page) device(i session.Info) Device {
	is, _ := bound.Of(i)
	d := Device{Handle: i.Handle, Label: i.Label, Bound: is, FirstSeen: i.CreatedAt, LastSeen: i.LastSeenAt}
	if d.Label == "" {
		d.Label = p.texts.Unknown
	}
	return d
}

// show renders the page whole before its first byte.
func (p *page) show(w http.ResponseWriter, status int, v View) {
	var body bytes.Buffer
	if err := p.template.Execute(&body, v); err != nil {
		http.Error(w, "The page can't be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

// complete returns t with the English texts where it has none.
func (t Texts) complete() Texts {
	for _, f := range []struct {
		text    *string
		english string
	}{
		{&t.Language, "en"},
		{&t.Title, "Your devices"},
		{&t.Intro, "You are logged in on these devices. If you don't know one of them, log it out and " +
			"change your password."},
		{&t.This, "this device"},
		{&t.Bound, "bound to this device"},
		{&t.BoundTo, "bound to that device"},
		{&t.Unknown, "Unknown browser"},
		{&t.FirstSeen, "First seen"},
		{&t.LastSeen, "Last seen"},
		{&t.End, "Log out"},
		{&t.EndOthers, "Log out everywhere else"},
		{&t.More, "more, which were used longer ago"},
		{&t.Alone, "Other devices can't be listed here."},
		{&t.Ended, "That device is logged out."},
		{&t.Gone, "That device was logged out already."},
		{&t.AllEnded, "All other devices are logged out."},
		{&t.Nobody, "You are not logged in."},
	} {
		if *f.text == "" {
			*f.text = f.english
		}
	}
	if t.Time == nil {
		t.Time = func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }
	}
	return t
}
