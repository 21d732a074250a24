package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// EventKind says what happened.
type EventKind string

const (
	EventCreated     EventKind = "created"     // an anonymous session was stored for the first time
	EventLogin       EventKind = "login"       // Login was stored: the session has a new ID and a principal
	EventRenewed     EventKind = "renewed"     // Renew was stored: the session has a new ID
	EventLogout      EventKind = "logout"      // Logout was stored
	EventRevoked     EventKind = "revoked"     // Revoke, RevokeAll or RevokeOthers ended a session
	EventEvicted     EventKind = "evicted"     // the store removed a live session to stay within its bounds
	EventRejected    EventKind = "rejected"    // a request came with a cookie or token that gives no session: see Reason
	EventDropped     EventKind = "dropped"     // changes were dropped, because the session had ended meanwhile
	EventTooLate     EventKind = "too late"    // changes were dropped, because they needed a cookie after the header was sent
	EventUndecodable EventKind = "undecodable" // a stored session, or the value of Event.Key, can't be decoded; it counts as absent
	EventUnavailable EventKind = "unavailable" // the store failed; nothing was changed
	EventUncertain   EventKind = "uncertain"   // the store failed in the middle of a change
	EventFailed      EventKind = "failed"      // a request's session was not stored for another reason: Err says which
)

// Reason says why a cookie or token gives no session. It is an error, so that codecs and ID formats can return it.
// Clients never see it: to them, all refusals look alike.
type Reason string

const (
	ReasonMalformed   Reason = "malformed"   // not of the form that we send
	ReasonSignature   Reason = "signature"   // signed or encrypted by none of our keys, or for another cookie, or changed
	ReasonIdle        Reason = "idle"        // expired: longer without a request than IdleTimeout
	ReasonLifetime    Reason = "lifetime"    // expired: older than Lifetime
	ReasonFuture      Reason = "future"      // a cookie codec's session from a clock that is ahead of ours
	ReasonUnknown     Reason = "unknown"     // ours, but no longer in the store: expired, evicted, or ended longer ago than Grace
	ReasonEnded       Reason = "ended"       // logged out or revoked
	ReasonReplaced    Reason = "replaced"    // a login took its place, under another ID
	ReasonSeveral     Reason = "several"     // more than one live session in one request's cookies
	ReasonUndecodable Reason = "undecodable" // rightly signed, or found in the store, but unreadable
)

// Error returns the reason as an error text.
func (r Reason) Error() string { return "session: cookie refused: " + string(r) }

// Event is something that an operator may want to count, log or be woken by. It never holds an ID, a cookie, a key or
// a value.
type Event struct {
	Kind      EventKind
	Reason    Reason // of EventRejected
	Handle    string // the session's public name, where it is known
	Principal string // whose session, where it is known
	Key       string // the key or attribute to blame, of EventUndecodable, EventTooLate, and of EventDropped if only it was
	Err       error  // of failures
}

// emit calls Config.OnEvent, and logs what an operator has to see even without it.
func (m *Manager) emit(ctx context.Context, e Event) {
	switch e.Kind {
	case EventUnavailable, EventUncertain, EventFailed, EventUndecodable, EventTooLate:
		m.log.report(ctx, e)
	}
	if m.config.OnEvent != nil {
		m.config.OnEvent(ctx, e)
	}
}

// failureEvent is the event of an error for which a request's answer is replaced.
func failureEvent(handle string, err error) (e Event, ok bool) {
	e = Event{Kind: EventFailed, Handle: handle, Err: err}
	switch {
	case errors.Is(err, ErrUnavailable):
		e.Kind = EventUnavailable
	case errors.Is(err, ErrUncertain):
		e.Kind = EventUncertain
	}
	return e, replaces(err)
}

// failed reports a failure outside a request's session.
func (m *Manager) failed(ctx context.Context, handle string, err error) {
	if e, ok := failureEvent(handle, err); ok {
		m.emit(ctx, e)
	}
}

// failureLog writes failures to the log, at most one of each kind in a second: an outage must not fill the disk too.
type failureLog struct {
	logger *slog.Logger // nil: slog.Default() at the time of the failure

	mu      sync.Mutex
	last    map[EventKind]time.Time
	skipped map[EventKind]int
}

func (l *failureLog) out() *slog.Logger {
	if l.logger != nil {
		return l.logger
	}
	return slog.Default()
}

func (l *failureLog) report(ctx context.Context, e Event) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.last[e.Kind]) < time.Second {
		l.skipped[e.Kind]++
		l.mu.Unlock()
		return
	}
	skipped := l.skipped[e.Kind]
	if l.last == nil {
		l.last, l.skipped = map[EventKind]time.Time{}, map[EventKind]int{}
	}
	l.last[e.Kind] = now
	delete(l.skipped, e.Kind)
	l.mu.Unlock()

	attrs := []slog.Attr{slog.String("event", string(e.Kind))}
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("handle", e.Handle)
	add("key", e.Key)
	if e.Err != nil {
		add("error", e.Err.Error())
	}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("more_since_last", skipped))
	}
	l.out().LogAttrs(ctx, slog.LevelError, "session: "+messages[e.Kind], attrs...)
}

var messages = map[EventKind]string{
	EventUnavailable: "the store is unavailable; nothing was changed",
	EventUncertain:   "the store failed in the middle of a change",
	EventFailed:      "the session can't be stored",
	EventUndecodable: "stored data can't be decoded and counts as absent",
	EventTooLate:     "changes dropped: they needed a cookie after the response's header had been sent",
}
