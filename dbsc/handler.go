package dbsc

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/hipflask/session"
)

// The endpoints, below Options.Path.
const (
	register = "register"
	refresh  = "refresh"
)

// ServeHTTP serves the endpoints that the browser calls by itself: it registers a key after a Login, and gets a new
// bound cookie. It has to be inside [session.Manager.Handler], at [Options.Path].
//
// A refresh reads the session once, writes nothing, and doesn't count for [session.Config.IdleTimeout].
func (d *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	// The time that a refresh takes says whether somebody is logged in (draft, "Server considerations").
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	name, _ := strings.CutPrefix(r.URL.Path, d.options.Path)
	switch {
	case name != register && name != refresh:
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		h.Set("Allow", http.MethodPost)
		http.Error(w, "the browser sends POST by itself", http.StatusMethodNotAllowed)
	case name == register:
		d.register(w, r)
	default:
		d.refresh(w, r)
	}
}

// instructions are the JSON session instructions of the draft.
type instructions struct {
	ID         string       `json:"session_identifier"`
	RefreshURL string       `json:"refresh_url,omitempty"`
	Continue   bool         `json:"continue"`
	Scope      *scope       `json:"scope,omitempty"`
	Credential []credential `json:"credentials,omitempty"`
	Initiators []string     `json:"allowed_refresh_initiators,omitempty"`
}

type scope struct {
	IncludeSite   bool  `json:"include_site"`
	Specification []any `json:"scope_specification"`
}

type credential struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Attributes string `json:"attributes"`
}

func (d *Server) register(w http.ResponseWriter, r *http.Request) {
	s, err := d.sessions.Open(r)
	if err != nil {
		d.sessions.Error(w, r, err)
		return
	}
	i := s.Info()
	refuse := func(reason Reason) {
		d.emit(r, s, EventRefused, reason)
		http.Error(w, "the key is not registered", http.StatusForbidden)
	}
	if i.Principal == "" {
		refuse(ReasonAnonymous)
		return
	}
	if taken, _, _ := bindingOf(s); taken != "" {
		refuse(ReasonTaken) // the first key stays, so a thief can't replace it
		return
	}
	p, err := parseProof(r.Header.Get("Secure-Session-Response"))
	if err != nil {
		refuse(ReasonProof)
		return
	}
	// The challenge comes first: without one of ours, nobody makes us verify signatures.
	if reason := d.checkChallenge(forRegister, i.Handle, p.challenge); reason != "" {
		refuse(reason)
		return
	}
	key, err := p.newKey()
	if err != nil {
		refuse(ReasonProof)
		return
	}
	id := newID(i.Handle)
	mine := newBinding(id, key)
	// Of overlapping registrations one wins. The function runs again on what another request has stored meanwhile.
	binding.Update(s, func(there string) string {
		if there != "" {
			return there
		}
		return mine
	})
	Bound.Set(s, true)
	if err := s.Save(r.Context()); err != nil {
		d.sessions.Error(w, r, err)
		return
	}
	if stored, _ := binding.Get(s); stored != mine {
		refuse(ReasonTaken)
		return
	}
	d.emit(r, s, EventBound, "")
	d.sendCookie(w, id)
	d.instruct(w, instructions{
		ID: id, RefreshURL: d.options.Path + refresh, Continue: true,
		Scope:      &scope{Specification: []any{}}, // our origin: the cookie has the prefix __Host-
		Credential: []credential{{"cookie", d.options.CookieName, d.attributes}},
		Initiators: d.options.Initiators,
	})
}

func (d *Server) refresh(w http.ResponseWriter, r *http.Request) {
	// A page of another site can't set a header that begins with Sec-, so it learns nothing from how long this takes.
	id := unquote(r.Header.Get("Sec-Secure-Session-Id"))
	if !isID(id) {
		http.Error(w, "Sec-Secure-Session-Id is missing or malformed", http.StatusBadRequest)
		return
	}
	// A refresh is two requests, of which only the second one looks at the session: the first has no proof yet, or
	// again the one of the last time. Anybody gets a challenge, since only the key's owner can answer it.
	field := r.Header.Get("Secure-Session-Response")
	if field == "" {
		d.challenge(w, id)
		return
	}
	p, proofErr := parseProof(field)
	var reason Reason
	if proofErr == nil {
		if reason = d.checkChallenge(forRefresh, id, p.challenge); reason == ReasonStale {
			d.challenge(w, id)
			return
		}
	}
	end := &remember{}
	d.sessions.Intercept(r, end)
	s, err := d.sessions.Open(r)
	if err != nil {
		// Whatever Config.ErrorHandler sends: a status below 500 would make the browser forget its key.
		d.later(w, "5")
		return
	}
	i := s.Info()
	if i.Principal == "" && end.refused == session.ReasonReplaced {
		// Another request has given the session a new ID a moment ago, and the browser doesn't have its cookie yet.
		d.later(w, "1")
		return
	}
	known, _, key := bindingOf(s)
	if i.Principal == "" || known != id || !of(id, i.Handle) {
		d.emit(r, s, EventEnded, "")
		d.instruct(w, instructions{ID: id})
		return
	}
	switch {
	case proofErr != nil, reason == "" && !p.verify(key):
		d.emit(r, s, EventRefused, ReasonProof)
		http.Error(w, "the proof is not valid", http.StatusUnauthorized)
	case reason != "":
		d.emit(r, s, EventRefused, reason)
		d.challenge(w, id) // the browser is to sign this one
	default:
		d.emit(r, s, EventRefreshed, "")
		d.sendCookie(w, id)
	}
}

// checkChallenge returns why a proof's challenge is not valid; "" if it is.
func (d *Server) checkChallenge(purpose, subject, challenge string) Reason {
	switch reason := d.check(purpose, subject, challenge, d.options.Window); reason {
	case ReasonForged:
		return ReasonChallenge
	case ReasonExpired:
		return ReasonStale
	default:
		return reason
	}
}

// challenge asks the browser to sign: status 403 is what the draft has for that.
func (d *Server) challenge(w http.ResponseWriter, id string) {
	w.Header().Set("Secure-Session-Challenge", `"`+d.sign(forRefresh, id)+`";id="`+id+`"`)
	http.Error(w, "sign the challenge", http.StatusForbidden)
}

// later makes the browser keep its key and try again with another request.
func (d *Server) later(w http.ResponseWriter, seconds string) {
	w.Header().Set("Retry-After", seconds)
	http.Error(w, "try again later", http.StatusServiceUnavailable)
}

// sendCookie sets the bound cookie. No challenge goes with it: when the browser uses that, it would be older than
// Window, and the browser would sign twice, of the few times that it may.
func (d *Server) sendCookie(w http.ResponseWriter, id string) {
	http.SetCookie(w, d.cookie(d.sign(forCookie, id), int(d.options.Life/time.Second)))
}

func (d *Server) instruct(w http.ResponseWriter, i instructions) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(i)
}

// remember is an Interceptor that remembers why a cookie gives no session. A refresh doesn't count as activity:
// browsers also send it for an open page that nobody uses.
type remember struct{ refused session.Reason }

func (e *remember) Loaded(_ *session.Session, refused session.Reason) session.Verdict {
	e.refused = refused
	return session.PassIdle
}

func (e *remember) Sending(*session.Session, http.Header) {}
