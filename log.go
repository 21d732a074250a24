package session

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

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
