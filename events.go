package session

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session/internal/protocol"
	"github.com/hipflask/session/store"
)

// EventKind says what happened. See [Event].
type EventKind string

// The kinds of events. The last eight are logged as well: see [Config.Logger].
const (
	EventCreated EventKind = "created" // an anonymous session was stored for the first time
	EventLogin   EventKind = "login"   // a Login was stored: the session has a new ID and a principal
	// a Renew was stored, also as part of a RevokeOthers: the session has a new ID
	EventRenewed  EventKind = "renewed"
	EventElevated EventKind = "elevated" // an Elevate was stored: the session has a new ID
	EventLogout   EventKind = "logout"   // a Logout was stored
	// Revoke, RevokeAll, RevokeOthers or RevokeFunc ended a session, or a login did: see ReasonMaxSessions
	EventRevoked  EventKind = "revoked"
	EventEvicted  EventKind = "evicted"  // the store removed a live session to stay within its bounds
	EventRejected EventKind = "rejected" // the cookie or token of a request gives no session: see Event.Reason
	// a session was first read after the header had been sent: without Vary, a cache may give the response to others
	EventReadLate EventKind = "read late"
	// changes were dropped because the session had ended meanwhile, or for Event.Reason
	EventDropped EventKind = "dropped"
	// changes were dropped because they needed a cookie after the header had been sent
	EventTooLate EventKind = "too late"
	// a stored session, or the value of Event.Key, can't be decoded; it counts as absent
	EventUndecodable EventKind = "undecodable"
	EventUnavailable EventKind = "unavailable" // the store failed, and nothing was changed: see ErrUnavailable
	// too many concurrent requests changed one session, and nothing was changed: see ErrUnavailable
	EventContention EventKind = "contention"
	EventUncertain  EventKind = "uncertain" // the store failed during a change: see ErrUncertain
	EventFailed     EventKind = "failed"    // a session was not loaded or stored for another reason: see Event.Err
	// many correctly signed sessions in a row are not in the store: it was emptied, or is the wrong one. At most once
	// in 10 minutes
	EventEmptied EventKind = "emptied"
	// a stored session has times in the future: the servers' clocks differ. It counts as first seen now
	EventClock EventKind = "clock"
)

// Reason says why a cookie or token gives no session. A Reason is an error, so that a [Codec] and an [IDFormat] can
// return it. Clients never see it: to them all refusals look alike.
type Reason string

// The reasons of [EventRejected]; the last two are of [EventDropped] and [EventRevoked].
const (
	ReasonMalformed Reason = "malformed" // not in the format of our cookies or tokens
	// signed or encrypted with none of our keys, made for another cookie, or changed
	ReasonSignature Reason = "signature"
	ReasonIdle      Reason = "idle"     // expired: no request for IdleTimeout
	ReasonLifetime  Reason = "lifetime" // expired: older than Lifetime
	// a cookie codec's session from a clock that is ahead of ours, by more than a minute unless the codec says so
	ReasonFuture Reason = "future"
	// correctly signed, but not in the store: expired, evicted, or ended longer ago than Grace
	ReasonUnknown     Reason = "unknown"
	ReasonEnded       Reason = "ended"       // logged out or revoked
	ReasonReplaced    Reason = "replaced"    // a login has replaced it, under another ID
	ReasonSeveral     Reason = "several"     // the request's cookies name more than one live session
	ReasonUndecodable Reason = "undecodable" // correctly signed, or found in the store, but unreadable
	// the request came from another site, and its cookie may have been withheld: see ErrCrossSite
	ReasonCrossSite Reason = "cross-site"
	// a login ended it, since the principal had more sessions than Config.MaxSessions
	ReasonMaxSessions Reason = "max sessions"
)

// Error implements error. The text holds the reason and nothing of the cookie. It is empty for the empty reason, so the
// log of an event without a reason shows none.
func (r Reason) Error() string {
	if r == "" {
		return ""
	}
	return "session: cookie refused: " + string(r)
}

// Event is something that an operator may want to count, log or alert on. [Config.OnEvent] gets it. An Event never
// holds an ID, a cookie, a secret key or a value, so all of it may be logged. The context that Config.OnEvent gets can
// tell who made the request, and from where, if a middleware puts that into it.
type Event struct {
	Kind EventKind
	// why, for EventRejected, EventDropped and EventRevoked; for EventCreated and EventLogin why the request's cookie,
	// which is replaced, gave no session; else ""
	Reason    Reason
	Handle    string // the session's handle, as in [Info]; "" if it is not known
	Principal string // who is logged in; "" for nobody, or if it is not known
	Label     string // the session's label, as in [Info]; "" if it has none, or if it is not known
	Actor     string // who ended the session, for EventRevoked: see WithActor; else ""
	// the value or attribute that caused EventUndecodable, EventTooLate or ReasonCrossSite, or that alone was dropped;
	// "" if there is none
	Key string
	Err error // what went wrong, for failures; what to look at, for some reasons; else nil
}

// LogValue implements [slog.LogValuer]: a group with event, which is the kind, and of reason, handle, principal, label,
// actor, key and error those that are not empty. So slog.InfoContext(ctx, "session event", "session", e) logs every
// event.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("event", string(e.Kind))}
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("reason", string(e.Reason))
	add("handle", e.Handle)
	add("principal", e.Principal)
	add("label", e.Label)
	add("actor", e.Actor)
	add("key", e.Key)
	if e.Err != nil {
		add("error", e.Err.Error())
	}
	return slog.GroupValue(attrs...)
}

// about returns an event of the session that r stores, or stored.
func about(kind EventKind, r *store.Record, err error) Event {
	return Event{Kind: kind, Handle: r.Handle, Principal: r.Principal, Label: r.Label, Err: err}
}

// actor is the key of WithActor's value in a context.
type actor struct{}

// WithActor returns a context that names the actor, such as an administrator. [Manager.Revoke], [Manager.RevokeAll] and
// [Manager.RevokeFunc] put the name into Event.Actor of the events of the sessions that they end.
func WithActor(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, actor{}, strings.Clone(name))
}

// emit calls Config.OnEvent, and logs the kinds that an operator has to see in any case.
func (m *Manager) emit(ctx context.Context, e Event) {
	switch e.Kind {
	case EventUnavailable, EventContention, EventUncertain, EventFailed, EventUndecodable, EventTooLate,
		EventClock, EventEmptied:
		m.log.report(ctx, e)
	}
	if m.config.OnEvent != nil {
		m.config.OnEvent(ctx, e)
	}
}

// failureEvent returns the event of an error. It reports ok if the error is one that replaces the response.
func failureEvent(handle string, err error) (e Event, ok bool) {
	e = Event{Kind: EventFailed, Handle: handle, Err: err}
	switch busy := (*protocol.BusyError)(nil); {
	case errors.As(err, &busy):
		e.Kind = EventContention
	case errors.Is(err, ErrUnavailable):
		e.Kind = EventUnavailable
	case errors.Is(err, ErrUncertain):
		e.Kind = EventUncertain
	}
	return e, replaces(err)
}

// failed emits the event of a failure, if it is one: see failureEvent.
func (m *Manager) failed(ctx context.Context, handle string, err error) {
	if e, ok := failureEvent(handle, err); ok {
		m.emit(ctx, e)
	}
}

// failureLog writes failures to the log, at most one of each kind per second, so that an outage doesn't fill the disk
// too.
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

	e.Principal = "" // the handle is enough
	attrs := e.LogValue().Group()
	if skipped > 0 {
		attrs = append(attrs, slog.Int("more_since_last", skipped))
	}
	l.out().LogAttrs(ctx, slog.LevelError, "session: "+messages[e.Kind], attrs...)
}

var messages = map[EventKind]string{
	EventUnavailable: "the store is unavailable; nothing was changed",
	EventContention:  "too many concurrent writers of one session; nothing was changed",
	EventUncertain:   "the store failed in the middle of a change",
	EventFailed:      "the session can't be stored",
	EventUndecodable: "stored data can't be decoded and counts as absent",
	EventTooLate:     "changes dropped: they needed a cookie after the response's header had been sent",
	EventEmptied:     "the store has none of the sessions that it is asked for",
	EventClock:       "a stored session has times in the future; synchronize the servers' clocks",
}
