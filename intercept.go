package session

import (
	"net/http"
	"slices"

	"github.com/hipflask/session/internal/document"
	"github.com/hipflask/session/internal/protocol"
)

// Verdict is what an [Interceptor] decides about the session of one request.
type Verdict int

const (
	// Pass leaves the session as it is.
	Pass Verdict = iota

	// PassIdle lets the request have the session, but the request doesn't count as activity for [Config.IdleTimeout]:
	// the browser sends such requests by itself.
	PassIdle

	// Withhold gives the request an empty, anonymous session, which takes no changes (as after [ErrEnded]) until Login
	// or Logout. The stored session stays as it is.
	Withhold
)

// Interceptor watches the session of one request, for modules that add a check or a header to every session, such as
// module dbsc. [Manager.Intercept] installs it. A request that doesn't look at its session calls neither method.
//
// The methods run while the session is being loaded or sent, so they must not call [From], [Open] or [FromContext] for
// this request.
type Interceptor interface {
	// Loaded is called once, after the session has been loaded and before the handler sees it. refused says why the
	// request's cookie or token gives no session; it is "" if there was none, or if the session is live. Loaded is not
	// called if the session could not be loaded.
	Loaded(s *Session, refused Reason) Verdict

	// Sending is called before the response's header is sent, after the session has been saved and its cookie has been
	// put into the header h. It may change h. If something writes after the handler has returned, such as a router's
	// error handler, and the session got another ID in between, Sending is called again. It is not called if the
	// session could not be loaded or saved.
	Sending(s *Session, h http.Header)
}

// Intercept makes i watch the session of a request inside [Manager.Handler]. Call it in a middleware, before the
// session is used; if the session is loaded already, Intercept calls Loaded at once. Several Interceptors are called in
// the order in which they came. It panics if there is no Handler of this Manager.
func (m *Manager) Intercept(r *http.Request, i Interceptor) {
	x, ok := r.Context().Value(m).(*exchange)
	if !ok {
		panic("session: Intercept without a Handler: it goes inside (*Manager).Handler")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	all := []Interceptor{i}
	if before := x.interceptors.Load(); before != nil {
		all = append(slices.Clone(*before), i)
	}
	x.interceptors.Store(&all)
	s := x.session.Load()
	if s != nil && x.err == nil {
		s.obey(i.Loaded(s, x.refused))
	}
}

// intercept shows a session to the Interceptors that has just been loaded. The caller holds mu.
func (x *exchange) intercept(s *Session) {
	all := x.interceptors.Load()
	if all == nil {
		return
	}
	for _, i := range *all {
		s.obey(i.Loaded(s, x.refused))
	}
}

// sending shows the header that is going to be sent to the Interceptors.
func (x *exchange) sending(s *Session, h http.Header) {
	all := x.interceptors.Load()
	if all == nil {
		return
	}
	x.mu.Lock()
	failed := x.err != nil
	x.mu.Unlock()
	if failed {
		return
	}
	for _, i := range *all {
		i.Sending(s, h)
	}
}

// obey carries out a Verdict. A session that is withheld is as one whose ID has been retired.
func (s *Session) obey(v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch v {
	case PassIdle:
		s.isActive = false
	case Withhold:
		s.view = protocol.View{State: protocol.Late, At: s.view.At}
		s.token, s.label, s.isNew = "", nil, true
		s.changes = document.Changes{Seq: s.changes.Seq + 1} // a save in flight must not take what follows for its own
		s.move, s.auth, s.next, s.ending = protocol.Stay, nil, nil, nil
	}
}
