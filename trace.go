package session

import (
	"context"
	"errors"
	"time"

	"github.com/hipflask/session/internal/protocol"
)

// Trace has functions that are called around each load and each save of a session, for telemetry: see [Config.Trace]. A
// request that doesn't look at its session calls none. Each function may be nil. They are called synchronously, so they
// should return soon; they must be safe for concurrent use, and must not use the request's Session. The context is the
// one of the request around the [Manager.Handler], or of the call outside one.
//
// Their arguments hold no ID, key, principal or value.
type Trace struct {
	// LoadStart is called before a session is loaded. The context that it returns is passed on to the store and to
	// LoadDone, so a span in it is the parent of what the store does.
	LoadStart func(context.Context) context.Context

	// LoadDone is called when the load has ended.
	LoadDone func(context.Context, LoadFigures)

	// SaveStart is called before changes are saved, with what is going to be done. The context that it returns is
	// passed on to the store and to SaveDone.
	SaveStart func(context.Context, SaveKind) context.Context

	// SaveDone is called when the save has ended.
	SaveDone func(context.Context, SaveFigures)
}

// LoadFigures say what a load did. A request usually does one.
type LoadFigures struct {
	Duration time.Duration // 0 for a refused signature
	// calls of the store: 0 for a refused signature, and with a CookieCodec; more than 1 if the session was renewed
	// meanwhile
	Attempts int
	Bytes    int     // of the session's encoded values
	Outcome  Outcome // OutcomeFound, OutcomeNone, OutcomeUnavailable, OutcomeCanceled or OutcomeFailed
	Reason   Reason  // of OutcomeNone
}

// SaveFigures say what a save did.
type SaveFigures struct {
	Kind     SaveKind
	Duration time.Duration
	Waited   time.Duration // for other saves of the same session, in this process and in others
	// how often changes were sent or the session was loaded again; 0 if another request's save stored the changes
	Attempts  int
	Conflicts int     // how often another server's save came first
	Bytes     int     // of the session's encoded values, as they are stored now; 0 if nothing was stored
	Outcome   Outcome // any but OutcomeFound and OutcomeNone
}

// SaveKind says what a save is for.
type SaveKind string

// The kinds of saves.
const (
	SaveCreate SaveKind = "create" // the first one of a session
	SaveChange SaveKind = "change" // changes
	// a new ID: Login, Renew or a call that includes one, with the changes of the request
	SaveMove  SaveKind = "move"
	SaveTake  SaveKind = "take"  // a Take
	SaveTouch SaveKind = "touch" // the time of the last request alone
	SaveEnd   SaveKind = "end"   // a Logout
)

// Outcome says how a load or a save ended.
type Outcome string

// The outcomes.
const (
	OutcomeFound Outcome = "found" // of a load: the session is live
	// of a load: the cookie or token gives no session, see LoadFigures.Reason
	OutcomeNone        Outcome = "none"
	OutcomeStored      Outcome = "stored"      // changed, created, or ended
	OutcomeUnchanged   Outcome = "unchanged"   // nothing to store, except perhaps the time of the last request
	OutcomeDropped     Outcome = "dropped"     // the session had ended
	OutcomeUnavailable Outcome = "unavailable" // ErrUnavailable
	OutcomeContention  Outcome = "contention"  // ErrUnavailable, because of other requests: see EventContention
	OutcomeUncertain   Outcome = "uncertain"   // ErrUncertain
	// the context of the request, or of the call, ended first: the client has closed the connection. Nothing was
	// changed
	OutcomeCanceled Outcome = "canceled"
	OutcomeFailed   Outcome = "failed" // another error, such as ErrTooLarge
)

// failure returns the Outcome of an error.
func failure(ctx context.Context, err error) Outcome {
	switch busy := (*protocol.BusyError)(nil); {
	case errors.Is(err, ErrUncertain):
		return OutcomeUncertain
	case ctx.Err() != nil:
		return OutcomeCanceled
	case errors.As(err, &busy):
		return OutcomeContention
	case errors.Is(err, ErrUnavailable):
		return OutcomeUnavailable
	}
	return OutcomeFailed
}

// loadStarts returns the context for a load that begins.
func (t *Trace) loadStarts(ctx context.Context) context.Context {
	if t.LoadStart == nil {
		return ctx
	}
	return t.LoadStart(ctx)
}

// loadDone tells of a load that has ended. ctx is the one of loadStarts. The load itself took the time when it began,
// unless it refused the token: one look at the clock less.
func (t *Trace) loadDone(ctx context.Context, v *protocol.View, reason protocol.Reason, err error) {
	if t.LoadDone == nil {
		return
	}
	f := LoadFigures{Attempts: int(v.Loads), Bytes: len(v.Record.Data), Outcome: OutcomeFound, Reason: Reason(reason)}
	if !v.At.IsZero() {
		f.Duration = time.Since(v.At)
	}
	switch {
	case err != nil:
		f.Outcome, f.Reason = failure(ctx, err), ""
	case v.State != protocol.Live:
		f.Outcome, f.Bytes = OutcomeNone, 0
	}
	t.LoadDone(ctx, f)
}

// keep saves c.
func (m *Manager) keep(ctx context.Context, c *protocol.Change) (protocol.View, error) {
	if m.config.Trace == nil {
		return m.keeper.Save(ctx, c)
	}
	kind := SaveChange
	switch {
	case c.Take:
		kind = SaveTake
	case c.Base.State != protocol.Live:
		kind = SaveCreate
	case c.Move != protocol.Stay:
		kind = SaveMove
	case c.Values.Empty() && c.Label == nil:
		kind = SaveTouch
	}
	var v protocol.View
	err := m.traceSave(ctx, kind, &c.Figures, func(ctx context.Context) (outcome Outcome, err error) {
		if v, err = m.keeper.Save(ctx, c); err != nil {
			return "", err
		}
		switch c.Fate {
		case protocol.Unchanged:
			return OutcomeUnchanged, nil
		case protocol.Dropped:
			return OutcomeDropped, nil
		}
		c.Figures.Bytes = len(v.Record.Data)
		return OutcomeStored, nil
	})
	return v, err
}

// end ends the session of v.
func (m *Manager) end(ctx context.Context, v *protocol.View) (forget bool, err error) {
	if m.config.Trace == nil {
		return m.keeper.End(ctx, v)
	}
	err = m.traceSave(ctx, SaveEnd, &protocol.Figures{}, func(ctx context.Context) (_ Outcome, err error) {
		forget, err = m.keeper.End(ctx, v)
		return OutcomeStored, err
	})
	return forget, err
}

// traceSave runs a save.
func (m *Manager) traceSave(ctx context.Context, kind SaveKind, p *protocol.Figures,
	save func(context.Context) (Outcome, error)) error {
	t := m.config.Trace
	if t.SaveStart != nil {
		ctx = t.SaveStart(ctx, kind)
	}
	began := time.Now()
	outcome, err := OutcomeFailed, error(nil)
	if t.SaveDone != nil {
		defer func() { // also if a function of an Update panics
			t.SaveDone(ctx, SaveFigures{
				Kind: kind, Duration: time.Since(began), Waited: p.Waited, Attempts: p.Attempts, Conflicts: p.Conflicts,
				Bytes: p.Bytes, Outcome: outcome,
			})
		}()
	}
	result, err := save(ctx)
	if outcome = result; err != nil {
		outcome = failure(ctx, err)
	}
	return err
}

// Ping reports whether the store responds: it loads a random key, within [Config.StoreTimeout], and changes nothing. It
// is for readiness probes. With a [Config.CookieCodec] there is no store, and Ping returns nil.
//
// The error is [ErrUnavailable], or the cause of ctx's end.
func (m *Manager) Ping(ctx context.Context) error {
	if m.engine == nil {
		return nil
	}
	err := m.engine.Ping(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
