package dbsc

import (
	"net/http"

	"github.com/hipflask/session"
)

// EventKind says what happened. See [Event].
type EventKind string

// The kinds of events.
const (
	EventOffered   EventKind = "offered"   // a Login was answered: the browser may register a key
	EventBound     EventKind = "bound"     // a key was registered
	EventRefreshed EventKind = "refreshed" // a bound cookie was renewed
	EventRefused   EventKind = "refused"   // a request, a registration or a refresh was refused: see Event.Reason
	// a request was refused, and its browser says why it sent no bound cookie: see Event.Reason
	EventSkipped EventKind = "skipped"
	EventEnded   EventKind = "ended" // the browser was told to forget its key, since the session has ended
)

// Reason says why something was refused.
type Reason string

// The reasons of [EventRefused], of [EventSkipped], and of [Options.Refuse].
const (
	ReasonMissing Reason = "missing" // the session is bound, and the request has no bound cookie
	ReasonExpired Reason = "expired" // the bound cookie is older than Life and Skew
	// the bound cookie, or the challenge, is from a clock that is ahead of ours by more than Skew
	ReasonFuture  Reason = "future"
	ReasonForged  Reason = "forged"  // the bound cookie is another session's, or signed with none of our keys
	ReasonUnbound Reason = "unbound" // the session is not bound, but has to be

	ReasonAnonymous Reason = "anonymous" // nobody is logged in, or the session was withheld
	ReasonPending   Reason = "pending"   // the session is not bound yet: the Login was less than Window ago

	// the proof is malformed, too long, of a forbidden kind, or not signed with the session's key
	ReasonProof     Reason = "proof"
	ReasonChallenge Reason = "challenge" // the proof answers no challenge of ours for this session
	ReasonStale     Reason = "stale"     // the proof answers a challenge that is older than Window
	ReasonTaken     Reason = "taken"     // the session is bound already, and another key was to be registered

	ReasonQuota       Reason = "quota_exceeded" // the browser has signed too often
	ReasonUnreachable Reason = "unreachable"    // the browser did not reach the refresh endpoint
	ReasonServerError Reason = "server_error"   // the refresh endpoint failed, such as in an outage of the store
)

// Event is something that an operator may want to count, to log, or to be alarmed by. [Options.OnEvent] gets it. It
// holds no key, no proof and no cookie, so all of it may be logged.
type Event struct {
	Kind      EventKind
	Reason    Reason // of EventRefused and EventSkipped; else ""
	Handle    string // the session's handle, as in [session.Info]; "" if there is none
	Principal string // who is logged in; "" for nobody
}

// emit calls Options.OnEvent with a context in which From returns s at once: the request's own session may be locked.
func (d *Server) emit(r *http.Request, s *session.Session, kind EventKind, reason Reason) {
	if d.options.OnEvent == nil {
		return
	}
	i := s.Info()
	d.options.OnEvent(session.NewContext(r.Context(), s),
		Event{Kind: kind, Reason: reason, Handle: i.Handle, Principal: i.Principal})
}
